"""Reading the configuration again while clients are served: on SIGHUP, or when a watched file changes."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from isthmus.errors import ConfigError
from isthmus.many.gateway import Many
from isthmus.many.plan import Plan, Stamp, stamp

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
    if plan.watched is not None:
        many.tasks.start(_watch(many, plan, plan.watched))


def reread(many: Many, plan: Plan) -> None:
    """Read the configuration again; one that can't work changes nothing, and the log says why."""
    assert plan.again is not None
    try:
        specs = plan.again()
        many.reload(specs)
    except ConfigError as error:
        _log.error("%s was read again and can't work, so nothing was changed: %s", plan.name, error)
    except Exception:  # what follows a file is to outlive whatever one version of it does
        _log.exception("Reading %s again failed; this is a bug of isthmus. Change the file, or start again.", plan.name)
    else:
        _log.warning("%s was read again: %d servers.", plan.name, len(specs))


async def _watch(many: Many, plan: Plan, watched: Callable[[], Mapping[str, Stamp]]) -> None:
    """Follow the files' folders: most programs don't write into a file but put a new one in its place.

    What happens in none of them (a file that was named later, a link to a link) is seen when `awatch` wakes by itself,
    every 5 s.
    """
    from watchfiles import awatch

    async for _ in awatch(*_folders(watched()), watch_filter=None, recursive=False, yield_on_timeout=True):
        if any(stamp(each) != was for each, was in watched().items()):
            reread(many, plan)


def _folders(files: Iterable[str]) -> set[Path]:
    """Where the files are, and where those are that they are links to."""
    return {folder for each in files for folder in (Path(each).absolute().parent, Path(each).resolve().parent)}
