"""How a proxy stands before its back: what an operator may choose."""

from dataclasses import dataclass, field

from isthmus.limits import Limits
from isthmus.pool.policy import Isolation


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
