"""The protocol's revisions and their two eras (2026-07-28 basic/versioning, *Terminology*)."""

import re
from enum import Enum
from typing import Final


class Era(Enum):
    """How a peer opens: with `initialize` and a session, or with everything in each request's `_meta`."""

    LEGACY = "legacy"
    MODERN = "modern"


LEGACY: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN: Final = ("2026-07-28",)
SUPPORTED: Final = (*reversed(MODERN), *reversed(LEGACY))
"""Every revision, the newest first: what `-32022` lists."""

BATCHES: Final = "2025-03-26"
"""The one revision with JSON-RPC batches (2025-06-18 changelog: "Remove support for JSON-RPC batching")."""
ASSUMED: Final = "2025-03-26"
"""What a legacy HTTP request without a version header speaks (2025-06-18 basic/transports)."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d\Z")


def era_of(version: str) -> Era | None:
    """The era of a revision, known or to come; None for what is no revision at all."""
    if version in MODERN:
        return Era.MODERN
    if version in LEGACY:
        return Era.LEGACY
    if not _DATE.match(version):
        return None
    return Era.MODERN if version > LEGACY[-1] else Era.LEGACY


def has_version_header(version: str) -> bool:
    """Whether HTTP messages of this legacy revision carry `MCP-Protocol-Version`."""
    return version >= "2025-06-18"


def has_unaddressed_errors(version: str) -> bool:
    """Whether an error response may go without an id on stdio (2025-11-25 basic/index)."""
    return version >= "2025-11-25"


def has_primers(version: str) -> bool:
    """Whether a stream over HTTP begins with an event that has an id and no data (2025-11-25 basic/transports)."""
    return version >= "2025-11-25"
