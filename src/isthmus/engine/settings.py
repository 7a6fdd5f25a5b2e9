"""How a proxy stands before its back: what an operator may choose."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isthmus.limits import Limits
from isthmus.pool.policy import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable

    from isthmus.engine.member import Inner, Spec
    from isthmus.many.gateway import Many


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may choose of a proxy."""

    name: str = "isthmus"
    """What the proxy calls itself in `serverInfo`."""
    limits: Limits = field(default_factory=Limits)
    """Times and sizes."""
    keeps_identity: bool = False
    """Whether clients see the back's own `serverInfo` instead."""
    isolation: Isolation = "session"
    """How far the sessions of a legacy back are shared (`pool/policy`)."""
    forward_headers: tuple[str, ...] | None = ()
    """Names, in lower case, of the headers of clients that go on to a back with a URL; None for all that may."""
    instructions: str | None = None
    """What the proxy itself says of its use, where there are many; None for what they say."""
    is_local: bool = True
    """Whether clients of whom nothing is known are all the user of this machine."""


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
