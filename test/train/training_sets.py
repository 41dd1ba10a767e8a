"""Small training sets: every step has an image of its own, and an action to be learned by heart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import Tensor

from robovlms_ros.data.episodes import ArrayEpisode, MemorySource
from robovlms_ros.model.backbone.base_backbone import BaseRoboVLM
from robovlms_ros.policy.preprocess import ImagePreprocessor
from robovlms_ros.policy.robot_profile import RobotProfile, load_profile
from robovlms_ros.train.config import TrainingConfig
from robovlms_ros.train.config_file import parse_training_config
from robovlms_ros.train.episode_table import Needs, read_table
from robovlms_ros.train.reporting import read_metrics
from robovlms_ros.train.run import Outcome, train
from robovlms_ros.train.run_folder import RunFolder
from robovlms_ros.train.state import TRAINED, read_tensors
from robovlms_ros.train.text_rows import text_rows
from robovlms_ros.train.window_dataset import WindowDataset, WindowSettings

CALVIN = load_profile("calvin")
INSTRUCTIONS = ("pick up the red block", "open the drawer")


def make_episode(
    number: int = 0,
    steps: int = 6,
    *,
    instruction: str | None = None,
    cameras: Sequence[str] = ("static",),
    size: int = 28,
    step_duration: float = CALVIN.step_duration,
) -> ArrayEpisode:
    """Actions of a robot with the profile ``calvin``: at most 0.6 of its unit, gripper open or closed."""
    random = np.random.default_rng((7, number))
    actions = np.empty((steps, 7))
    actions[:, :3] = random.uniform(-0.6, 0.6, (steps, 3)) * CALVIN.units.translation
    actions[:, 3:6] = random.uniform(-0.6, 0.6, (steps, 3)) * CALVIN.units.rotation
    actions[:, 6] = random.integers(0, 2, steps)
    states = np.concatenate([random.uniform(-1, 1, (steps, 6)), actions[:, 6:]], axis=1)
    # Four coloured squares each: to an image encoder with random weights noise looks like any other noise.
    colours = {name: random.integers(0, 256, (steps, 2, 2, 3), dtype=np.uint8) for name in cameras}
    images = {name: drawn.repeat(size // 2, axis=1).repeat(size // 2, axis=2) for name, drawn in colours.items()}
    text = INSTRUCTIONS[number % len(INSTRUCTIONS)] if instruction is None else instruction
    return ArrayEpisode(f"e{number}", text, step_duration, actions, images, states)


def make_source(
    episodes: int = 8, steps: int | Sequence[int] = 6, cameras: Sequence[str] = ("static",)
) -> MemorySource:
    """A source of `make_episode`, in the frame of the profile ``calvin``."""
    lengths = [steps] * episodes if isinstance(steps, int) else steps
    made = [make_episode(n, length, cameras=cameras) for n, length in enumerate(lengths)]
    return MemorySource("memory", made, "rpy", CALVIN.frame)


def needs(model: BaseRoboVLM, profile: RobotProfile = CALVIN, **changes: Any) -> Needs:
    """What ``model`` needs of an episode."""
    return Needs(
        profile=profile.for_model(model.config),
        cameras=("static", "hand") if model.config.use_hand_rgb else ("static",),
        instruction_ids=text_rows(model.config, model.tokenizer).prompt,
        with_gripper=model.head_config.with_gripper,
        **{"states": model.config.state_encoder is not None} | changes,
    )


def make_dataset(
    model: BaseRoboVLM, source: MemorySource, settings: WindowSettings | None = None, **changes: Any
) -> WindowDataset:
    """The windows of ``source`` for ``model``."""
    config = model.config
    preprocess = ImagePreprocessor(config.image_size, model.image_mean, model.image_std)
    table = read_table([source], needs(model, **changes))
    return WindowDataset([source], table, config, text_rows(config, model.tokenizer), preprocess, settings)


def make_config(output: Path, **sections: Any) -> TrainingConfig:
    """A short run of a small model; a section's keys lie over these."""
    content: dict[str, Any] = {
        "output": str(output),
        "robot": "calvin",
        "model": {
            "untrained": {"window": 2, "chunk": 2, "image_size": 28},
            "overrides": {"act_head": {"num_layers": 1}},
            "new_head": True,
        },
        "data": {"train": "unused", "workers": 0},
        "optim": {"steps": 4, "batch_size": 4, "learning_rate": 1e-3},
        "feature_cache": {"mode": "off"},
        "checkpoints": {"every": 100},
        "log": {"every": 1, "tensorboard": False},
    }
    for name, values in sections.items():
        content[name] = content.get(name, {}) | values if isinstance(values, dict) else values
    return parse_training_config(content)


def run_quietly(config: TrainingConfig, source: MemorySource | None = None, **arguments: Any) -> Outcome:
    """Train on ``source``, or four episodes of four steps."""
    console = arguments.pop("console", Console(quiet=True))
    return train(config, sources=[source or make_source(4, 4)], console=console, **arguments)


def last_weights(run: Path) -> dict[str, Tensor]:
    """The trained weights of a run's last checkpoint."""
    return read_tensors(RunFolder.open(run).checkpoints().find("last").folder, TRAINED)


def losses(run: Path, name: str = "train_loss") -> list[float]:
    """What a run has logged under this name."""
    return [line[name] for line in read_metrics(run / "metrics.jsonl") if name in line]
