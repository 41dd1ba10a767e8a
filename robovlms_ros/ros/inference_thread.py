"""The thread in which the policy runs, so that callbacks of the executor take microseconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from robovlms_ros.policy.controller import Controller
from robovlms_ros.policy.decision import Action, Hold, Request
from robovlms_ros.policy.failure import failure_of


class InferenceThread:
    """Runs control steps whenever it is woken. ``condition`` guards the controller, for everybody.

    ``now()`` is the ROS time in nanoseconds. ``publish(action)`` is called with ``condition`` held, so nothing can
    stop the node between the last check and the publication. ``dropped(reason, error)`` reports a frame or a
    result that gave no action, ``exhausted(message)`` that too many failed in a row, or that memory is used up.
    Both come from this thread.
    """

    def __init__(
        self,
        controller: Controller,
        now: Callable[[], int],
        publish: Callable[[Action], None],
        dropped: Callable[[str, Exception], None],
        exhausted: Callable[[str], None],
    ) -> None:
        self.condition = threading.Condition()
        self.hold: Hold | None = None
        """Why the last step gave no action; None where it gave one."""
        self._controller = controller
        self._now = now
        self._publish = publish
        self._dropped = dropped
        self._exhausted = exhausted
        self._thread: threading.Thread | None = None
        self._running = False
        self._woken = False
        self._inferring_since: float | None = None

    @property
    def running(self) -> bool:
        """Whether anything may be published: between `start` and `halt`. Read it with ``condition`` held."""
        return self._running

    @property
    def busy_for(self) -> float:
        """Seconds that the current inference has been running; 0 where none runs."""
        since = self._inferring_since
        return 0.0 if since is None else time.monotonic() - since

    def start(self) -> None:
        """Begin to run steps. Raises ValueError while an inference of the last run has not come back."""
        if self._thread is not None and self._thread.is_alive():
            raise ValueError(f"an inference has been running for {self.busy_for:.1f} s; try again when it is done")
        self._running = self._woken = True
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Make a step happen soon. Call with ``condition`` held."""
        self._woken = True
        self.condition.notify()

    def halt(self) -> None:
        """Publish nothing from now on, not even a result that is on its way. Call with ``condition`` held."""
        self._running = False
        self.condition.notify()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end after ``halt``, without ``condition``; return whether it did."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while True:
                with self.condition:
                    request = self._wait_for_request()
                if request is None:
                    return
                self._inferring_since = time.monotonic()
                self._step(request)
                self._inferring_since = None
        except Exception as error:  # ours, not the policy's: without this the thread would end unnoticed
            with self.condition:
                self._running = False
            self._exhausted(f"the inference thread failed: {error!r}")
        finally:
            self._inferring_since = None

    def _wait_for_request(self) -> Request | None:
        """Return what to infer from, or None once halted. The condition is held."""
        while True:
            while self._running and not self._woken:
                self.condition.wait()
            if not self._running:
                return None
            self._woken = False
            planned = self._controller.plan(self._now())
            if isinstance(planned, Request):
                return planned
            self.hold = planned

    def _step(self, request: Request) -> None:
        try:
            chunk = self._controller.infer(request)
        except Exception as error:
            self._fail(request, error)
        else:
            with self.condition:
                if not self._running:
                    return
                result = self._controller.commit(request, chunk, self._now())
                self.hold = None if isinstance(result, Action) else result
                if isinstance(result, Action):
                    self._publish(result)

    def _fail(self, request: Request, error: Exception) -> None:
        failure, exhausted = failure_of(error), False
        with self.condition:
            if failure.input_fault:
                self._controller.counts[failure.reason] += 1
            else:
                exhausted = self._controller.failed(request, failure.reason) or failure.hopeless
            if exhausted:
                self._running = False
        self._dropped(failure.reason, error)
        if failure.hopeless:
            self._exhausted(str(error))
        elif exhausted:
            self._exhausted(f"{self._controller.failures} inferences in a row failed, the last with: {error}")
