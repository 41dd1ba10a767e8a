"""Runs one node as a process: signals, a bounded way out, and exit codes."""

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

# From the signal to the end of the process: 2 s at most, most of which a busy callback may use.
CALLBACK_TIMEOUT = 1.0


@runtime_checkable
class Stoppable(Protocol):
    """A node that moves something."""

    def halt(self) -> None:
        """Stop the motion at once, from any thread."""

    def close(self) -> bool:
        """Release everything; return False where a thread is still stuck in its work."""


def run(make_node: Callable[[Context], Node], arguments: Sequence[str] | None = None) -> int:
    """Spin the node until SIGINT or SIGTERM; return the exit code: 0 after a signal, 1 after a crash.

    ``arguments``: the command line, default ``sys.argv``. Executor and node live in a thread, because only the
    main thread gets signals, and it must be free to act on one in the middle of a model load.
    """
    context = Context()
    rclpy.init(args=list(arguments or sys.argv), context=context, signal_handler_options=SignalHandlerOptions.NO)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    node = make_node(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    crashes: list[BaseException] = []

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except BaseException as error:
            crashes.append(error)
        ended.set()

    thread = threading.Thread(target=spin, name="executor", daemon=True)
    thread.start()
    ended.wait()
    if isinstance(node, Stoppable):
        node.halt()
    executor.shutdown(timeout_sec=0.0)
    thread.join(CALLBACK_TIMEOUT)
    stuck = thread.is_alive() or (isinstance(node, Stoppable) and not node.close())
    code = 1 if crashes else 0
    if crashes:
        node.get_logger().fatal(f"ended by {crashes[0]!r}")
    if stuck:
        _leave(code)
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
