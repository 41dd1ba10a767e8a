"""What the training loop costs beside a plain one in torch, and what kept features gain.

Every side has a network of its own with the same weights and takes the same optimiser steps, one in turn: the
plain loop, what is compared with it, and the plain loop once more, which shows the noise (A/A). At the end their
weights are compared; it is a problem if these differ by more than float32 rounding.

The plain loop is a DataLoader, forward, backward, clipping and AdamW, and logs nothing. Ours has everything on:
means over all targets, the check for divergence, the schedule, the progress bar, and for every single step a line
in metrics.jsonl and TensorBoard.
Images are read in the process itself (``workers: 0``), so that its processor time is all of it.
"""

from __future__ import annotations

import copy
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.utils.data import DataLoader

from robovlms_ros.bench.table import Table
from robovlms_ros.bench.timing import Comparison, Timing, threads
from robovlms_ros.data.convert import convert
from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.data.folder.format import Origin
from robovlms_ros.model.untrained import write_untrained
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.replay.footage import load_footage
from robovlms_ros.train.config_file import parse_training_config
from robovlms_ros.train.engine import make_accelerator
from robovlms_ros.train.feature_filling import choose_level, keep_features
from robovlms_ros.train.loop import TrainingLoop
from robovlms_ros.train.model_source import load_model
from robovlms_ros.train.network import TrainingNetwork
from robovlms_ros.train.order import BatchSampler
from robovlms_ros.train.plan import TrainingPlan, make_plan
from robovlms_ros.train.reporting import MetricsFile, RunReporter
from robovlms_ros.train.window_dataset import WindowDataset

COLUMNS = (
    "what",
    "plain, CPU s/step",
    "here",
    "throughput here / plain: CPU, least",
    "median",
    "wall, median",
    "A/A: least",
    "A/A: median",
    "largest difference",
)
NOTES = (
    "Throughput against a plain loop in torch that logs nothing, on the same weights and batches; A/A is the "
    "plain loop against itself. *Largest difference* is of the trained weights at the end.",
    "Kept features encode every image once, before training; the time for that is not in the rows.",
)
EPISODES, STEPS = 8, 24
# Of weights, after all steps: sums in float32 in another order.
ROUNDING = 1e-5
# Width and depth of the language model and of the image encoder, image side.
SCALES = {"eighth": (256, 1024, 12, 128, 512, 12, 224), "tiny": (64, 128, 2, 32, 64, 2, 28)}


def write_dataset(folder: Path) -> Path:
    """Cuts from a photograph as episodes of the profile ``calvin``, 224x224, JPEG."""
    photograph = load_footage().frames[0]
    random = np.random.default_rng(0)
    episodes = []
    for number in range(EPISODES):
        corners = random.integers(0, min(photograph.shape[:2]) - 224, (STEPS, 2))
        images = np.stack([photograph[y : y + 224, x : x + 224] for y, x in corners])
        actions = random.uniform(-0.01, 0.01, (STEPS, 7))
        actions[:, 6] = random.integers(0, 2, STEPS)
        episodes.append(ArrayEpisode(str(number), "pick up the red block", 1 / 30, actions, {"static": images}))
    source = MemorySource("bench", episodes, "rpy", "world")
    convert(source, folder, Origin(importer="bench", path="memory"))
    return folder


def write_model(folder: Path, scale: str) -> dict[str, str]:
    """A Kosmos-2 with random weights; the section ``model`` of a run that starts from it."""
    width, inner, layers, vision_width, vision_inner, vision_layers, side = SCALES[scale]
    made = write_untrained(folder, window=2, chunk=10, image_size=side)
    path = folder / "vlm" / "config.json"
    content = json.loads(path.read_text())
    content["text_config"] |= {"embed_dim": width, "ffn_dim": inner, "layers": layers}
    content["vision_config"] |= {
        "hidden_size": vision_width,
        "intermediate_size": vision_inner,
        "num_hidden_layers": vision_layers,
    }
    content["latent_query_num"] = 64
    path.write_text(json.dumps(content))
    return {"config": str(made.config)}


class Setting:
    """One configuration: its plan, and networks with the same weights."""

    def __init__(self, folder: Path, model: Mapping[str, Any], data: Path, setup: Mapping[str, Any]) -> None:
        self.config = parse_training_config(
            {
                "output": str(folder / "run"),
                "robot": "calvin",
                "model": {**model, "overrides": {"train_setup": {"load_vl_param": False, **setup}}},
                "data": {"train": str(data), "workers": 0},
                "optim": {"steps": 1000, "batch_size": 2, "learning_rate": 1e-4, "dropout": False},
            }
        )
        self.plan: TrainingPlan = make_plan(self.config, folder / "scratch")
        self.accelerator = make_accelerator("float32", 1, self.plan.loop.clip)
        vla = load_model(self.plan.source, 0)
        preprocess = ImagePreprocessor(vla.config.image_size, vla.image_mean, vla.image_std)
        self._network = TrainingNetwork(vla, preprocess, self.plan.loss, dropout=False).train()

    def network(self) -> TrainingNetwork:
        """One more, with the same weights."""
        return copy.deepcopy(self._network)

    def keep(self, network: TrainingNetwork, folder: Path) -> WindowDataset:
        """The windows with kept features, which ``network`` then takes."""
        images = int(self.plan.train.table.starts[-1])
        level = choose_level(self.config, network.vla, images)
        assert level is not None
        dataset = copy.copy(self.plan.train)
        dataset.features = keep_features(
            self.accelerator, network.vla, level, dataset, network.preprocess, folder, "float32"
        )
        network.kept = level[0]
        return dataset


class Side:
    """A network that takes optimiser steps by a plain loop, and how long each took."""

    def __init__(self, setting: Setting, network: TrainingNetwork, dataset: WindowDataset | None = None) -> None:
        self.network, self.plan = network, setting.plan
        self.dataset = dataset or setting.plan.train
        self.timing = Timing()
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizer: Any = torch.optim.AdamW(
            trained, lr=self.plan.loop.learning_rate, weight_decay=self.plan.weight_decay
        )
        self._steps = self.steps()

    def steps(self) -> Iterator[None]:
        """Take a step each time it is asked for the next."""
        keys = BatchSampler(self.plan.order, 0, self.plan.loop.steps)
        weights = [weight for weight in self.network.parameters() if weight.requires_grad]
        for batch in DataLoader(self.dataset, batch_sampler=keys, collate_fn=self.plan.collate):
            loss = self.network(batch)["loss"]
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, self.plan.loop.clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
            yield

    def step(self) -> None:
        """The next one."""
        with self.timed():
            next(self._steps)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Around a step."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.timing.cpu.append(time.process_time() - cpu)
        self.timing.wall.append(time.perf_counter() - wall)


class Taking(RunReporter):
    """The reporter of a run, which hands over to the other sides when a step is done."""

    def __init__(self, folder: Path, done: Callable[[], None]) -> None:
        folder.mkdir(parents=True)
        # A terminal that somebody looks at, but for the looking.
        console = Console(file=io.StringIO(), force_terminal=True)
        super().__init__(MetricsFile(folder / "metrics.jsonl"), folder / "tensorboard", console)
        self._done = done

    def advance(self, step: int) -> None:
        """See `Reporter.advance`."""
        super().advance(step)
        self._done()


class NoHooks:
    """Nothing is measured on held-out episodes and nothing is saved."""

    def validate(self, step: int) -> Mapping[str, float]:
        """See `robovlms_ros.train.loop.Hooks`."""
        return {}

    def save(self, step: int, metrics: Mapping[str, float], last: bool) -> None:
        """See `robovlms_ros.train.loop.Hooks`."""


class OurSide(Side):
    """The loop of ``robovlms train``, with a line of log for every step."""

    def __init__(self, setting: Setting, network: TrainingNetwork, folder: Path) -> None:
        super().__init__(setting, network)
        self._accelerator, self._folder = setting.accelerator, folder
        self._prepared, self._optimizer = self._accelerator.prepare(network, self.optimizer)

    def run(self, steps: int, others: Callable[[], None]) -> None:
        """Take ``steps`` steps, the other sides one after each."""
        plan, clock = self.plan, self.timed()
        clock.__enter__()

        def done() -> None:
            nonlocal clock
            clock.__exit__(None, None, None)
            others()
            clock = self.timed()
            clock.__enter__()

        TrainingLoop(
            *(self._accelerator, self._prepared, self._optimizer, self.dataset, plan.collate, plan.order),
            replace(plan.loop, steps=steps, log_every=1),
            NoHooks(),
            Taking(self._folder, done),
        ).run()


def difference(one: TrainingNetwork, other: TrainingNetwork) -> float:
    """The largest one between their trained weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs if a.requires_grad)


def compare(name: str, plain: Side, here: Side, again: Side, steps: int) -> Comparison:
    """Take turns; a problem where not all ended with the same weights. The first step is not counted."""

    def others() -> None:
        plain.step()
        again.step()

    if isinstance(here, OurSide):
        here.run(steps + 1, others)
    else:
        for _ in range(steps + 1):
            for side in (plain, here, again):
                side.step()
    first, second, third = (Timing(s.timing.cpu[1:], s.timing.wall[1:]) for s in (plain, here, again))
    largest = difference(plain.network, here.network)
    row = (
        name,
        median(first.cpu),
        median(second.cpu),
        min(first.cpu) / min(second.cpu),
        median(first.cpu) / median(second.cpu),
        median(first.wall) / median(second.wall),
        min(first.cpu) / min(third.cpu),
        median(first.cpu) / median(third.cpu),
        largest,
    )
    problem = f"{name}: the weights differ by {largest:.1e}, allowed is {ROUNDING:.0e}"
    return Comparison(row, None if largest <= ROUNDING else problem)


SETUPS: Mapping[str, Mapping[str, Any]] = {
    "kept features, image encoder frozen": {},
    "kept features, backbone frozen": {"freeze_backbone": True},
}


def measure(scale: str, steps: int, progress: Callable[[str], None]) -> list[Table]:
    """Compare the loop, and kept features, with a plain loop: ``steps`` optimiser steps of every side."""
    found = []
    with threads(1), tempfile.TemporaryDirectory(prefix="robovlms_bench_") as scratch:
        folder = Path(scratch)
        progress("making a dataset and a model")
        data, model = write_dataset(folder / "data"), write_model(folder / "model", scale)
        whole = Setting(folder / "whole", model, data, {"train_vision": True})
        sides = (
            Side(whole, whole.network()),
            OurSide(whole, whole.network(), folder / "logs"),
            Side(whole, whole.network()),
        )
        progress("the loop")
        found.append(compare("the loop, everything trained", *sides, steps))
        for number, (name, setup) in enumerate(SETUPS.items()):
            progress(name)
            setting = Setting(folder / str(number), model, data, setup)
            network = setting.network()
            dataset = setting.keep(network, folder / f"features{number}")
            plain, again = Side(setting, setting.network()), Side(setting, setting.network())
            found.append(compare(name, plain, Side(setting, network, dataset), again, steps))
    problems = tuple(each.problem for each in found if each.problem)
    title = f"Training steps: Kosmos-2 with an LSTM head, scale: {scale}, one thread"
    return [Table(title, COLUMNS, tuple(each.row for each in found), NOTES, problems)]
