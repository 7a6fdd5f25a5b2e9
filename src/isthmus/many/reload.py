"""Reading the configuration again while clients are served: on SIGHUP, or when a watched file changes."""

import asyncio
import logging
import signal
from contextlib import suppress
from typing import Final

from isthmus.engine.settings import Plan
from isthmus.errors import ConfigError
from isthmus.many.gateway import Many

_log: Final = logging.getLogger("isthmus.many")


def follow(many: Many, plan: Plan) -> None:
    """Have what is configured from now on take the place of what is, without a pause for anybody.

    Args:
        many: what serves.
        plan: where its servers came from.
    """
    if plan.again is None:
        return
    with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reread, many, plan)
    if plan.watched:
        many.tasks.start(_watch(many, plan))


def reread(many: Many, plan: Plan) -> None:
    """Read the configuration again; one that can't work changes nothing, and the log says why."""
    assert plan.again is not None
    try:
        specs = plan.again()
    except ConfigError as error:
        _log.error("%s was read again and can't work, so nothing was changed: %s", plan.name, error)
        return
    many.reload(specs)
    _log.warning("%s was read again: %d servers.", plan.name, len(specs))


async def _watch(many: Many, plan: Plan) -> None:
    from watchfiles import awatch

    async for _ in awatch(*plan.watched):
        reread(many, plan)
