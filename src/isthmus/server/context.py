"""The context that a user's function runs in."""

from isthmus.components.context import Context as Context

__all__ = ["Context"]
