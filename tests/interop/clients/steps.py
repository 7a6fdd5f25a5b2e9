"""The conversations of every Python client here: each is a line of JSON on stdin, answered by a line on stdout.

A line says with whom (`target`), in which of the client's modes, and the `steps`; the answer is a record of each.
A step is a request: `method`, `params`, and what else is to happen: `progress` (ask for it), `pages` (follow the
cursors), `until` (how many `progress`, `logs`, `asked`, or notifications of a method to wait for), `answer` (what the
user does with a form), `cancel` (at the first progress; it names the tool that counts cancellations). A record is the
`result` or `error`, and what came meanwhile. `about` tells what was agreed. `steps.mjs` does the same.
"""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio

Json = dict[str, Any]


class OnProgress(Protocol):
    """What the SDKs call with each progress."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


STEP_TAKES_AT_MOST = 8
COUNTED_WITHIN = 6
FILLERS: Json = {"string": "Ada", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
ROOTS = [{"uri": "file:///interop", "name": "interop"}]
MODEL_SAYS: Json = {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "interop-model"}
TOLD = ("list_changed", "resources/updated", "elicitation/complete")


class Heard:
    """What came since the step began, without being its result."""

    def __init__(self) -> None:
        self.action = "accept"
        self.lists: dict[str, list[Any]] = {}
        self._news = anyio.Event()
        self.begin({})

    def begin(self, step: Json) -> None:
        self.action = step.get("answer", "accept")
        self.lists = {"progress": [], "logs": [], "heard": [], "asked": []}

    def note(self, kind: str, entry: Any) -> None:
        self.lists[kind].append(entry)
        news, self._news = self._news, anyio.Event()
        news.set()

    async def until(self, wanted: dict[str, int]) -> None:
        while any(self._count(what) < number for what, number in wanted.items()):
            await self._news.wait()

    def _count(self, what: str) -> int:
        return len(self.lists.get(what, [method for method, _ in self.lists["heard"] if method == what]))

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.note("progress", [progress, total])

    def on_notification(self, method: str, params: Json | None) -> None:
        if method.endswith(TOLD):
            self.note("heard", [method, (params or {}).get("uri")])

    def elicit(self, params: Json) -> Json:
        """The user's answer: to a form, a value for each field that must have one."""
        mode = params.get("mode", "form")
        self.note("asked", f"{mode}: {params['message']}")
        if self.action != "accept" or mode == "url":
            return {"action": self.action}
        schema = params["requestedSchema"]
        given = {name: fill(schema["properties"][name]) for name in schema.get("required", [])}
        return {"action": "accept", "content": given}

    def sample(self, params: Json) -> Json:
        self.note("asked", "sampling")
        return MODEL_SAYS

    def roots(self) -> Json:
        self.note("asked", "roots")
        return {"roots": ROOTS}


def fill(schema: Json) -> Any:
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    return FILLERS[schema["type"]]


class Peer(ABC):
    """One client software, with the server it is connected to."""

    errors: tuple[type[Exception], ...]

    @abstractmethod
    async def about(self) -> Json: ...

    @abstractmethod
    async def request(self, method: str, params: Json, on_progress: OnProgress | None) -> Json: ...

    def read_error(self, error: Exception) -> Json:
        data = error.error  # type: ignore[attr-defined]  # so it is in both SDKs
        return {"code": data.code, "message": data.message}

    async def withdraw(self) -> None:  # noqa: B027  # most have nothing to do
        """Tell the server that the request under way is not wanted, where leaving its scope doesn't."""


async def play(peer: Peer, heard: Heard, steps: list[Json]) -> list[Json]:
    return [await _take(peer, heard, step) for step in steps]


async def _take(peer: Peer, heard: Heard, step: Json) -> Json:
    heard.begin(step)
    record: Json = {}
    try:
        with anyio.fail_after(STEP_TAKES_AT_MOST):
            record = await _do(peer, heard, step)
            await heard.until(step.get("until", {}))
    except TimeoutError:
        record["timeout"] = True
    except peer.errors as error:
        record["error"] = peer.read_error(error)
    return record | {kind: entries for kind, entries in heard.lists.items() if entries}


async def _do(peer: Peer, heard: Heard, step: Json) -> Json:
    method, params = step["method"], step.get("params", {})
    if method == "about":
        return {"result": await peer.about()}
    if "cancel" in step:
        return await _cancel(peer, heard, step)
    if step.get("pages"):
        return {"result": await _all_pages(peer, method)}
    return {"result": await peer.request(method, params, heard.on_progress if step.get("progress") else None)}


async def _all_pages(peer: Peer, method: str) -> Json:
    member = {"resources/templates/list": "resourceTemplates"}.get(method, method.split("/")[0])
    items: list[Json] = []
    params: Json = {}
    pages = 0
    while True:
        page = await peer.request(method, params, None)
        items += page[member]
        pages += 1
        if "nextCursor" not in page:
            return {member: items, "pages": pages}
        params = {"cursor": page["nextCursor"]}


async def _cancel(peer: Peer, heard: Heard, step: Json) -> Json:
    """Cancel a call at its first sign of life, and ask the server until it has noticed."""
    counter = step["cancel"]
    before = await _count(peer, counter)
    finished = False

    async def stop_at_progress(scope: anyio.CancelScope) -> None:
        await heard.until({"progress": 1})
        await peer.withdraw()
        scope.cancel()

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(stop_at_progress, scope)
            await peer.request(step["method"], step["params"], heard.on_progress)
            finished = True
        group.cancel_scope.cancel()
    with anyio.move_on_after(COUNTED_WITHIN):
        while counter is not None and await _count(peer, counter) <= before:
            pass
    noticed = counter is None or await _count(peer, counter) > before
    return {"result": {"finished": finished, "noticed": noticed}}


async def _count(peer: Peer, tool: str | None) -> int:
    if tool is None:
        return 0
    result = await peer.request("tools/call", {"name": tool, "arguments": {}}, None)
    return int(result["structuredContent"]["cancelled"])


def run(converse: Callable[[Json, str, list[Json]], Awaitable[list[Json]]]) -> None:
    """Hold one conversation after the other, until stdin ends; what goes wrong ends the program."""
    for line in sys.stdin:
        given = json.loads(line)
        print(json.dumps(anyio.run(converse, given["target"], given["mode"], given["steps"])), flush=True)
