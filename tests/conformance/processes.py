"""Starting and ending the programs that the conformance tests put in a row."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVERYTHING = [sys.executable, str(ROOT / "examples" / "everything.py")]
ISTHMUS = str(Path(sys.executable).parent / "isthmus")
STARTS_WITHIN = 20
ENDS_WITHIN = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} before it listened on {port}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"{process.args!r} does not listen on {port}")


@contextmanager
def listening(command: Callable[[int], Sequence[str]]) -> Iterator[str]:
    """Run a command made for a free port, and give its URL while it lives."""
    port = free_port()
    process = subprocess.Popen(command(port))
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} before its time")
    finally:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def everything(port: int) -> list[str]:
    return [*EVERYTHING, "--http", str(port)]


def isthmus_to(*target: str) -> Callable[[int], Sequence[str]]:
    """`isthmus run` on HTTP, in front of a URL or of a command."""
    if len(target) == 1:
        return lambda port: [ISTHMUS, "run", target[0], "--http", str(port)]
    return lambda port: [ISTHMUS, "run", "--http", str(port), "--", *target]
