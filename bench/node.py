"""All figures of the vla_node in one table: latency, freshness, shutdown, lifecycle. Null policy, real processes.

    make bench-node                     # the same as: python bench/node.py; about three minutes
    python bench/node.py --quick        # half a minute, to try the script
    python bench/node.py --json

It waits for nothing to become quiet: the line above the table says how many cores other processes kept busy.
"""

from __future__ import annotations

import sys

import frame_age
import lifecycle_cycles
import node_latency
import shutdown
from rig import Load, arguments, report


def main(options: list[str] | None = None) -> int:
    """Print the table; 0 where all targets are reached."""
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="some seconds of each")
    parser.add_argument("--model", action="store_true", help="cycle a node that loads a model, too")
    given = parser.parse_args(options)
    seconds, count = (1.5, 2) if given.quick else (20.0, 20)
    load = Load()
    sections = {
        "image to action": node_latency.measure(seconds),
        "frame age, 60 Hz and 300 ms": frame_age.measure(seconds),
        "SIGTERM in mid-inference": shutdown.measure(1 if given.quick else 10),
        f"{count} lifecycle cycles": lifecycle_cycles.measure(count),
    }
    if given.model:
        sections[f"{count} lifecycle cycles with a model"] = lifecycle_cycles.measure_with_model(count)
    return report(sections, load.others(), given.json)


if __name__ == "__main__":
    sys.exit(main())
