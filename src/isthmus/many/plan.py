"""Many servers to stand in front of, as a front is told of them."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from isthmus.engine.inner import Inner
    from isthmus.engine.member import Spec
    from isthmus.many.gateway import Many

Stamp = tuple[int, int, int] | None
"""By what a file is known to have changed, or to be another one; None where there is none."""


def stamp(file: str) -> Stamp:
    """How a file is now."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Many servers to stand in front of."""

    name: str
    """What they are called together in logs."""
    specs: "tuple[Spec, ...]"
    """The servers, in their order."""
    again: "Callable[[], tuple[Spec, ...]] | None" = None
    """Reads the configuration again (raises `ConfigError`); None where it can't change."""
    watched: "Callable[[], Mapping[str, Stamp]] | None" = None
    """Gives the files that it came from last, and how each was then; their changes have it read again."""
    attach: "Callable[[Many], Inner] | None" = None
    """Gets what stands before them, to change it while it serves; gives what is to serve, around it."""
