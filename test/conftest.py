"""Makes the reader of the test vectors importable for every test: ``import golden_cases``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "golden"))
