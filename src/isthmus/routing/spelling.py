"""How a URI may be read: what is one text to a proxy may be another one to the server that it goes to.

RFC 3986 section 6.2.2 says which URIs are the same without knowing anything of their scheme: with scheme and host in
either case (6.2.2.1), with octets that stand for unreserved characters percent-encoded or not (6.2.2.2), and with dot
segments or with what they lead to (6.2.2.3). Servers read more into them. Those that take a URI's parts as arguments
decode every octet. Those that make a path of them go up from the host too: in `docs://public/../hidden` that is the
name of a folder to them. And parsers as browsers have them take `\\` for `/`, and drop tabs, line ends and what white
space is around.

So there is no one normal form, and what is left out must be left out in every reading. A URI that has nothing of
these reads as it is spelled. Case is not part of a reading: who compares two says what becomes of it in their heads.
"""

import re
from collections.abc import Callable
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


def head_of(uri: str) -> int:
    """How many characters a URI's scheme and host have, which mean the same in either case; 0 if it has no scheme."""
    found = _HEAD.match(uri)
    return found.end() if found is not None else 0


def readings(uri: str) -> tuple[str, str, str, str]:
    """A URI, or template, as it is spelled; in RFC 3986's normal form; fully decoded; and with its host as a folder.

    Two spellings of one URI are the same in at least one reading, but for the case of their heads. Compare those at
    the same place only.

    Args:
        uri: it, legal or not.
    """
    if "/." not in uri and _PLAIN.fullmatch(uri):
        return uri, uri, uri, uri
    text = _cleaned(uri)
    return uri, _read(text, _normal), _read(text, _decoded), _read(text, _decoded, is_folder=True)


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


def _followed(path: str) -> str:
    """An absolute path without dot segments (RFC 3986 section 5.2.4)."""
    if "/." not in path:
        return path
    segments = path[1:].split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _normal(text: str) -> str:
    """Octets of unreserved characters decoded, the others' hexadecimal digits in upper case."""
    return _ESCAPE.sub(lambda found: _unreserved(found[0]), text) if "%" in text else text


def _unreserved(escape: str) -> str:
    character = chr(int(escape[1:], 16))
    return character if _UNRESERVED.match(character) else escape.upper()


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape").replace("\\", "/")
