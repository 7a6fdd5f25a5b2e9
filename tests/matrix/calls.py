"""What the matrix' server programs have in common, whichever SDK they are made with: a call, as its tool sees it.

This module runs with SDK 1.30 and 2.x alike, so it imports neither.
"""

import json
from abc import ABC, abstractmethod
from typing import Any

Json = dict[str, Any]


class Problem(Exception):
    """A JSON-RPC error that a request is to be answered with."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class NeedsInput(Exception):
    """The call can't go on in this round; `result` is its `input_required` answer."""

    def __init__(self, result: Json) -> None:
        super().__init__("input required")
        self.result = result


class Call(ABC):
    """One request under way.

    A modern client is not asked, it calls again: the tool then runs from its start, with the answers of the rounds so
    far, and what it says before the last of them has been said.
    """

    modern: bool
    params: Json

    def __init__(self) -> None:
        state = self.params.get("requestState")
        self._rounds: list[Json] = json.loads(state) if state is not None else []
        if self.params.get("inputResponses"):
            self._rounds.append(self.params["inputResponses"])
        self._asked = 0

    @property
    def is_replay(self) -> bool:
        return self._asked < len(self._rounds)

    async def ask(self, **requests: Json) -> Json:
        """Put requests to the client, all at once; their results by name."""
        if not self.modern:
            return await self.ask_now(requests)
        self._asked += 1
        if self._asked <= len(self._rounds):
            return self._rounds[self._asked - 1]
        raise NeedsInput(
            {"resultType": "input_required", "inputRequests": requests, "requestState": json.dumps(self._rounds)}
        )

    async def again(self, times: int) -> None:
        """Have a modern client call again so many times, with nothing but a state."""
        if self.modern and len(self._rounds) < times:
            state = json.dumps([*self._rounds, {}])
            raise NeedsInput({"resultType": "input_required", "requestState": state})

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        if not self.is_replay:
            await self.report(done, total, message)

    async def log(self, level: str, data: Any, logger: str | None = None) -> None:
        if not self.is_replay:
            await self.say(level, data, logger)

    @abstractmethod
    async def ask_now(self, requests: Json) -> Json:
        """Ask a legacy client; a `Problem` if it answers with an error."""

    @abstractmethod
    async def report(self, done: float, total: float | None, message: str | None) -> None:
        """Send progress."""

    @abstractmethod
    async def say(self, level: str, data: Any, logger: str | None) -> None:
        """Log."""

    @abstractmethod
    async def change(self, kind: str, uri: str | None = None) -> None:
        """Announce a change: of `tools`, `prompts` or `resources`, or of the resource `uri`."""

    @abstractmethod
    async def opened(self, id: str) -> None:
        """Tell a legacy client that what was to be done at a URL is done."""

    @abstractmethod
    def who(self) -> Json:
        """What the client said of itself."""

    @abstractmethod
    def meta(self) -> Json:
        """The request's `_meta`."""
