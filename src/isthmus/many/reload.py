"""Reading the configuration again while clients are served: on SIGHUP, or when a watched file changes."""

import asyncio
import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus.errors import ConfigError
from isthmus.many.gateway import Many
from isthmus.many.plan import Plan

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
    """Follow the files' folders: most programs don't write into a file but put a new one in its place."""
    from watchfiles import awatch

    seen = _stamps(plan)
    async for _ in awatch(*_folders(plan), watch_filter=None, recursive=False):
        stamps = _stamps(plan)
        if stamps != seen:
            seen = stamps
            reread(many, plan)


def _folders(plan: Plan) -> set[Path]:
    return {Path(each).absolute().parent for each in plan.watched}


def _stamps(plan: Plan) -> list[tuple[int, int, int] | None]:
    """By what a file is known to have changed, or to be another one; None where there is none."""
    stamps: list[tuple[int, int, int] | None] = []
    for each in plan.watched:
        try:
            found = os.stat(each)
        except OSError:
            stamps.append(None)
        else:
            stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return stamps
