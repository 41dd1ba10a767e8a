"""Runs one node or several as a process: signals, a bounded way out, and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, runtime_checkable

import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

# From the signal to the end of the process: 2 s at most, most of which a busy callback may use.
CALLBACK_TIMEOUT = 1.0


@runtime_checkable
class Stoppable(Protocol):
    """A node that moves something."""

    def halt(self) -> None:
        """Stop the motion at once, from any thread."""

    def close(self) -> bool:
        """Release everything; return False where a thread is still stuck in its work."""


def run(make_nodes: Callable[[Context], Node | Sequence[Node]], arguments: Sequence[str] | None = None) -> int:
    """Spin one node, or several in one executor, until SIGINT or SIGTERM.

    ``arguments``: the command line, default ``sys.argv``. Executor and nodes live in a thread, because only the
    main thread gets signals, and it must be free to act on one in the middle of a model load. At the end whatever
    moves is halted first, then each node is closed in its turn.

    Returns the exit code, 0 after a signal; raises what a node has let through, which ends all of them.
    """
    context = Context()
    rclpy.init(args=list(arguments or sys.argv), context=context, signal_handler_options=SignalHandlerOptions.NO)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    made = make_nodes(context)
    nodes = [made] if isinstance(made, Node) else list(made)
    stoppable = [node for node in nodes if isinstance(node, Stoppable)]
    executor = SingleThreadedExecutor(context=context)
    for node in nodes:
        executor.add_node(node)
    crashes: list[BaseException] = []
    over = Future()  # type: ignore[var-annotated]  # generic in Kilted, not in Jazzy

    def spin() -> None:
        try:
            executor.spin_until_future_complete(over)
        except ExternalShutdownException:
            pass
        except BaseException as error:
            crashes.append(error)
        ended.set()

    thread = threading.Thread(target=spin, name="executor", daemon=True)
    thread.start()
    ended.wait()
    for moving in stoppable:
        moving.halt()
    over.set_result(None)
    thread.join(CALLBACK_TIMEOUT)
    if not thread.is_alive():  # shutdown destroys what a spinning thread still uses, however long it may wait
        executor.shutdown()
    # Each is closed, also after one that is stuck; none while a callback is still running.
    stuck = thread.is_alive() or not all([moving.close() for moving in stoppable])
    code = 1 if crashes else 0
    if crashes:
        nodes[0].get_logger().fatal(f"ended by {crashes[0]!r}")
    if stuck:
        _leave(code)
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()
    if crashes:
        raise crashes[0]
    return code


def _leave(code: int) -> NoReturn:
    """End the process without waiting for a thread that is deep in a library (torch loading or computing)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
