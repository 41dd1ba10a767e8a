"""Memory and time of packing and loading a full-size Kosmos-2 with an LSTM head, from generated weights.

    python bench/load_memory.py                 # 30 GB of disk and 8 GB of memory; some minutes
    python bench/load_memory.py --scale tiny    # the same steps on a small one, to try the script

Every step runs in a process of its own. `peak RSS` is the kernel's high-water mark (VmHWM): it counts mapped file
pages, which the kernel may drop at any time; `peak anonymous`, sampled every 10 ms, is what cannot be dropped. The
files are in the page cache, so the times are those of a warm start.
"""

# ruff: noqa: T201  a benchmark prints

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

GOLDEN = Path(__file__).resolve().parents[1] / "test" / "golden"
CONFIG = Path(__file__).resolve().parents[1] / "config" / "models" / "kosmos_ph.json"
TINY = {
    "text_config": {"vocab_size": 512, "embed_dim": 64, "layers": 2, "ffn_dim": 128, "attention_heads": 2},
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
}


def write_sources(folder: Path, scale: str) -> None:
    """A backbone folder, a configuration and a checkpoint in upstream's format, as a user has them."""
    import torch

    from robovlms_ros.model.config_reader import read_config
    from robovlms_ros.model.vlm_builder import build_model

    vlm = folder / "vlm"
    vlm.mkdir()
    # Kosmos2Config's defaults are the sizes of microsoft/kosmos-2-patch14-224.
    sizes = TINY if scale == "tiny" else {}
    (vlm / "config.json").write_text(json.dumps({"model_type": "kosmos-2", **sizes}))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (vlm / name).write_bytes((GOLDEN / "vlm" / "kosmos2_tiny" / name).read_bytes())
    content = json.loads(CONFIG.read_text())
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


def measure(work: Callable[[], None]) -> dict[str, float]:
    """Run ``work`` here and report its time and peaks."""
    anonymous, done = [memory("RssAnon")], threading.Event()

    def sample() -> None:
        while not done.wait(0.01):
            anonymous.append(memory("RssAnon"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    done.set()
    sampler.join()
    return {"peak": memory("VmHWM"), "anonymous": max(anonymous), "seconds": seconds}


def step(folder: Path, scale: str, name: str, *arguments: str) -> dict[str, float]:
    """Run one of `STEPS` in a fresh process."""
    command = [sys.executable, __file__, "--scale", scale, "--scratch", str(folder), "--step", name, *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{name} failed:\n{result.stderr}")
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def rows(folder: Path, scale: str) -> list[tuple[str, int, dict[str, float]]]:
    """Label, bytes of weights that are kept, and what was measured."""
    size = (folder / "model.pt").stat().st_size
    plan = [
        ("imports alone", 0, ("import",)),
        ("pack float32", 0, ("pack", "float32")),
        ("pack bfloat16", 0, ("pack", "bfloat16")),
        ("load float32", size, ("load", "float32", "float32")),
        ("load bfloat16", size // 2, ("load", "bfloat16", "bfloat16")),
        ("load bfloat16 as float32", size, ("load", "bfloat16", "float32")),
        ("load the .pt itself", size, ("load_checkpoint",)),
    ]
    return [(label, kept, step(folder, scale, *call)) for label, kept, call in plan]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    parser.add_argument("--scratch", type=Path, default=None, help="where to put the files; they are deleted")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        steps: dict[str, Any] = {
            "import": import_alone,
            "make": lambda: write_sources(options.scratch, options.scale),
            "pack": lambda dtype: pack(options.scratch, dtype),
            "load": lambda packed, dtype: load(options.scratch, packed, dtype),
            "load_checkpoint": lambda: load_checkpoint(options.scratch),
        }
        name, *arguments = options.step
        if name != "import":
            import_alone()  # its time is a row of its own
        print(json.dumps(measure(lambda: steps[name](*arguments))))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = Path(scratch)
        step(folder, options.scale, "make")
        print(f"checkpoint: {(folder / 'model.pt').stat().st_size / 1e9:.2f} GB\n")
        print("| step | seconds | peak RSS, GB | peak anonymous, GB | peak RSS / weights kept |")
        print("|---|---|---|---|---|")
        for label, kept, measured in rows(folder, options.scale):
            ratio = f"{measured['peak'] / kept:.2f}" if kept else "-"
            peak, anonymous = measured["peak"] / 1e9, measured["anonymous"] / 1e9
            print(f"| {label} | {measured['seconds']:.1f} | {peak:.2f} | {anonymous:.2f} | {ratio} |")


if __name__ == "__main__":
    main()
