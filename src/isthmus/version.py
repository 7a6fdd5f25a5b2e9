"""What this program calls itself."""

import os

__version__ = "0.1.0"


def new_id() -> str:
    """What the way to one back is called in `Via` (RFC 9110 §7.6.3): what comes in with it goes round in a circle."""
    return f"isthmus-{os.urandom(4).hex()}"
