"""What is secret, and texts without it: for recordings, and for what `isthmus config show` prints.

**Names.** One that ends like one of `_SECRETS` is secret wherever it stands, whatever case and signs it is written
with. Headers, options, variables and parts of a URL are there to let somebody in: of them one is secret too whose last
word is one of `_IN_SHORT`, a header that ends like one of `_IN_HEADERS`, and a part of a URL that is called like one of
`_IN_URLS`. Elsewhere a `key` is mostly something else, as everywhere is what ends like one of `_HARMLESS`; of values
that are given once and for all (`is_given`) those are secret whose last word is one of `_LOGINS`.

**Texts** (`mask_text`) are masked from behind a secret name to their end, parts of a URL to the end of the part: rather
too much than too little. A secret that nothing names is not recognised.
"""

import json
import re
from typing import Final
from urllib.parse import unquote

from isthmus.wire.codec import string

MASK: Final = "***"

_SECRETS: Final = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "accesskeyid", "privatekey",
    "secretkey", "signingkey", "encryptionkey", "credential", "credentials", "authorization", "cookie",
)  # fmt: skip
_LOGINS: Final = frozenset(("auth", "jwt", "bearer", "pat", "pwd"))
_IN_SHORT: Final = _LOGINS | {"key", "sig", "signature", "pass"}
_IN_HEADERS: Final = ("session", "sessionid", "authentication")
_IN_URLS: Final = ("code",)
_HARMLESS: Final = (
    "progresstoken", "pagetoken", "synctoken", "continuationtoken",
    "publickey", "sortkey", "primarykey", "foreignkey", "partitionkey", "cachekey", "idempotencykey",
)  # fmt: skip
_HINT: Final = re.compile(rb"passw|passphrase|secret|token|key|credential|authorization|cookie|\\u00", re.IGNORECASE)
_STRING: Final = rb'"[^"\\]*+(?:\\(?s:.)[^"\\]*+)*+(?:"|\\?\Z)'
"""A string, or the rest of a text that ends within one: were that none, the search would begin again at each sign."""
_MEMBER: Final = re.compile(rb"(" + _STRING + rb")(\s*:\s*)?(" + _STRING + rb"|-?[0-9][0-9.eE+-]*)?")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")

_USER: Final = re.compile(r'://(?:[^/?#\s]+|[^/?#\s:\[]*:(?!\d+\b)[^\s"@]{0,256}+)@')
"""A user and a password, which may hold what should have been escaped, as long as it is not taken for a port."""
_NAMED: Final = re.compile(
    r"(?:^|(?<==))([\w.-]+):(?!//) *|(?<![\w.%\[\]-])(?:([\w.%\[\]-]+)(?:=|: +)|(--?(?!no-)[A-Za-z][\w-]*+) ++(?!--))"
)
"""A name and what is between it and its value: `--token=`, `TOKEN=`, `Header: `, `--token `; `Header:` where a text
begins so."""
_END_OF_PART: Final = re.compile(r'[&#\s"]|\Z')
_LOGIN: Final = re.compile(r'(?i)((?:^|[:=]) *(?:bearer|basic) +)[^\s",]+\s*\Z')
"""A value of a header that lets somebody in (RFC 9110 section 11.4), whatever the header is called."""


def is_secret(name: str) -> bool:
    """Whether a member of this name is masked: `password`, `GITHUB_TOKEN`, `client-secret`, `apiKey`, …"""
    plain = _plain(name)
    return plain.endswith(_SECRETS) and not plain.endswith(_HARMLESS)


def lets_in(name: str) -> bool:
    """Whether an option, a variable or a part of a URL of this name is masked: `--pat`, `SG_KEY`, `sig`, …"""
    return is_secret(name) or (_last(name) in _IN_SHORT and not _plain(name).endswith(_HARMLESS))


def is_secret_header(name: str) -> bool:
    """Whether a header of this name is masked: `X-Api-Key`, `X-Session`, …"""
    return lets_in(name) or _plain(name).endswith(_IN_HEADERS)


def is_given(name: str) -> bool:
    """Whether a value is masked that a configuration gives to an argument of this name, or to a member of one."""
    return is_secret(name) or _last(name) in _LOGINS


def mask(message: bytes) -> bytes:
    """The message with the values of secret members replaced; all else is the same text."""
    if not _HINT.search(message):
        return message
    return _MEMBER.sub(_masked, message)


def mask_text(text: str) -> str:
    """An argument, a URL or the value of a header without the secrets that it names.

    Those are users and passwords in URLs, values of names (`--token=…`, `?key=…`, `--header=Authorization: …`), members
    of JSON, and what stands behind `Bearer` or `Basic` at the end.
    """
    masked = mask(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    return _LOGIN.sub(rf"\1{MASK}", _mask_named(_USER.sub(f"://{MASK}@", masked)))


def _mask_named(text: str) -> str:
    parts: list[str] = []
    done, scheme = 0, text.find("://")
    for found in _NAMED.finditer(text):
        start, name = found.start(), found[1] or found[2] or found[3]
        is_part = 0 <= scheme < start and text[start - 1] in "?&;#"
        if start >= done and (_is_part_secret(unquote(name)) if is_part else _is_named_secret(name, found[0])):
            parts += text[done : found.end()], MASK
            end = _END_OF_PART.search(text, found.end()) if is_part else None
            done = end.start() if end is not None else len(text)
    return "".join((*parts, text[done:]))


def _is_part_secret(name: str) -> bool:
    return lets_in(name) or name.lower() in _IN_URLS


def _is_named_secret(name: str, whole: str) -> bool:
    """Whether what follows is masked; `whole`: the name with what is between it and its value."""
    is_variable = name.isupper() and whole.endswith("=")
    if not (is_variable or name.startswith("-") or len(_WORD.findall(name)) > 1):
        return is_secret(name)
    return is_secret_header(name) if whole.rstrip().endswith(":") else lets_in(name)


def _last(name: str) -> str:
    """The last word of a name, in lower case."""
    words = _WORD.findall(name)
    return words[-1].lower() if words else ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _masked(match: re.Match[bytes]) -> bytes:
    name, colon, value = match.groups()
    if colon is None or value is None:
        return _mask_json(name) + match.group()[len(name) :]
    if not is_secret(_text(name) or name.decode("utf-8", "replace")):
        return _mask_json(name) + colon + _mask_json(value)
    return _mask_json(name) + colon + b'"' + MASK.encode() + b'"'


def _text(value: bytes) -> str | None:
    """The text of a string; None for one that is none, as arguments and headers may hold."""
    try:
        return string(value)
    except ValueError:
        return None


def _mask_json(value: bytes) -> bytes:
    """A string that holds JSON, masked as that; any other value as it is.

    "a tool that returns structured content SHOULD also return the serialized JSON in a TextContent block" (2025-11-25
    server/tools, *Structured Content*): what is masked in the one is in the other too.
    """
    text = _text(value) if value.startswith((b'"{', b'"[')) else None
    if text is None:
        return value
    plain = text.encode("utf-8", "surrogatepass")
    masked = mask(plain)
    return value if masked == plain else json.dumps(masked.decode("utf-8", "surrogatepass")).encode()
