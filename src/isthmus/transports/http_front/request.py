"""What a shell gives to the handler: the request as a value, and where the response goes."""

import asyncio
import re
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

ONCE: Final = ("host", "content-length", "transfer-encoding", "content-type", "mcp-session-id", "origin")
"""Header fields that decide and so may be given once."""
_JSON: Final = ("application/json", "application/*", "*/*")
_STREAM: Final = ("text/event-stream", "text/*", "*/*")
_NEVER: Final = (0.0, 0)
_WEIGHT: Final = re.compile(r";\s*q=([01](?:\.\d{0,3})?)\s*(?:;|$)", re.IGNORECASE)


class Grant(NamedTuple):
    """What an access token has earned."""

    principal: str
    """Who calls: equal for all tokens of one subject of one issuer with one client, and says nothing else."""
    until: float
    """The moment on the loop's clock from which the token has to be verified again."""


class Streams(IntEnum):
    """How welcome a stream of server-sent events is to a client as the answer to a POST."""

    REFUSED = 0
    ACCEPTED = 1
    PREFERRED = 2


class Admission(NamedTuple):
    """A POST that may come in: header lines of every response, whether it may stream, whether its header is modern."""

    lines: bytes
    streams: Streams
    is_modern: bool


class Request:
    """One whole HTTP request. Header names are lower case; `query` is what stands after the question mark.

    `admission` is the handler's own verdict on everything but the body. Where a shell knows that a head is byte for
    byte one that it has seen, it hands the earlier request's verdict on, as long as its grant lasts. `grant` is what
    its access token earned, None where none is asked for. Nobody changes `headers`, but that a token is taken out.
    """

    __slots__ = ("admission", "body", "grant", "headers", "path", "query", "verb")

    def __init__(self, verb: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
        self.admission: Admission | None = None
        self.grant: Grant | None = None
        self.verb = verb
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body

    @property
    def principal(self) -> str | None:
        """Who calls, where that is known."""
        return self.grant.principal if self.grant is not None else None


def accepted(accept: str) -> tuple[bool, Streams]:
    """Whether an Accept header lets JSON through, and what it says of streams.

    Of several ranges the most specific counts, and the higher weight is the preference (RFC 9110 §12.5.1); of equal
    weights the one named first, which is no rule of HTTP, but how those who would rather have a stream say it.
    """
    said: dict[str, tuple[float, int]] = {}
    for at, part in enumerate(accept.split(",")):
        said.setdefault(part.partition(";")[0].strip().lower(), (_weight(part), -at))
    json, streams = _rank(said, _JSON), _rank(said, _STREAM)
    if not streams[0]:
        return json[0] > 0, Streams.REFUSED
    return json[0] > 0, Streams.PREFERRED if streams > json else Streams.ACCEPTED


def _rank(said: dict[str, tuple[float, int]], names: tuple[str, ...]) -> tuple[float, int]:
    """The weight of the most specific range, and where the first of that weight stands that lets the same through."""
    found = [said[name] for name in names if name in said]
    return max((each for each in found if each[0] == found[0][0]), default=_NEVER)


def _weight(part: str) -> float:
    found = _WEIGHT.search(part)
    return float(found[1]) if found else 1.0


def is_json(request: Request) -> bool:
    """Whether the body is said to be JSON."""
    said = request.headers.get("content-type", "")
    return said == "application/json" or said.partition(";")[0].strip().lower() == "application/json"


class Sink(Protocol):
    """Where a response goes. `lines` are ready header lines, each ending in CRLF.

    After the client is gone every method does nothing; `gone` is called once when that happens before the end.
    """

    gone: Callable[[], object] | None
    task: asyncio.Task[None] | None
    """The task that answers the request."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a whole response."""

    def begin(self, status: int, lines: bytes, unread: int = 0) -> None:
        """Send the head of a response that streams.

        `unread`: a client for which more than this waits when more is to be sent is cut off; `Limits.result` if 0.
        """

    def write(self, *pieces: bytes) -> None:
        """Send something more of a streaming response, which may be in pieces."""

    def end(self) -> None:
        """End a streaming response."""

    async def drain(self) -> None:
        """Wait while more than `Limits.unread` waits to be read; cuts the client off after `limits.WRITE_STALLED`."""
