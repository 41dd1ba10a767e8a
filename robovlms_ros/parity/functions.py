"""Pure functions: normalisation, rotations, windows, losses, prompts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from robovlms_ros.data.augmentation import shift_images
from robovlms_ros.data.normalization import ActionNormalizer
from robovlms_ros.data.rotations import matrix_to_rpy, rpy_to_matrix, tool_to_world, world_to_tool
from robovlms_ros.data.windows import chunks, episode_windows
from robovlms_ros.model.action_encoder.linear_encoder import ActionLinearEncoder
from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.discrete_prompt import discrete_prompt
from robovlms_ros.model.policy_head.base_policy import ActionOutput
from robovlms_ros.model.policy_head.fc import FCDecoder
from robovlms_ros.parity.comparison import Comparison
from robovlms_ros.parity.golden import GoldenFolder
from robovlms_ros.train.schedules import Schedule

# For pure functions of numbers.
EXACT = 1e-6
_LIMITS = (-0.65, 0.65)
_WINDOWS = re.compile(r"chunk_(?P<sampling>\w+)_(?P<pad>\d)_(?P<window>\d)_(?P<chunk>\d)_idx")
_TOKENS = {"paligemma": ("<bos>", "<eos>"), "mpt": ("<|endoftext|>", "<|endoftext|>")}
Values = Mapping[str, NDArray[Any]]


def _normalisation(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    both, arm, actions = ActionNormalizer(_LIMITS, keep_gripper=False), ActionNormalizer(_LIMITS), values["a"]
    found.close("to and from ±0.65", both.normalize(actions), values["norm"], EXACT)
    found.close("to and from ±0.65", arm.normalize(actions), values["norm_keep"], EXACT)
    found.close("to and from ±0.65", both.denormalize(actions), values["unnorm"], EXACT)
    mu = ActionNormalizer(mu=255)
    found.close("mu-law", mu.normalize(actions), values["mu1"], EXACT)
    found.close("mu-law", mu.denormalize(actions), values["imu1"], EXACT)
    # Upstream keeps the last row of a trajectory where it means the gripper's column.
    quirk = np.s_[:-1, :-1]
    found.close("mu-law", mu.normalize(actions)[quirk], values["mu2d_upstream_last_row_quirk"][quirk], EXACT)
    standard = ActionNormalizer(mean_std=(0.1, 0.5)).normalize(actions)
    found.close("standardised", standard[quirk], values["reg"][quirk], EXACT)


def _tool_frame(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    # Upstream computes in float32 and multiplies the angles by 100.
    actions, orientation = values["w2t_action"], values["w2t_robot"][..., 3:6]
    found.close("world to tool", world_to_tool(actions, orientation), values["w2t_out"], 2e-5)
    found.close("tool to world", tool_to_world(actions, orientation), values["t2w_out_after_fix"], 2e-5)


def _windows(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    for match in filter(None, map(_WINDOWS.fullmatch, values)):
        window, chunk = int(match["window"]), int(match["chunk"])
        sampling: Any = match["sampling"]  # one of the two that there are
        made = episode_windows(6, window, chunk, sampling=sampling, left_pad=match["pad"] == "1")
        found.equal("windows", made.frames + 100, values[match[0]])
        found.equal("windows", made.mask, values[match[0].replace("_idx", "_mask")])
    found.equal("chunks", chunks(values["gen_chunk_in"], 4, 2), values["gen_chunk_out"])


def _rotations(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    found.close("to a matrix", rpy_to_matrix(values["euler"]), values["rotm"], EXACT)
    found.close("and back", matrix_to_rpy(values["rotm"]), values["euler_back"], EXACT)


def _shift(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    images, draw = torch.from_numpy(values["shift_in"]), torch.from_numpy(values["shift_draw"])
    found.close("shifted images", shift_images(images, draw.view(2, 2), pad=4), values["shift_out_pad4_seed5"])


def _losses(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    tensors = {key: torch.from_numpy(value) for key, value in values.items() if key.startswith("loss_")}
    prediction = ActionOutput(tensors["loss_pred"][..., :6], tensors["loss_pred"][..., 6])
    head = FCDecoder(read_config(golden.config_path("kosmos_fc")), in_features=8)
    for mask, expected in ((tensors["loss_mask"], "loss_masked"), (None, "loss_unmasked")):
        losses = head.loss(prediction, tensors["loss_pose"], tensors["loss_grip"], mask)
        found.close("losses", torch.stack([part.double() for part in losses]), values[expected], EXACT)


def _schedule(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    half_cosine = Schedule("half-cosine", total=100, warmup=10, min_scale=0.01)
    made = [half_cosine(step) for step in range(len(values["lr_halfcos"]))]
    found.close("half-cosine", made, values["lr_halfcos"], EXACT)


def _action_encoder(found: Comparison, values: Values, golden: GoldenFolder) -> None:
    prefix = "actenc_w/"
    weights = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in values.items() if k.startswith(prefix)}
    encoder = ActionLinearEncoder(6, 1, 16)
    encoder.load_state_dict(weights)
    with torch.inference_mode():
        found.close("tokens", encoder(torch.from_numpy(values["actenc_in"])), values["actenc_out"], EXACT)


class _Group(NamedTuple):
    keys: str
    """Pattern of the arrays that it compares."""
    compare: Callable[[Comparison, Values, GoldenFolder], None]


_GROUPS = {
    "normalisation": _Group(r"a|norm|norm_keep|unnorm|i?mu1|mu2d_\w+|reg", _normalisation),
    "tool frame": _Group(r"w2t_\w+|t2w_\w+", _tool_frame),
    "windows and chunks": _Group(r"(gen_)?chunk_\w+", _windows),
    "rotations": _Group(r"euler|rotm|euler_back", _rotations),
    "random shift": _Group(r"shift_\w+", _shift),
    "loss": _Group(r"loss_\w+", _losses),
    "learning rate": _Group(r"lr_halfcos", _schedule),
    "action encoder": _Group(r"actenc_.+", _action_encoder),
}


def compare_functions(golden: GoldenFolder) -> list[Comparison]:
    """Every group of pure functions; arrays that belong to none are a row of their own that says so."""
    values, rows = golden.arrays("functions"), []
    for name, group in _GROUPS.items():
        found = Comparison(f"functions: {name}")
        group.compare(found, values, golden)
        rows.append(found)
    claimed = re.compile("|".join(group.keys for group in _GROUPS.values()))
    rest = sorted(key for key in values if not claimed.fullmatch(key))
    return rows + [Comparison(f"functions: {key}", not_run=f"nothing here computes `{key}` yet") for key in rest]


def compare_prompts(golden: GoldenFolder) -> Comparison:
    """The question that discrete models are asked, in every style."""
    found = Comparison("prompts")
    for model, expected in golden.json("prompts").items():
        bos, eos = _TOKENS.get(model, ("<s>", "</s>"))
        found.equal(model, discrete_prompt("X", 11, model, bos, eos), expected)
    return found
