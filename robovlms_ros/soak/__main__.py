"""Run the nodes under injected faults for a while, and say whether they held.

    make soak                                    # ten minutes
    make soak SECONDS=60 SEED=7
    python -m robovlms_ros.soak --fault "hanging inference" --fault resets --seconds 30

Starts a vla_node with the null policy and an action_history_node as processes on a private ROS domain, shows them
a camera of 640x480 at 30 Hz, and lets one thing after the other go wrong, in an order that the seed decides. Every
action that comes out is checked. Exits with 1 where anything was violated.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from robovlms_ros.soak.faults import FAULTS
from robovlms_ros.soak.rig import RigSettings
from robovlms_ros.soak.soak import MEGABYTE, SoakReport, SoakSettings, soak
from robovlms_ros.soak.soak import Progress as Step


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        prog="python -m robovlms_ros.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="faults: " + ", ".join(FAULTS),
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (600)")
    parser.add_argument("--seed", type=int, default=None, help="of the order and the details of faults (random)")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second (30)")
    parser.add_argument(
        "--slack", type=float, default=0.5, help="seconds that a busy machine may add to anything (0.5)"
    )
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    try:
        settings = SoakSettings(given.seconds, seed, given.fault, RigSettings(given.rate, given.slack))
    except ValueError as error:
        parser.error(str(error))
    console = Console(stderr=True)
    console.print(f"soak: {given.seconds:.0f} s, seed {seed}", highlight=False)
    try:
        with progress_line(console) as progress:
            task = progress.add_task("starting the nodes", total=given.seconds, actions=0, violations=0)

            def show(step: Step) -> None:
                progress.update(
                    task,
                    completed=min(step.elapsed, given.seconds),
                    description=step.fault,
                    actions=step.actions,
                    violations=step.violations,
                )

            report = soak(settings, show)
    except KeyboardInterrupt:
        console.print("soak: interrupted; all nodes are ended")
        return 130
    if given.json:
        print(report.to_json())  # noqa: T201
    else:
        show_report(Console(), report)
    return 0 if report.passed else 1


def progress_line(console: Console) -> Progress:
    """Return the line that is drawn while it runs."""
    return Progress(
        TextColumn("{task.description:<32.32}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[actions]} actions, [red]{task.fields[violations]}[/] violations"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def show_report(console: Console, report: SoakReport) -> None:
    """Print the tables, and last the verdict."""
    faults = Table("fault", "times", title="what went wrong")
    for name, count in sorted(report.done.items()):
        faults.add_row(name, str(count))
    console.print(faults)
    processes = Table(
        "process",
        "seconds",
        "own memory",
        "grew by",
        "allowed",
        "threads",
        "open files",
        "cores",
        title="processes",
    )
    for process in report.processes:
        memory = process.memory
        processes.add_row(
            process.name,
            f"{process.seconds:.0f}",
            f"{process.anonymous / MEGABYTE:.1f}",
            f"{memory.gained / MEGABYTE:+.2f}",
            f"{memory.allowed / MEGABYTE:.1f}",
            " -> ".join(map(str, process.threads)),
            " -> ".join(map(str, process.files)),
            f"{process.cpu:.2f}",
        )
    console.print(processes)
    for violation in report.violations:
        during = f" (during {violation.during})" if violation.during else ""
        console.print(f"[red]{violation.rule}[/]: {violation.text}{during}", highlight=False, soft_wrap=True)
    if report.counts:
        console.print("violations: " + ", ".join(f"{rule} {count}x" for rule, count in report.counts.items()))
    verdict = "[green]held[/]" if report.passed else "[red]BROKE[/]"
    console.print(
        f"soak: {verdict} for {report.seconds:.0f} s (seed {report.seed}): {sum(report.done.values())} faults, "
        f"{report.images} images -> {report.actions} actions, {report.stops} of them stops, {report.lost} lost, "
        f"latency p50 {report.latency_p50_ms:.1f} ms p99 {report.latency_p99_ms:.1f} ms, "
        f"{report.log_lines_per_minute:.0f} log lines a minute, ended in {report.shutdown_seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
