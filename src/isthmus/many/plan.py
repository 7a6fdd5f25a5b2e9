"""Many servers to stand in front of, as a front is told of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from isthmus.engine.inner import Inner
    from isthmus.engine.member import Spec
    from isthmus.many.gateway import Many


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Many servers to stand in front of."""

    name: str
    """What they are called together in logs."""
    specs: "tuple[Spec, ...]"
    """The servers, in their order."""
    again: "Callable[[], tuple[Spec, ...]] | None" = None
    """Reads the configuration again (raises `ConfigError`); None where it can't change."""
    watched: tuple[str, ...] = ()
    """Files whose changes have it read again."""
    attach: "Callable[[Many], Inner] | None" = None
    """Gets what stands before them, to change it while it serves; gives what is to serve, around it."""
