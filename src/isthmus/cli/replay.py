"""`isthmus replay`: serves a recording, on stdio or HTTP, as if it were the server."""

import sys
from typing import TYPE_CHECKING

from isthmus import run
from isthmus.limits import Limits
from isthmus.recording import Recording
from isthmus.replay import Replay

if TYPE_CHECKING:
    import socket


async def replay_stdio(recording: Recording, stdout: int, bounds: Limits) -> int:
    """Serve one client on stdin and `stdout` until it leaves."""
    from isthmus.transports.stdio_front import StdioFront

    replay = Replay(recording, bounds)
    front = StdioFront(replay, replay.tasks.start)
    run.end_on_signals(front.stop)
    try:
        await front.serve(sys.stdin.fileno(), stdout)
    finally:
        await replay.close()
    return 0


async def replay_http(recording: Recording, bound: "socket.socket", place: run.HttpPlace, bounds: Limits) -> int:
    """Serve clients on a listening socket until a signal comes."""
    from isthmus.transports.http_front.serve import Stopping, serve

    replay = Replay(recording, bounds)
    stopping = Stopping()
    run.end_on_signals(stopping.stop)
    try:
        handler = run.make_handler(replay, place)
        await serve(bound, handler, bounds, replay.tasks.start, replay.end_session, stopping)
    finally:
        await replay.close()
    return 0
