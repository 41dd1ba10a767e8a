"""Memory and time of packing and loading a Kosmos-2 with an LSTM head, from generated weights.

Every step runs in a process of its own. `peak RSS` is the kernel's high-water mark (VmHWM): it counts mapped file
pages, which the kernel may drop at any time; `peak anonymous`, sampled every 10 ms, is what cannot be dropped. The
files are in the page cache, so the times are those of a warm start.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robovlms_ros.bench.table import Table
from robovlms_ros.model.errors import ModelError

COLUMNS = ("step", "seconds", "peak RSS, GB", "peak anonymous, GB", "peak RSS / weights kept")
NOTES = (
    "Every row is a process of its own; files are in the page cache.",
    "*Peak RSS* counts mapped file pages, which the kernel may drop at any time; *peak anonymous* is what it "
    "cannot drop.",
)


def write_sources(folder: Path, scale: str) -> None:
    """A backbone folder, a configuration and a checkpoint in upstream's format, as a user has them."""
    import torch

    from robovlms_ros.bench.models import recipe, write_backbone
    from robovlms_ros.model.config_reader import read_config
    from robovlms_ros.model.vlm_builder import build_model

    vlm = folder / "vlm"
    vlm.mkdir()
    write_backbone(vlm, scale)
    content = recipe(scale)
    for section in ("vlm", "tokenizer"):
        content[section]["pretrained_model_name_or_path"] = "vlm"
    (folder / "config.json").write_text(json.dumps(content))
    model = build_model(read_config(folder / "config.json"), vlm)
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    tied = {id(model.backbone.text_model.lm_head.weight): "backbone.text_model.model.embed_tokens.weight"}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        same = tensors.get(f"model.{tied.get(id(parameter), '')}")
        random = torch.empty(parameter.shape).normal_(std=0.02, generator=generator) if same is None else same
        tensors[f"model.{name}"] = random
    torch.save({"state_dict": tensors, "epoch": 4}, folder / "model.pt")


def pack(folder: Path, dtype: str) -> None:
    """Pack into ``folder/DTYPE``."""
    from robovlms_ros.policy.packing import Source
    from robovlms_ros.policy.packing import pack as write

    write(Source(folder / "config.json", folder / "model.pt"), folder / dtype, dtype=dtype)


def load(folder: Path, packed: str, dtype: str) -> None:
    """Load a packed folder, ready to run."""
    from robovlms_ros.policy import VLAPolicy

    VLAPolicy.load(folder / packed, dtype=dtype)


def load_checkpoint(folder: Path) -> None:
    """Load upstream's own files, ready to run."""
    from robovlms_ros.policy import VLAPolicy

    VLAPolicy.from_upstream(folder / "config.json", folder / "model.pt")


def import_alone() -> None:
    """What loading needs before it begins."""
    from transformers import Kosmos2ForConditionalGeneration  # noqa: F401

    from robovlms_ros.policy import VLAPolicy  # noqa: F401


def memory(key: str) -> int:
    """Bytes, from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def peaks(work: Callable[[], None]) -> dict[str, float]:
    """Run ``work`` here and report its time and peaks."""
    anonymous, done = [memory("RssAnon")], threading.Event()

    def sample() -> None:
        while not done.wait(0.01):
            anonymous.append(memory("RssAnon"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.perf_counter()
    try:
        work()
        seconds = time.perf_counter() - started
    finally:
        done.set()
        sampler.join()
    return {"peak": memory("VmHWM"), "anonymous": max(anonymous), "seconds": seconds}


def step(folder: Path, scale: str, name: str, *arguments: str) -> dict[str, float]:
    """Run one step in a fresh process. Raises `ModelError` where it fails."""
    module = "robovlms_ros.bench.memory"
    command = [sys.executable, "-m", module, str(folder), scale, name, *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise ModelError(f"the step '{name}' failed: {result.stderr.strip().splitlines()[-1:]}")
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def measure(scale: str, progress: Callable[[str], None], quick: bool = False) -> list[Table]:
    """Make, pack and load a model of this scale; ``full`` needs 30 GB of disk. ``quick``: in float32 alone."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        progress("making a checkpoint")
        step(folder, scale, "make")
        size = (folder / "model.pt").stat().st_size
        plan: list[tuple[str, int, tuple[str, ...]]] = [
            ("imports alone", 0, ("import",)),
            ("pack float32", 0, ("pack", "float32")),
            ("pack bfloat16", 0, ("pack", "bfloat16")),
            ("load float32", size, ("load", "float32", "float32")),
            ("load bfloat16", size // 2, ("load", "bfloat16", "bfloat16")),
            ("load bfloat16 as float32", size, ("load", "bfloat16", "float32")),
            ("load the .pt itself", size, ("load_checkpoint",)),
        ]
        if quick:
            plan = [each for each in plan if "bfloat16" not in each[0]]
        for label, kept, call in plan:
            progress(label)
            found = step(folder, scale, *call)
            ratio = found["peak"] / kept if kept else None
            rows.append((label, found["seconds"], found["peak"] / 1e9, found["anonymous"] / 1e9, ratio))
    title = f"Memory of packing and loading: Kosmos-2, scale: {scale}, a checkpoint of {size / 1e9:.2f} GB"
    return [Table(title, COLUMNS, tuple(rows), NOTES)]


def main(arguments: list[str] | None = None) -> None:
    """Do one step and print what it took; for `step`."""
    parser = argparse.ArgumentParser(
        description="One step of the memory benchmark; 'robovlms bench memory' runs all."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("scale")
    parser.add_argument("step", nargs="+")
    options = parser.parse_args(arguments)
    steps: dict[str, Any] = {
        "import": import_alone,
        "make": lambda: write_sources(options.folder, options.scale),
        "pack": lambda dtype: pack(options.folder, dtype),
        "load": lambda packed, dtype: load(options.folder, packed, dtype),
        "load_checkpoint": lambda: load_checkpoint(options.folder),
    }
    name, *rest = options.step
    if name != "import":
        import_alone()  # its time is a row of its own
    print(json.dumps(peaks(lambda: steps[name](*rest))))  # noqa: T201  for whoever started it


if __name__ == "__main__":
    main()
