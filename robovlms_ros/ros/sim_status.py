"""What the sim_node says about its episode, on `~/episode` at every step and in `/diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from robovlms_ros.ros.diagnostics import OK, WARN, Latencies, status
from robovlms_ros.sim.command_input import REFUSALS

WAITING, RUNNING, SUCCEEDED, FAILED, ABORTED = "waiting for a policy", "running", "succeeded", "failed", "aborted"
OVER = (SUCCEEDED, FAILED, ABORTED)


@dataclass
class EpisodeState:
    """One episode as it is told: ``state`` is one of the words above, ``why`` says more where it was aborted."""

    number: int
    seed: int
    family: str
    target: str
    base: str
    instruction: str
    max_steps: int
    state: str = WAITING
    why: str = ""
    steps: int = 0
    answers: Latencies = field(default_factory=Latencies)
    """Seconds from an image to the command that answers it, by the wall's clock; in lock step."""
    newest_answer: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more happens in it."""
        return self.state in OVER

    def values(self) -> dict[str, object]:
        """All of it, by name."""
        return {
            "episode": self.number,
            "seed": self.seed,
            "family": self.family,
            "target": self.target,
            "base": self.base or "none",
            "instruction": self.instruction,
            "state": self.state,
            "why": self.why,
            "steps": self.steps,
            "most steps": self.max_steps,
            "newest answer (ms)": self.newest_answer * 1e3,
            "median answer (ms)": self.answers.percentile(50) * 1e3,
        }


def episode_message(node: Node, episode: EpisodeState) -> DiagnosticStatus:
    """The status on `~/episode`."""
    level = WARN if episode.state in (FAILED, ABORTED) else OK
    said = f"{episode.state}: {episode.why}" if episode.why else episode.state
    name = node.get_fully_qualified_name()
    return status(level, f"{node.get_name()}: episode", f"{said}: {episode.instruction}", name, episode.values())


def simulator_message(
    node: Node, mode: str, problem: str, received: int, publishers: int, refused: Mapping[str, int]
) -> DiagnosticStatus:
    """The status of the commands in `/diagnostics`. ``problem`` is why the simulation does not go on, if so."""
    values: dict[str, object] = {"mode": mode, "commands received": received, "publishers of motions": publishers}
    values |= {f"count of {reason}": refused.get(reason, 0) for reason in REFUSALS}
    if not problem and publishers > 1:
        problem = f"{publishers} publishers of motions: only one may drive an arm"
    level, message = (WARN, problem) if problem else (OK, "simulating")
    return status(level, f"{node.get_name()}: commands", message, node.get_fully_qualified_name(), values)
