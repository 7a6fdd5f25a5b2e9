"""`check_transport`: whether a transport keeps its contract."""

import asyncio
from collections.abc import Collection

from isthmus.errors import Fault
from isthmus.testing.rules import RULES
from isthmus.testing.stage import Broken, Era, OpenLink, Stage, Terms


async def check_transport(
    open: OpenLink,
    *,
    era: Era = "legacy",
    exact: bool = True,
    ordered: bool = True,
    largest: int = 1 << 20,
    seconds: float = 10.0,
    rules: Collection[str] | None = None,
) -> None:
    """Play a client and a server on a transport, rule by rule, each on a link of its own.

    Args:
        open: a context manager that makes a link and clears it away.
        era: the protocol that is spoken. A bare channel does not know eras: `legacy` has more to check.
        exact: whether bytes arrive as they were sent; if not, JSON of the same meaning will do.
        ordered: whether the client's own messages keep their order; where each travels alone (streamable HTTP) they
            need not.
        largest: the longest text, in bytes, that must come through.
        seconds: for each single thing that is waited for, `connect` and `stop` included.
        rules: the names of the rules to check, out of `RULES`; all by default.

    Raises:
        AssertionError: a rule is broken; the sentence names it and says what happened instead.
    """
    for name in RULES if rules is None else rules:
        if era not in RULES[name].eras:
            continue
        try:
            await _play(open, name, Terms(era, exact, ordered, largest, seconds))
        except BaseExceptionGroup as group:
            if (broken := _first(group)) is None:
                raise
            raise AssertionError(f"{name}: {RULES[name].says} {broken}") from None


async def _play(open: OpenLink, name: str, terms: Terms) -> None:
    async with open() as link, asyncio.TaskGroup() as tasks:
        stage = Stage(link, terms, tasks)
        try:
            await RULES[name].check(stage)
            stage.check_faults()
        finally:
            await stage.clear()


def _first(group: BaseException) -> Exception | None:
    """What broke the rule, if nothing else went wrong: what we saw, or what the transport refused."""
    if isinstance(group, BaseExceptionGroup):
        found = [_first(each) for each in group.exceptions]
        return found[0] if all(found) else None
    return group if isinstance(group, Broken | Fault) else None
