"""The full-size Kosmos-2 with an LSTM head: the names and shapes of its weights, without the weights."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from robovlms_ros.model.config_reader import read_config
from robovlms_ros.model.vlm_builder import build_model
from robovlms_ros.parity.comparison import Comparison
from robovlms_ros.parity.golden import GoldenFolder

FULL_SIZE = "kosmos2_full_lstm_state_dict_keys"


def compare_full_size(golden: GoldenFolder) -> Comparison:
    """Build it on the meta device and compare it with the list of what the published checkpoints hold."""
    found, expected = Comparison(FULL_SIZE), golden.json(FULL_SIZE)
    content = json.loads(golden.config_path("kosmos_lstm").read_text(encoding="utf-8"))
    content |= {"image_size": 224, "window_size": 16, "fwd_pred_next_n": 10}
    content["act_head"]["hidden_size"] = 1024
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")
        # Kosmos2Config's defaults are the sizes of microsoft/kosmos-2-patch14-224.
        (folder / "config.json").write_text(json.dumps({"model_type": "kosmos-2"}), encoding="utf-8")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((golden.path / "vlm" / "kosmos2_tiny" / name).read_bytes())
        model = build_model(read_config(folder / "model.json"), folder)
    shapes = {f"model.{key}": list(tensor.shape) for key, tensor in model.state_dict().items()}
    found.equal(f"names of {len(expected)} tensors", sorted(shapes), sorted(expected))
    found.equal("shapes", [shapes.get(key) == shape for key, shape in expected.items()], [True] * len(expected))
    return found
