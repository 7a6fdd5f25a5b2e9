"""The columns of the matrix: which transports and which eras meet, and the pairs that can't."""

from dataclasses import dataclass
from typing import Final, Literal

from .peer import Era
from .reasons import Reason

Transport = Literal["stdio", "http", "sse", "memory"]
Sdk = Literal["1.30", "2.x"]
TRANSPORTS: Final[tuple[Transport, ...]] = ("stdio", "http", "sse", "memory")
ERAS: Final[tuple[Era, ...]] = ("legacy", "modern")


@dataclass(frozen=True)
class Column:
    """A client of one era on one transport, isthmus, and a server of one era, or of both, on another.

    `front` is None where there is no proxy between; `sdk` is the client's.
    """

    front: Transport | None
    back: Transport
    client: Era
    server: Era | Literal["dual"]
    sdk: Sdk = "2.x"

    @property
    def eras(self) -> tuple[Era, Era]:
        """The client's, and the one in which the server is used."""
        return self.client, self.client if self.server == "dual" else self.server

    @property
    def impossible(self) -> Reason | None:
        """Why there is no such column."""
        is_odd = ("sse", "modern") in ((self.front, self.client), (self.back, self.server))
        return Reason.SSE_IS_LEGACY if is_odd else None

    def __str__(self) -> str:
        sdk = "" if self.sdk == "2.x" else "sdk1-"
        return f"{sdk}{self.client}-{self.front or 'direct'}-{self.back}-{self.server}"


ALL: Final = [
    Column(front, back, client, server)
    for client in ERAS
    for server in ERAS
    for front in TRANSPORTS
    for back in TRANSPORTS
]
COLUMNS: Final = [column for column in ALL if column.impossible is None]
"""Those that the page shows: clients of SDK 2.x in one era each, servers that speak one era only."""

CROSSWISE: Final[tuple[tuple[Transport, Transport], ...]] = (("stdio", "http"), ("http", "stdio"))

OTHERS: Final = [
    # with no proxy between: that the server programs are alike
    *(Column(None, back, "legacy", "legacy") for back in TRANSPORTS[:3]),
    *(Column(None, back, "modern", "modern") for back in TRANSPORTS[:2]),
    # servers of both eras are used in the client's
    *(Column(front, back, era, "dual") for era in ERAS for front, back in CROSSWISE),
    # clients of the SDK that knows only the legacy era
    *(Column(front, back, "legacy", era, "1.30") for era in ERAS for front, back in CROSSWISE),
]
