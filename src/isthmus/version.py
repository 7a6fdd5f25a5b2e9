"""What this program calls itself."""

import os

__version__ = "0.1.0"
PROXY_ID = f"isthmus-{os.urandom(4).hex()}"
"""This process in `Via` (RFC 9110 §7.6.3): a request that comes back with it has gone round in a circle."""
