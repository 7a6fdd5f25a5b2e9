"""What calls say of their progress."""

import logging
from typing import Final, TypeAlias

from mcp.shared.dispatcher import ProgressFnT

__all__ = ["ProgressHandler", "default_progress_handler"]

ProgressHandler: TypeAlias = ProgressFnT
"""Called with how far a call is, how far it will go (None if unknown), and a text (None without one)."""

_log: Final = logging.getLogger("isthmus.client")


async def default_progress_handler(progress: float, total: float | None, message: str | None) -> None:
    """Write it to Python's log, for those who debug; the arguments are those of `ProgressHandler`."""
    of = "" if total is None else f" of {total:g}"
    _log.debug("Progress: %g%s%s", progress, of, f": {message}" if message else "")
