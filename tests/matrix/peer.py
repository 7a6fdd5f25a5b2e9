"""A client, as the rows see it: the same for both eras, whichever SDK it is made with."""

import asyncio
import copy
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
Era = Literal["legacy", "modern"]
SOON: Final = 3.0
"""Seconds in which what has to come comes."""


class PeerError(Exception):
    """A request was answered with an error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{code}: {message} ({data})")
        self.code = code
        self.message = message
        self.data = data


class Heard:
    """What came since the row began, and how the user answers what is asked."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.progress: list[Any] = []
        self.logs: list[Json] = []
        self.changes: list[Any] = []
        self.asked: list[Json] = []
        self.answer: Callable[[str, Json], Any] = usual
        """Called with method and params of a question: the result, a `PeerError`, or an awaitable of one."""
        self._news = asyncio.Event()

    def note(self, kind: str, entry: Any) -> None:
        getattr(self, kind).append(entry)
        self._news.set()

    async def until(self, kind: str, number: int = 1) -> None:
        """Wait for that many entries of a kind."""
        async with asyncio.timeout(SOON):
            while len(getattr(self, kind)) < number:
                self._news.clear()
                await self._news.wait()

    async def ask(self, method: str, params: Json) -> Json:
        """What the user answers; a `PeerError` if that is an error."""
        self.note("asked", {"method": method, "params": {k: v for k, v in params.items() if k != "_meta"}})
        answer = self.answer(method, params)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, PeerError):
            raise answer
        return copy.deepcopy(answer)


ROOTS: Final = {"roots": [{"uri": "file:///one", "name": "One"}, {"uri": "file:///two"}]}
FILLERS: Final[Json] = {"string": "Ada", "integer": 3, "number": 1.5, "boolean": True}
MODEL_SAYS: Final = {
    "role": "assistant",
    "content": {"type": "text", "text": "Paris ⊕"},
    "model": "m-1",
    "stopReason": "endTurn",
}


def usual(method: str, params: Json) -> Json:
    """Everything is accepted, and every field filled."""
    if method == "roots/list":
        return ROOTS
    if method == "sampling/createMessage":
        return MODEL_SAYS
    if params.get("mode") == "url":
        return {"action": "accept"}
    fields = params["requestedSchema"]["properties"]
    return {"action": "accept", "content": {name: filled(schema) for name, schema in fields.items()}}


def filled(schema: Json) -> Any:
    if "default" in schema:
        return schema["default"]
    if schema["type"] == "array":
        items = schema["items"]
        return [items["enum"][0] if "enum" in items else items["anyOf"][0]["const"]]
    if "oneOf" in schema:
        return schema["oneOf"][-1]["const"]
    return schema["enum"][0] if "enum" in schema else FILLERS[schema["type"]]


class Peer(ABC):
    """One client of one server.

    `knows` is what it learned of the server when it connected.
    """

    era: Era
    heard: Heard
    knows: Json

    @abstractmethod
    async def request(
        self,
        method: str,
        params: Json | None = None,
        *,
        progress: bool = False,
        level: str | None = None,
        patience: float | None = None,
        is_driven: bool = True,
    ) -> Json:
        """A request and its result.

        Args:
            method: of the request.
            params: its parameters.
            progress: whether progress is wanted.
            level: of the log messages that a modern client wants.
            patience: seconds after which the SDK gives it up; its usual time if not given.
            is_driven: whether the SDK answers `input_required` and calls again; else that is the result.

        Raises:
            PeerError: it was answered with an error.
        """

    @abstractmethod
    async def notify(self, method: str, params: Json | None = None) -> None:
        """A notification."""

    @abstractmethod
    async def learn_tools(self) -> None:
        """Have the SDK read the whole list of tools, as it must before it can repeat arguments in headers."""

    @abstractmethod
    def listening(self, *uris: str, kinds: tuple[str, ...] = ()) -> AbstractAsyncContextManager[None]:
        """While entered, updates of these resources and changes of these kinds of lists are heard."""

    async def call(self, name: str, /, **arguments: Any) -> Json:
        """The result of a tool."""
        return await self.request("tools/call", {"name": name, "arguments": arguments})

    async def ask_for(self, name: str, /, **arguments: Any) -> Json:
        """The structured result of a tool that asks, or what went wrong, with all that the user was asked."""
        result = await outcome(self.call(name, **arguments))
        return {"result": result, "asked": by_text(self.heard.asked)}


async def outcome(work: Any) -> Json:
    """What becomes of a request: its result, or the code and data of its error."""
    try:
        result: Json = await work
    except PeerError as error:
        return {"error": error.code} | ({"data": error.data} if error.data is not None else {})
    return result


def by_text(entries: list[Any]) -> list[Any]:
    """In an order that doesn't depend on which came first."""
    return sorted(entries, key=repr)
