"""Names and URIs of many servers in one space: each is joined with its server's prefix, and split off it again.

    get_weather            with prefix `w`   w_get_weather
    data://forecast/{day}  with prefix `w`   data://w/forecast/{day}

**Reversible.** Of two prefixes none is another and none begins with another and `_` (`clash` says so), hence at most
one prefix and `_` can begin a name: were it two, the longer one would begin with the shorter one and `_`. In a URI the
prefix is all of what stands before the next `/`. There a client may write it in lower case, as it may a host
(RFC 3986 §6.2.2.1), and libraries do so for `file:`; so prefixes must differ in more than case.

**Stable.** A joined name depends on the prefix, the name and the longest length alone, not on what else is there.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Final

from isthmus.limits import NAME_LONGEST

_HEX: Final = 8
_PROPOSED: Final = 40
_SHORTENED: Final = re.compile(r"_[0-9a-f]{8}\Z")
_SCHEME: Final = re.compile(r"([^:/?#{}\s]+)://")
_FETCHED: Final = frozenset({"http", "https"})
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?\Z")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def join_name(prefix: str | None, name: str, longest: int = NAME_LONGEST) -> str:
    """A tool's or prompt's name with its server's prefix: `{prefix}_{name}`.

    One of more than `longest` characters is cut to exactly that many, the last nine of them `_` and a hash of the
    whole. Without a prefix (None or empty) the name is as it was, however long.
    """
    if not prefix:
        return name
    joined = f"{prefix}_{name}"
    if len(joined) <= longest:
        return joined
    digest = hashlib.sha256(joined.encode(errors="surrogatepass")).hexdigest()
    return f"{joined[: longest - _HEX - 1]}_{digest[:_HEX]}"


def is_shortened(name: str, longest: int = NAME_LONGEST) -> bool:
    """Whether a name may be one that `join_name` cut, so that only a catalog knows the whole."""
    return len(name) == longest and _SHORTENED.search(name) is not None


def join_uri(prefix: str | None, uri: str) -> str:
    """A resource's URI, or a template of some, with its server's prefix: `scheme://rest` as `scheme://{prefix}/rest`.

    As they were: all without a prefix, `http:` and `https:` (a client may fetch them itself), those without `//`, and
    templates whose scheme is not literal.
    """
    at = _rest_of(uri) if prefix else 0
    return f"{uri[:at]}{prefix}/{uri[at:]}" if at else uri


join_template: Final = join_uri


def _rest_of(uri: str) -> int:
    """Where the text after `scheme://` begins; 0 for a URI that takes no prefix."""
    found = _SCHEME.match(uri)
    return found.end() if found is not None and found[1].lower() not in _FETCHED else 0


class Namespace:
    """The prefixes that stand side by side.

    Args:
        prefixes: each accepted by `fault_of`, all together by `clash`; empty ones are left out.
    """

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._prefixes = {prefix for prefix in prefixes if prefix}
        self._authorities = {prefix.lower(): prefix for prefix in self._prefixes}
        self._longest = max(map(len, self._prefixes), default=0)

    def split_name(self, name: str) -> tuple[str, str] | None:
        """The prefix and the server's own name; None where no prefix of ours begins it.

        Of a shortened name (`is_shortened`) the prefix is right and the rest is not the own name.
        """
        at = name.find("_")
        while 0 < at <= self._longest:
            if name[:at] in self._prefixes:
                return name[:at], name[at + 1 :]
            at = name.find("_", at + 1)
        return None

    def split_uri(self, uri: str) -> tuple[str, str] | None:
        """The prefix and the server's own URI or template; None where no prefix of ours stands in it."""
        start = _rest_of(uri)
        end = uri.find("/", start, start + self._longest + 1) if start else -1
        if end < 0:
            return None
        prefix = self._authorities.get(uri[start:end].lower())
        return (prefix, uri[:start] + uri[end + 1 :]) if prefix is not None else None

    split_template = split_uri


def fault_of(prefix: str, longest: int = NAME_LONGEST) -> str | None:
    """Why a prefix can't be one, as a sentence with a proposal; None for a good one."""
    if not _PREFIX.match(prefix):
        why = "has characters other than letters, digits, '_', '.' and '-', or does not begin with a letter or digit"
    elif _NUMBER.match(prefix):
        why = "ends in a number as an IP address does, which libraries would take it for in a URI"
    elif len(prefix) > longest - _HEX - 2:
        why = f"leaves no room for a name in {longest} characters"
    else:
        return None
    return f"The prefix {prefix!r} {why}. {prefix_of(prefix, longest)!r} would do."


def prefix_of(name: str, longest: int = NAME_LONGEST) -> str:
    """A good prefix made of a server's name; the name itself where it is one."""
    prefix = _UNFIT.sub("-", name).lstrip("_.-")[: longest - _HEX - 2].rstrip("-") or "server"
    return f"server-{prefix}".replace(".", "-")[: longest - _HEX - 2] if _NUMBER.match(prefix) else prefix


def clash(prefixes: Sequence[str]) -> tuple[str, str, str] | None:
    """Two prefixes that can't stand together, the earlier one first, and what the second could be instead."""
    for at, second in enumerate(prefixes):
        for first in prefixes[:at]:
            if _is_clash(first, second):
                return first, second, _instead(second, prefixes)
    return None


def _is_clash(one: str, other: str) -> bool:
    return one.lower() == other.lower() or one.startswith(f"{other}_") or other.startswith(f"{one}_")


def _instead(second: str, prefixes: Sequence[str]) -> str:
    """The prefix without `_`, so that it begins with no other and `_`, and with the first number that makes it free."""
    plain = prefix_of(second.replace("_", "-")[:_PROPOSED])
    proposals = chain([plain], (f"{plain}-{number}" for number in count(2)))
    return next(each for each in proposals if not any(_is_clash(each, other) for other in prefixes))
