"""The soak itself: faults from a seeded schedule for a given time, and the verdict."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from robovlms_ros.ros.node_process import NodeProcess, NodeProcessError
from robovlms_ros.soak.faults import FAULTS
from robovlms_ros.soak.flatness import Allowance, Growth, growth
from robovlms_ros.soak.graph import private_graph
from robovlms_ros.soak.process_stats import ProcessStats, process_stats
from robovlms_ros.soak.rig import Rig, RigSettings, SoakError
from robovlms_ros.soak.scripted_node import MARK
from robovlms_ros.soak.watcher import Violation

MEGABYTE = 1e6
# Once for what is allocated late (a fragmented heap, a larger image than ever before), and what noise looks like
# as a slope. 1 MB a minute is 560 bytes for each image at 30 Hz.
MEMORY = Allowance(4 * MEGABYTE, 1 * MEGABYTE)
# Before every fault has been there once, buffers still grow to the size of the largest image.
SHORT_MEMORY = Allowance(32 * MEGABYTE, 1 * MEGABYTE)
# Discovery of a node that was killed holds a file until its lease expires.
MORE_FILES = 4
LINES_PER_MINUTE = 300
SAMPLE_PERIOD = 0.5


@dataclass(frozen=True)
class SoakSettings:
    """``faults``: names of `FAULTS`, all if empty."""

    seconds: float = 600.0
    seed: int = 0
    faults: Sequence[str] = ()
    rig: RigSettings = field(default_factory=RigSettings)

    def __post_init__(self) -> None:
        unknown = set(self.faults) - FAULTS.keys()
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are: {', '.join(FAULTS)}")


@dataclass
class ProcessReport:
    """What became of a process after its warm-up. Memory in bytes."""

    name: str
    seconds: float
    memory: Growth
    resident: Growth
    anonymous: int
    threads: tuple[int, int]
    files: tuple[int, int]
    cpu: float


@dataclass
class SoakReport:
    """What came of a soak."""

    seed: int
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    actions: int = 0
    stops: int = 0
    lost: int = 0
    images: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    shutdown_seconds: float = 0.0
    log_lines_per_minute: float = 0.0
    processes: list[ProcessReport] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        """Whether nothing was violated."""
        return not self.counts

    def to_json(self) -> str:
        """Return everything as JSON."""

        def plain(value: Any) -> Any:
            return vars(value) if hasattr(value, "__dict__") else str(value)

        return json.dumps({"passed": self.passed, **vars(self)}, default=plain, indent=2, ensure_ascii=False)


@dataclass(frozen=True)
class Progress:
    """Where a soak is."""

    elapsed: float
    fault: str
    actions: int
    violations: int


class Samples:
    """States of processes over time, taken in a thread."""

    def __init__(self, processes: Callable[[], Sequence[NodeProcess]]) -> None:
        self._processes = processes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="samples", daemon=True)
        self._series: dict[tuple[str, int], list[tuple[float, ProcessStats]]] = defaultdict(list)
        self._thread.start()

    def series(self) -> dict[tuple[str, int], list[tuple[float, ProcessStats]]]:
        """Stop; return the samples of each process by name and number."""
        self._ended.set()
        self._thread.join()
        return dict(self._series)

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_PERIOD):
            for process in list(self._processes()):
                try:
                    sample = process_stats(process.pid)
                except ProcessLookupError:
                    continue
                self._series[process.name, process.pid].append((time.monotonic(), sample))


def schedule(names: Sequence[str], random: Random) -> Iterator[tuple[int, str]]:
    """Yield (round, fault) for ever: each round has all of ``names``, in another order."""
    round_number = 0
    while True:
        shuffled = list(names)
        random.shuffle(shuffled)
        for name in shuffled:
            yield round_number, name
        round_number += 1


def soak(settings: SoakSettings, on_progress: Callable[[Progress], None] = lambda _: None) -> SoakReport:
    """Run the nodes under faults. Ends early where a process dies; KeyboardInterrupt passes through."""
    report = SoakReport(settings.seed)
    with private_graph("soak") as graph:
        rig = Rig(graph, settings.rig, settings.seed)
        samples = Samples(lambda: graph.processes)
        calm: list[tuple[int, float, dict[str, ProcessStats]]] = []
        started = time.monotonic()
        try:
            rig.begin()
            started = time.monotonic()
            for round_number, name in schedule(list(settings.faults or FAULTS), rig.random):
                elapsed = time.monotonic() - started
                on_progress(Progress(elapsed, name, rig.watcher.actions, sum(rig.watcher.counts.values())))
                if elapsed >= settings.seconds:
                    break
                calm.append((round_number, time.monotonic(), now(graph.processes)))
                strike(rig, name)
                report.done[name] += 1
                rig.pause(rig.random.uniform(0.1, 1.0))
            calm.append((round_number, time.monotonic(), now(graph.processes)))
        except NodeProcessError as error:
            rig.fail("alive", str(error))
        report.seconds = time.monotonic() - started
        series = samples.series()
        for process in rig.nodes.all:
            unexpected = tracebacks(process.log())
            if unexpected:
                rig.fail("log", f"{process.name} logged {unexpected} exceptions:\n{process.log_tail()}")
        report.log_lines_per_minute = lines(rig.nodes.vla.log()) / max(report.seconds, 1.0) * 60
        if rig.nodes.vla.exit_code is None:
            report.shutdown_seconds = rig.end()
        judge_processes(report, rig, calm, series)
        judge(report, rig)
    return report


def strike(rig: Rig, name: str) -> None:
    """Let one thing go wrong and see the nodes recover."""
    rig.watcher.during = name
    try:
        FAULTS[name](rig)
        rig.recover()
    except SoakError as error:
        rig.fail("effect", f"{name}: {error}")
        try:
            rig.repair()
            rig.recover()
        except SoakError as still:
            rig.fail("recovery", f"after {name}: {still}")


def now(processes: Sequence[NodeProcess]) -> dict[str, ProcessStats]:
    """Return the state of each process, under its name and number."""
    return {f"{process.name} {process.pid}": process_stats(process.pid) for process in processes}


def tracebacks(log: str) -> int:
    """Return how many exceptions that nobody expected a node has logged."""
    return log.count("Traceback (most recent call last)")


def lines(log: str) -> int:
    """Return how many lines a node has logged, without what the soak asked of it."""
    return sum(not line.startswith(MARK) for line in log.splitlines())


def judge_processes(
    report: SoakReport,
    rig: Rig,
    calm: Sequence[tuple[int, float, dict[str, ProcessStats]]],
    series: dict[tuple[str, int], list[tuple[float, ProcessStats]]],
) -> None:
    """Find out what grew since every fault had been there once, or, in a short soak, since its first third."""
    began = min((at for _, at, _ in calm), default=0.0)
    second_round = next((at for number, at, _ in calm if number == 1), math.inf)
    short = second_round > began + report.seconds / 2
    warm = began + report.seconds / 3 if short else second_round
    allowance = SHORT_MEMORY if short else MEMORY
    for (name, pid), samples in series.items():
        taken = [(at, stats) for at, stats in samples if at >= warm]
        states = [state[f"{name} {pid}"] for _, at, state in calm if at >= warm and f"{name} {pid}" in state]
        if len(taken) < 3 or len(states) < 2:
            continue  # a history node that was killed soon
        times, last = [at for at, _ in taken], taken[-1][1]
        memory = growth(times, [stats.anonymous for _, stats in taken], allowance)
        resident = growth(times, [stats.resident for _, stats in taken], allowance)
        threads = states[0].threads, states[-1].threads
        files = states[0].files, states[-1].files
        cpu = (last.cpu - taken[0][1].cpu) / max(times[-1] - times[0], 1e-9)
        report.processes.append(
            ProcessReport(name, memory.seconds, memory, resident, last.anonymous, threads, files, cpu)
        )
        if not memory.flat:
            gained, allowed = memory.gained / MEGABYTE, memory.allowed / MEGABYTE
            text = f"{name} grew by {gained:.1f} MB in {memory.seconds:.0f} s, {allowed:.1f} MB are allowed"
            rig.fail("memory", text)
        if threads[1] > threads[0]:
            rig.fail("threads", f"{name} has {threads[1]} threads, {threads[0]} before")
        if files[1] > files[0] + MORE_FILES:
            rig.fail("files", f"{name} has {files[1]} open files, {files[0]} before")


def judge(report: SoakReport, rig: Rig) -> None:
    """Take over what the watcher found, and judge what only the end shows."""
    if report.shutdown_seconds > 2.0 + rig.settings.slack:
        rig.fail("shutdown", f"the vla_node took {report.shutdown_seconds:.1f} s to end")
    if report.seconds > 30 and report.log_lines_per_minute > LINES_PER_MINUTE:
        rig.fail("log", f"{report.log_lines_per_minute:.0f} lines a minute; logs must be throttled")
    watcher = rig.watcher
    if watcher.lost > max(2, watcher.actions // 1000):
        rig.fail("order", f"{watcher.lost} of {watcher.actions} actions were lost on the way")
    report.actions, report.stops, report.lost = watcher.actions, watcher.stops, watcher.lost
    report.images = watcher.images
    report.latency_p50_ms, report.latency_p99_ms = watcher.latency_ms(50), watcher.latency_ms(99)
    report.violations, report.counts = list(watcher.violations), Counter(watcher.counts)
