"""The servers that the client is tried with: of both eras, on every transport."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from isthmus.client.transports import StdioTransport
from tests.conformance.processes import EVERYTHING, ROOT, everything, listening
from tests.interop.peers import LEGACY_BIN

SDK1 = str(ROOT / "tests" / "interop" / "servers" / "sdk1.py")
SSE = str(ROOT / "tests" / "interop" / "servers" / "everything_sse.py")


@dataclass(frozen=True)
class Back:
    """A server, and what is called otherwise than elsewhere there; `is_modern`: what `mode="auto"` finds."""

    name: str
    is_modern: bool
    note: str = "test://static-text"
    watched: str = "test://watched-resource"
    touch: str = "touch_resource"
    prompt: tuple[str, dict[str, str]] = ("test_prompt_with_arguments", {"arg1": "Ada", "arg2": "x"})


EVERYTHING_STDIO = Back("everything-stdio", True)
EVERYTHING_HTTP = Back("everything-http", True)
EVERYTHING_SSE = Back("everything-sse", False)
EVERYTHING_MEMORY = Back("everything-memory", True)
_SDK1: dict[str, Any] = {
    "note": "test://note",
    "watched": "test://note",
    "touch": "touch",
    "prompt": ("greet", {"name": "Ada"}),
}
SDK1_STDIO = Back("sdk1-stdio", False, **_SDK1)
SDK1_HTTP = Back("sdk1-http", False, **_SDK1)
BACKS = (EVERYTHING_STDIO, EVERYTHING_HTTP, EVERYTHING_SSE, EVERYTHING_MEMORY, SDK1_STDIO, SDK1_HTTP)
MODES = ("auto", "legacy", "modern")


@contextmanager
def opened(back: Back) -> Iterator[Any]:
    """What a client is given to reach a server, while that lives."""
    python = str(LEGACY_BIN / "python")
    if back is EVERYTHING_STDIO:
        yield [*EVERYTHING, "--page", "7"]
    elif back is SDK1_STDIO:
        yield StdioTransport(python, [SDK1])
    elif back is EVERYTHING_MEMORY:
        sys.path.insert(0, str(ROOT / "examples"))
        from everything_server.app import build

        yield build(7)
    elif back is EVERYTHING_HTTP:
        with listening(lambda port: [*everything(port), "--page", "7"]) as url:
            yield url
    elif back is SDK1_HTTP:
        with listening(lambda port: [python, SDK1, "--http", str(port)]) as url:
            yield url
    else:
        with listening(lambda port: [sys.executable, SSE, str(port)]) as url:
            yield url.removesuffix("/mcp") + "/sse"
