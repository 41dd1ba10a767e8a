"""A lifecycle node whose transitions say what went wrong and always end in a clean state.

rclpy swallows an exception out of a transition: nothing is logged and entities stay behind. Here a subclass
implements four plain hooks that may raise; this class logs, undoes and reports.
"""

from __future__ import annotations

import traceback
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn


class ManagedNode(LifecycleNode):
    """Base of the lifecycle nodes. Hooks: ``configure``, ``activate``, ``deactivate``, ``release``.

    A ValueError from a hook is a message for the user and is logged as such, anything else with its traceback.
    ``release`` must tolerate a node that is only half configured.
    """

    lifecycle_state = "unconfigured"
    last_error = ""
    """Why the last transition failed; empty after one that did not."""

    def __init__(self, name: str, **node_arguments: Any) -> None:
        super().__init__(name, **node_arguments)
        self._answer_change_state = self._service_change_state.callback
        self._service_change_state.callback = self._change_state

    def _change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        # Before Kilted rclpy lets a request for an invalid transition end the whole process.
        try:
            return self._answer_change_state(request, response)
        except rclpy_implementation.RCLError as error:
            self.get_logger().error(f"refused transition {request.transition.id}: {error}")
            response.success = False
            return response

    def configure(self) -> None:
        """Acquire everything. After an exception ``release`` follows and the node stays unconfigured."""

    def activate(self) -> None:
        """Start to act. After an exception ``deactivate`` follows and the node stays inactive."""

    def deactivate(self) -> None:
        """Stop to act, in bounded time."""

    def release(self) -> None:
        """Give everything back."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run the hook; see the class."""
        if self._succeeds("configure"):
            return self._arrive("inactive")
        self._succeeds("release")
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run the hook; see the class."""
        super().on_activate(state)
        if self._succeeds("activate"):
            return self._arrive("active")
        self._succeeds("deactivate")
        super().on_deactivate(state)
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run the hook; see the class. A failure releases everything."""
        succeeded = self._succeeds("deactivate")
        super().on_deactivate(state)
        return self._arrive("inactive") if succeeded else TransitionCallbackReturn.ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Run the hook; see the class."""
        return self._arrive("unconfigured") if self._succeeds("release") else TransitionCallbackReturn.ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and release, from any state."""
        self._stop_and_release(state)
        return self._arrive("finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and release; the node is unconfigured afterwards and may be configured again."""
        self._stop_and_release(state)
        return self._arrive("unconfigured")

    def _stop_and_release(self, state: LifecycleState) -> None:
        if self.lifecycle_state == "active":
            self._succeeds("deactivate")
            super().on_deactivate(state)
        self._succeeds("release")

    def _arrive(self, state: str) -> TransitionCallbackReturn:
        self.last_error = ""
        self.lifecycle_state = state
        return TransitionCallbackReturn.SUCCESS

    def _succeeds(self, hook: str) -> bool:
        run: Any = getattr(self, hook)
        try:
            run()
        except ValueError as error:
            self.last_error = f"cannot {hook}: {error}"
            self.get_logger().error(self.last_error)
        except Exception as error:
            self.last_error = f"cannot {hook}: {error!r}"
            self.get_logger().error(f"cannot {hook}, unexpectedly:\n{traceback.format_exc()}")
        else:
            return True
        return False
