"""Which header fields of a client's request a proxy may send on, and as what.

"A proxy or gateway that is not the origin server … MUST remove" what is of one connection (RFC 9110 section 7.6.1);
besides that, what is said of one message or of who speaks is the proxy's own on each leg.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

_OWN: Final = re.compile(
    r"connection|content-.*|host|accept|accept-encoding|expect|keep-alive|last-event-id|mcp-.*|proxy-.*|te|trailer"
    r"|transfer-encoding|upgrade|user-agent|via"
)
"""Headers that belong to one connection or message, or say who speaks: forwarded they would break both legs."""
_UNASKED: Final = re.compile(r"accept-.*|authorization|forwarded|origin|referer|sec-.*|x-forwarded-.*|x-real-ip")
"""What goes on only by its name: a back takes it for the proxy's word on where a request came from, or who may what."""
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def may_be_forwarded(name: str) -> bool:
    """Whether a header may be named as one to be forwarded.

    Args:
        name: the header's, in any case.
    """
    return _OWN.fullmatch(name.lower()) is None


def forwarded_lines(headers: Mapping[str, str], names: Collection[str] | None, taken: Collection[str]) -> bytes:
    """The header lines that go on, each with its line break.

    Args:
        headers: the client's, by lower-case name.
        names: the names to forward, in lower case; None for all but those that are only forwarded by name.
        taken: names, in lower case, of headers that the proxy sends by itself; these win.
    """
    if names is None:
        hops = {each.strip().lower() for each in headers.get("connection", "").split(",")}
        names = [each for each in headers if each not in hops and not _UNASKED.fullmatch(each)]
    lines = b""
    for name in names:
        value = headers.get(name)
        if value is not None and name not in taken and may_be_forwarded(name) and _VALUE.fullmatch(value):
            lines += name.encode("ascii") + b": " + value.encode("latin-1") + b"\r\n"
    return lines
