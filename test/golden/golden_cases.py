"""The test vectors in this folder, for tests; see `robovlms_ros.parity.golden`."""

from __future__ import annotations

from pathlib import Path

from robovlms_ros.parity.golden import GoldenFolder

FOLDER = Path(__file__).parent
_golden = GoldenFolder(FOLDER)
arrays, config_path, images, state_dict = _golden.arrays, _golden.config_path, _golden.images, _golden.state_dict
