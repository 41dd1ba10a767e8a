"""Keeps the account of a replay while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from robovlms_ros.policy.decision import Action, Hold, Request
from robovlms_ros.policy.frames import Frame
from robovlms_ros.policy.policy_loader import RobotProfile
from robovlms_ros.policy.types import ActionChunk
from robovlms_ros.replay.result import (
    Event,
    ImageReference,
    Inference,
    PublishedAction,
    RecordedAction,
    Row,
)


@dataclass(frozen=True)
class BagFrame(Frame):
    """A camera frame that knows where in the bag it is."""

    reference: ImageReference


@dataclass(frozen=True)
class Answer:
    """What an inference gave: a checked chunk, or the exception that it ended with."""

    request: Request
    started_ns: int
    chunk: ActionChunk | None = None
    error: Exception | None = None


class Recorder:
    """Inferences, actions and events in the order in which they happen, by the bag's clock."""

    def __init__(self, profile: RobotProfile) -> None:
        self.inferences: list[Inference] = []
        self.actions: list[PublishedAction] = []
        self.recorded: list[RecordedAction] = []
        self.events: list[Event] = []
        self.holds: Counter[str] = Counter()
        self._profile = profile
        self._waiting: dict[str, list[ImageReference]] = {}
        self._answering: dict[int, int] = {}
        """Stamp of an image -> number of the newest inference from it."""

    # -- images

    def offered(self, camera: str, reference: ImageReference, reason: str | None, now_ns: int) -> None:
        """Take an image that came, and why the controller would not have it."""
        if reason:
            self.dropped(reference, reason, now_ns)
        else:
            self._waiting.setdefault(camera, []).append(reference)

    def dropped(self, reference: ImageReference, reason: str, now_ns: int) -> None:
        """Take an image that no inference will be shown."""
        self.event(now_ns, "dropped image", reason, reference.topic, reference.number)

    def held(self, hold: Hold, now_ns: int, max_age_ns: int) -> None:
        """Take that the controller was asked what to infer from and would not say."""
        self.holds[hold.value] += 1
        if hold is not Hold.STALE:
            return
        for camera, waiting in self._waiting.items():
            old = [reference for reference in waiting if now_ns - reference.stamp_ns > max_age_ns]
            self._overtaken(old[:-1], now_ns)
            for reference in old[-1:]:
                self.dropped(reference, "stale image", now_ns)
            self._waiting[camera] = [reference for reference in waiting if reference not in old]

    def _overtaken(self, references: Sequence[ImageReference], now_ns: int) -> None:
        for reference in references:
            self.event(now_ns, "overtaken image", "", reference.topic, reference.number)

    def _used(self, request: Request, now_ns: int) -> dict[str, ImageReference]:
        """The images of ``request`` by camera; those before them were overtaken."""
        used: dict[str, ImageReference] = {}
        for camera, frame in request.chosen.frames.items():
            assert isinstance(frame, BagFrame)
            used[camera] = frame.reference
            waiting = self._waiting.get(camera, [])
            self._overtaken([each for each in waiting if each.stamp_ns < frame.stamp_ns], now_ns)
            self._waiting[camera] = [each for each in waiting if each.stamp_ns > frame.stamp_ns]
        return used

    # -- inferences and actions

    def answered(self, answer: Answer, outcome: str, now_ns: int) -> None:
        """Take the end of an inference: its ``outcome`` is `ACTING`, or why nothing came of it."""
        number, request, chunk = len(self.inferences), answer.request, answer.chunk
        self._answering[request.chosen.stamp_ns] = number
        predicted: dict[str, tuple[Row, ...]] = {}
        if chunk is not None:
            predicted = {
                "normalized": tuple(tuple(row) for row in chunk.normalized.tolist()),
                "actions": tuple(tuple(row) for row in self._profile.to_si(chunk.actions).tolist()),
            }
        self.inferences.append(
            Inference(
                number=number,
                start_ns=answer.started_ns,
                end_ns=now_ns,
                stamp_ns=request.chosen.stamp_ns,
                images=self._used(request, answer.started_ns),
                instruction=request.instruction,
                episode=request.episode,
                state=None if request.state is None else tuple(request.state.tolist()),
                history_rows=int(request.history.valid.sum()),
                fresh=chunk is None or bool(chunk.timings),
                outcome=outcome,
                problem=" ".join(str(answer.error).split()) if answer.error else "",
                timings=dict(chunk.timings) if chunk else {},
                **predicted,
            )
        )

    def published(self, action: Action, now_ns: int) -> None:
        """Take an action; `answered` was told of the inference that it comes from."""
        self.actions.append(
            PublishedAction(
                time_ns=now_ns,
                stamp_ns=action.stamp_ns,
                episode=action.episode,
                sequence=action.sequence,
                instruction=action.instruction,
                action=tuple(action.action.tolist()),
                normalized=tuple(action.normalized.tolist()),
                saturated=action.saturated,
                step_index=action.step_index,
                chunk_size=action.chunk_size,
                stop=action.stop,
                inference=None if action.stop else self._answering.get(action.stamp_ns),
            )
        )

    def event(self, now_ns: int, kind: str, detail: str = "", topic: str = "", number: int | None = None) -> None:
        """Take something else that happened; see `Event`."""
        self.events.append(Event(time_ns=now_ns, kind=kind, detail=detail, topic=topic, number=number))
