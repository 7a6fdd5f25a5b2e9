"""What comes beside results: progress, log messages, changes; and cancellation."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.matrix.book import MODERN_BACK, MODERN_FRONT, each, row
from tests.matrix.content import STRING, form
from tests.matrix.peer import SOON, Json, Peer, outcome, usual
from tests.matrix.reasons import Reason

PROGRESS = "2025-11-25/basic/utilities/progress.mdx"
LOGGING = "2025-11-25/server/utilities/logging.mdx"
NEW_LOGGING = "2026-07-28/server/utilities/logging.mdx"
CANCELLATION = "2025-11-25/basic/utilities/cancellation.mdx"
NEW_CANCELLATION = "2026-07-28/basic/patterns/cancellation.mdx"
SUBSCRIPTIONS = "2026-07-28/basic/patterns/subscriptions.mdx"
RESOURCES = "2025-11-25/server/resources.mdx"

# -- progress ---------------------------------------------------------------------------------------------------------


def _progress(shows: str, *steps: Any) -> None:
    @row("progress", shows, PROGRESS)
    async def progress(peer: Peer) -> Any:
        given = {"name": "steps", "arguments": {"steps": list(steps)}}
        result = await peer.request("tools/call", given, progress=True)
        await peer.heard.until("progress", len(steps))
        assert peer.heard.progress == list(steps)
        return [result, peer.heard.progress]


_progress("with total and message", [1, 3, "öne"], [2, 3, "two"], [3, 3, "three"])
_progress("without total or message", [0.25, None, None], [17, None, None])


@row("progress", "a hundred steps, in order", PROGRESS)
async def many(peer: Peer) -> Any:
    given = {"name": "steps", "arguments": {"steps": [[n, None, None] for n in range(100)]}}
    await peer.request("tools/call", given, progress=True)
    await peer.heard.until("progress", 100)
    assert [done for done, _, _ in peer.heard.progress] == list(range(100))
    return True


@row("progress", "none where none is wanted", PROGRESS)
async def unwanted(peer: Peer) -> Any:
    result = await peer.call("steps", steps=[[1, 2, "x"]])
    assert peer.heard.progress == []
    return result


@row("progress", "of several calls at once, each to its own", PROGRESS)
async def several(peer: Peer) -> Any:
    async def one(n: int) -> Any:
        given = {"name": "steps", "arguments": {"steps": [[1, None, f"{n}a"], [2, None, f"{n}b"]]}}
        return await peer.request("tools/call", given, progress=True)

    await asyncio.gather(*(one(n) for n in range(5)))
    await peer.heard.until("progress", 10)
    return sorted(peer.heard.progress, key=repr)


# -- log messages -----------------------------------------------------------------------------------------------------


async def logged(peer: Peer, floor: str, levels: list[str], number: int, **more: Any) -> Any:
    """Log at the levels; what was heard of it with a floor."""
    if peer.era == "legacy":
        await peer.request("logging/setLevel", {"level": floor})
    params = {"name": "logs", "arguments": {"levels": levels, **more}}
    await peer.request("tools/call", params, level=floor if peer.era == "modern" else None)
    await peer.heard.until("logs", number)
    assert len(peer.heard.logs) == number
    return peer.heard.logs


@row("logging", "a message at the level", LOGGING)
async def at_level(peer: Peer) -> Any:
    return await logged(peer, "warning", ["warning"], 1)


@row("logging", "messages below the level are dropped", LOGGING)
async def below_level(peer: Peer) -> Any:
    told = await logged(peer, "warning", ["debug", "error", "info", "alert"], 2)
    assert [each["level"] for each in told] == ["error", "alert"]
    return told


@row("logging", "data and logger as they are", LOGGING)
async def data(peer: Peer) -> Any:
    said = {"a": [1.5, None, "ü"], "b": {}}
    told = await logged(peer, "info", ["info"], 1, data=said, logger="a.b")
    assert (told[0]["data"], told[0]["logger"]) == (said, "a.b")
    return told


@row("logging", "another level from now on", LOGGING)
async def another_level(peer: Peer) -> Any:
    await logged(peer, "error", ["warning", "error"], 1)
    peer.heard.begin()
    told = await logged(peer, "debug", ["debug", "error"], 2)
    return told


@row("logging", "where no level was said", NEW_LOGGING, number=1, info="one who says no level")
async def no_level(peer: Peer) -> Any:
    result = await peer.call("logs", levels=["debug", "error"])
    if peer.era == "legacy":
        await peer.heard.until("logs")
    assert [each["level"] for each in peer.heard.logs] == (["error"] if peer.era == "legacy" else [])
    return result


@row("logging", "a level that isn't one", LOGGING, never=each(MODERN_FRONT, Reason.NO_SET_LEVEL))
async def wrong_level(peer: Peer) -> Any:
    answer = await outcome(peer.request("logging/setLevel", {"level": "shout"}))
    assert answer["error"] == -32602
    return answer["error"]


# -- changes ----------------------------------------------------------------------------------------------------------


async def changed(peer: Peer, number: int, *kinds: str, uris: tuple[str, ...] = ()) -> Any:
    await peer.call("changes", kinds=list(kinds), uris=list(uris))
    await peer.heard.until("changes", number)
    return sorted(peer.heard.changes, key=repr)


def _list_changed(kind: str) -> None:
    @row("changes", f"the list of {kind} changed", SUBSCRIPTIONS)
    async def list_changed(peer: Peer) -> Any:
        async with peer.listening(kinds=(kind,)):
            told = await changed(peer, 1, kind)
        assert told == [[f"notifications/{kind}/list_changed", None]]
        return told


for each_kind in ("tools", "prompts", "resources"):
    _list_changed(each_kind)


@row("changes", "two kinds of lists changed, twice", SUBSCRIPTIONS)
async def two_kinds(peer: Peer) -> Any:
    async with peer.listening(kinds=("tools", "prompts")):
        told = await changed(peer, 2, "tools", "prompts")
        peer.heard.begin()
        return [told, await changed(peer, 2, "tools", "prompts")]


@row("changes", "a resource was updated", RESOURCES)
async def updated(peer: Peer) -> Any:
    async with peer.listening("test://watched"):
        told = await changed(peer, 1, uris=("test://watched",))
    assert told == [["notifications/resources/updated", "test://watched"]]
    return told


@row("changes", "two resources were updated, and then one again", RESOURCES)
async def two_resources(peer: Peer) -> Any:
    uris = ("test://watched", "test://static/text")
    async with peer.listening(*uris):
        told = await changed(peer, 2, uris=uris)
        peer.heard.begin()
        return [told, await changed(peer, 1, uris=uris[:1])]


PART = [["notifications/resources/updated", "test://watched/part"]]


@row("changes", "a part of a resource was updated", RESOURCES, never=each(MODERN_BACK, Reason.NO_PARTS),
     instead={("modern", "legacy"): (PART, Reason.NO_PARTS)})  # fmt: skip
async def part(peer: Peer) -> Any:
    async with peer.listening("test://watched"):
        return await changed(peer, 1, uris=("test://watched/part",))


@row("changes", "nothing of a resource that nobody watches any more", RESOURCES)
async def unsubscribed(peer: Peer) -> Any:
    async with peer.listening("test://watched"):
        await changed(peer, 1, uris=("test://watched",))
    peer.heard.begin()
    async with peer.listening("test://static/text"):
        told = await changed(peer, 1, uris=("test://watched", "test://static/text"))
    assert told == [["notifications/resources/updated", "test://static/text"]]
    return told


@row("changes", "the client's roots changed, which does no harm", "2025-11-25/client/roots.mdx",
     never=each(MODERN_FRONT, Reason.NO_ROOTS_CHANGED))  # fmt: skip
async def roots_changed(peer: Peer) -> Any:
    await peer.notify("notifications/roots/list_changed")
    return await peer.call("echo", text="still here")


# -- cancellation -----------------------------------------------------------------------------------------------------


@contextmanager
def noted() -> Iterator[Path]:
    """A file in which the server notes that it learned of the cancellation, maybe when nobody looks any more."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        yield Path(place) / "note"


async def until_noted(note: Path) -> None:
    async with asyncio.timeout(SOON):
        while not os.path.exists(note):  # noqa: ASYNC110, ASYNC240 - other processes' doings are no events
            await asyncio.sleep(0.002)


async def given_up(work: "asyncio.Task[Any]") -> None:
    work.cancel()
    await asyncio.wait([work], timeout=SOON)
    assert work.cancelled()


@row("cancellation", "the server learns of it, and works on", CANCELLATION)
async def cancelled(peer: Peer) -> Any:
    with noted() as note:
        given = {"name": "waits", "arguments": {"note": str(note)}}
        work = asyncio.ensure_future(peer.request("tools/call", given, progress=True))
        await peer.heard.until("progress")
        await given_up(work)
        await until_noted(note)
    return await peer.call("echo", text="still here")


@row("cancellation", "of one of two calls leaves the other alone", NEW_CANCELLATION)
async def one_of_two(peer: Peer) -> Any:
    with noted() as note:
        given = {"name": "waits", "arguments": {"seconds": 0.3, "note": str(note)}}
        work = [asyncio.ensure_future(peer.request("tools/call", given, progress=True)) for _ in range(2)]
        await peer.heard.until("progress")
        await given_up(work[0])
        async with asyncio.timeout(SOON):
            return await work[1]


@row("cancellation", "what comes afterwards is dropped", CANCELLATION)
async def late(peer: Peer) -> Any:
    with noted() as note:
        given = {"name": "waits", "arguments": {"note": str(note), "goes_on": True}}
        work = asyncio.ensure_future(peer.request("tools/call", given, progress=True))
        await peer.heard.until("progress")
        await given_up(work)
        await until_noted(note)
    assert len(peer.heard.progress) == 1
    return await peer.call("echo", text="still here")


@row("cancellation", "the client's patience ends", CANCELLATION)
async def impatient(peer: Peer) -> Any:
    with noted() as note:
        given = {"name": "waits", "arguments": {"note": str(note), "seconds": 1}}
        answer = await outcome(peer.request("tools/call", given, patience=0.1))
        assert "error" in answer
        return [answer["error"], await peer.request("prompts/list")]


@row(
    "cancellation",
    "while the user is asked, who answers nevertheless",
    NEW_CANCELLATION,
    number=2,
    info="one who leaves",
)
async def while_asked(peer: Peer) -> Any:
    answered = asyncio.Event()

    async def late_answer(method: str, params: Json) -> Json:
        await answered.wait()
        return usual(method, params)

    peer.heard.answer = late_answer
    work = asyncio.ensure_future(peer.call("asks", rounds=[{"q": form("Who are you?", name=STRING)}]))
    await peer.heard.until("asked")
    await given_up(work)
    answered.set()
    return await peer.request("prompts/list")
