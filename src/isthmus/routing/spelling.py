"""How a URI may be read: what is one text to a proxy may be another one to the server that it goes to.

RFC 3986 section 6.2.2 says which URIs are the same without knowing anything of their scheme: with scheme and host in
either case (6.2.2.1), with octets that stand for unreserved characters percent-encoded or not (6.2.2.2), and with dot
segments or with what they lead to (6.2.2.3). Servers read more into them. Those that take a URI's parts as arguments
decode every octet. Those that make a path of them go up from the host too: in `docs://public/../hidden` that is the
name of a folder to them, and neither an empty segment nor a query is anything special. And parsers as browsers have
them take `\\` for `/`, and drop tabs, line ends, what white space is around, and empty users and ports.

So there is no one normal form, and what is left out must be left out in every reading. A URI that has nothing of
these reads as it is spelled. Case is not part of a reading: who compares two says what becomes of it in their heads.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote

_AROUND: Final = "".join(map(chr, range(33)))
_ODD: Final = str.maketrans("\\", "/", "\t\n\r")
_PLAIN: Final = re.compile(r"[!-$&-\[\]-~]*")
_HEAD: Final = re.compile(r"[^:/?#]+:(?://[^/?#]*)?")
_QUERY: Final = re.compile(r"[?#]")
_PARTS: Final = re.compile(r"([^:/]+:)(//[^/]*|)(/.*|)(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")
_OPENED: Final = re.compile(r"([^:/?#]+:)(/{0,3}+)(/*)(.*)", re.DOTALL)
_PORTS: Final = {"http:": "80", "ws:": "80", "https:": "443", "wss:": "443", "ftp:": "21"}
"""Schemes that browsers divide whatever slashes there are, and their ports (WHATWG URL, *special schemes*)."""
_UNUSUAL: Final = re.compile(
    r"(?i:https?|wss?|ftp):|(?i:file):(?!///(?!/))|[^:/?#]+:(?:/{4}|/{0,3}+.*//|//[^/]*[@:])|.*[^:/]/\Z"
)
"""What is opened otherwise than it is spelled, though it has neither dots nor escapes."""
_END_OF_HOST: Final = re.compile(r"[/?#]")
_UP: Final = re.compile(r"(?:^|/)\.\.(?:[/?#]|\Z)")
_EMPTY: Final = re.compile(r"(?<!:)//+")


def head_of(uri: str) -> int:
    """How many characters a URI's scheme and host have, which mean the same in either case; 0 if it has no scheme."""
    found = _HEAD.match(uri)
    return found.end() if found is not None else 0


def readings(uri: str) -> tuple[str, str, str, str, str]:
    """A URI, or template, as it is spelled; in RFC 3986's normal form; decoded; with its host as a folder; opened.

    Two spellings of one URI are the same in at least one reading, but for the case of their heads. Compare those at
    the same place only. As it is opened, by what makes a path of it or a browser's URL, one URI may be like others that
    are not the same to most: that place is for what is left out alone.

    Args:
        uri: it, legal or not.
    """
    if "/." not in uri and _PLAIN.fullmatch(uri) and not _UNUSUAL.match(uri):
        return uri, uri, uri, uri, uri
    text = _cleaned(uri)
    decoded = _read(text, _decoded)
    return uri, _read(text, _normal), decoded, _read(text, _decoded, is_folder=True), _opened(_decoded(text))


def is_twisted(uri: str) -> bool:
    """Whether it is unclear where the `..` of a URI lead: there are empty segments too, or they are in its query."""
    text = _decoded(_cleaned(uri))
    found = _OPENED.match(text)
    path = found[3] + found[4] if found is not None else text
    query = _QUERY.search(path)
    return _UP.search(path) is not None and (
        path.startswith("/") or "//" in path or (query is not None and _UP.search(path, query.end()) is not None)
    )


def pieces(pattern: str, marks: re.Pattern[str], at: int) -> list[str]:
    """A pattern's literal texts, read as URIs are at a place of `readings`, and its marks in between.

    Dot segments in it stay: beside a mark nobody knows where they lead.

    Args:
        pattern: it.
        marks: what its marks look like, with one group around it.
        at: the place.
    """
    if at == 0:
        return marks.split(pattern)
    split = marks.split(_cleaned(pattern))
    split[::2] = map(_normal if at == 1 else _decoded, split[::2])
    if at == len(readings("")) - 1:
        found = _OPENED.match(split[0])
        head, split[0] = (found[1] + found[2], found[4]) if found is not None else ("", split[0])
        split[::2] = (_EMPTY.sub("/", piece) for piece in split[::2])
        split[0] = head + split[0]
    return split


def _cleaned(uri: str) -> str:
    return uri.translate(_ODD).strip(_AROUND)


def _read(uri: str, decode: Callable[[str], str], *, is_folder: bool = False) -> str:
    """A URI with its octets decoded and then its dot segments followed."""
    query = _QUERY.search(uri)
    at = query.start() if query is not None else len(uri)
    before, rest = decode(uri[:at]), decode(uri[at:])
    found = _PARTS.match(before)
    if found is None:
        return before + rest
    scheme, host, path, opaque = found.groups()
    if is_folder and len(host) > len("//"):
        return f"{scheme}/{_followed(host[1:] + path)}{rest}"
    return f"{scheme}{host}{_followed(path)}{opaque}{rest}"


def _opened(uri: str) -> str:
    """A decoded URI as a file system or a browser takes it: what is after the scheme and its slashes is one path."""
    found = _OPENED.match(uri)
    if found is None:
        return uri
    scheme, slashes, _, rest = found.groups()
    kind = scheme.lower()
    if kind == "file:":
        host, _, path = rest.partition("/")
        slashes, rest = ("//", rest) if slashes == "//" and host.lower() != "localhost" else ("///", rest)
        rest = path if host.lower() == "localhost" and found[2] == "//" else rest
    elif kind in _PORTS:
        slashes = "//"
    elif not slashes:
        return uri
    if slashes == "//":
        end = _END_OF_HOST.search(rest)
        host, path = (rest[: end.start()], rest[end.start() :]) if end is not None else (rest, "")
        user, _, named = host.rpartition("@")
        host = named if not user.strip(":") else host
        rest = host.removesuffix(":").removesuffix(f":{_PORTS[kind]}" if kind in _PORTS else ":") + path
    return scheme + slashes + "/".join(_walked(filter(None, rest.split("/"))))


def _followed(path: str) -> str:
    """An absolute path without dot segments (RFC 3986 section 5.2.4)."""
    if "/." not in path:
        return path
    segments = path[1:].split("/")
    end = [""] if segments[-1] in (".", "..") else []
    return "/" + "/".join(_walked(segments) + end)


def _walked(segments: Iterable[str]) -> list[str]:
    """Where segments lead: without dots, and without what two dots take back."""
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return kept


def _normal(text: str) -> str:
    """Octets of unreserved characters decoded, the others' hexadecimal digits in upper case."""
    return _ESCAPE.sub(lambda found: _unreserved(found[0]), text) if "%" in text else text


def _unreserved(escape: str) -> str:
    character = chr(int(escape[1:], 16))
    return character if _UNRESERVED.match(character) else escape.upper()


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape").replace("\\", "/")
