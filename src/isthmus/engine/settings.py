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
    is_local: bool = True
    """Whether clients of whom nothing is known are all the user of this machine."""
