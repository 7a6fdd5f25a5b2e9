"""Log messages of servers: how a user's handler is called, and where they go without one."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from mcp.client.session import LoggingFnT
from mcp.types import LoggingMessageNotificationParams

from isthmus.client.results import readable

__all__ = ["LogHandler", "LogMessage", "create_log_callback", "default_log_handler"]

LogMessage: TypeAlias = LoggingMessageNotificationParams
"""A log message: `level` (`debug` to `emergency`), `data` (any JSON) and `logger` (its name, or None)."""
LogHandler: TypeAlias = Callable[[LogMessage], Awaitable[None]]
"""Called with each message: its `level`, its `data`, and the `logger` that it names."""

_log: Final = logging.getLogger("isthmus.client")
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
}


async def default_log_handler(message: LogMessage) -> None:
    """Hand the message to Python's logging, as the logger `isthmus.client`."""
    data: Any = message.data
    said = data.get("msg", data) if isinstance(data, dict) else data
    where = f"[{message.logger}] " if message.logger else ""
    _log.log(_LEVELS.get(message.level, logging.INFO), "The server says: %s%s", where, said)


def create_log_callback(handler: LogHandler | None = None) -> LoggingFnT:
    """The handler as the SDK calls it."""
    hear = handler or default_log_handler

    async def heard(params: LoggingMessageNotificationParams) -> None:
        await hear(readable(params))

    return heard
