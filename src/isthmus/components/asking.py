"""Questions that a function asks the client on its way.

A legacy client is asked while its request waits. A modern one is answered `input_required` and calls again with the
answers: the function waits in between where it asked, and goes on. Its task belongs to `Turns`, and outlives the
request. What the client brings back as `requestState` is a key that only the one who was asked can know.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import INVALID_PARAMS, INVALID_REQUEST, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from isthmus.limits import ASKING_KEPT, Limits

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from isthmus.components.context import Context, Question

T = TypeVar("T")
R = TypeVar("R")
_NAMES: Final = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
_GONE: Final = "What this call had been asked for is no longer waited for; call again without requestState."


def is_modern(request: "ServerRequestContext[Any, Any]") -> bool:
    """Whether a request is of a revision in which the client is asked by the answer."""
    return request.protocol_version in MODERN_PROTOCOL_VERSIONS


class _Turn(Generic[R]):
    """A function that runs for a modern call, through all its retries."""

    def __init__(self, context: "Context", of: tuple[str, str]) -> None:
        self.context = context
        self.of = of
        self.task: asyncio.Task[R]
        self.open: dict[str, tuple[Question, asyncio.Future[Any]]] = {}
        self.asked = asyncio.Event()
        self.expiry: asyncio.TimerHandle | None = None

    def answer(self, responses: Any) -> None:
        """Give the function the answers that came; what has none is asked again."""
        for key, value in (responses or {}).items():
            if (found := self.open.pop(key, None)) is not None and not found[1].done():
                found[1].set_result(value)
        if not self.open:
            self.asked.clear()


class Turns:
    """The calls of modern clients whose functions wait for answers.

    `wait`: seconds that a client has for its answers.
    """

    def __init__(self) -> None:
        self.wait = Limits().answer_wait
        self._waiting: dict[str, _Turn[Any]] = {}
        self._running: dict[int, _Turn[Any]] = {}

    async def take(
        self,
        context: "Context",
        params: Any,
        of: tuple[str, str],
        work: Callable[["Context"], Awaitable[R]],
    ) -> R | InputRequiredResult:
        """Do a call's work, or go on with it, until it is done or asks.

        Args:
            context: the call's.
            params: its parameters.
            of: its method and what it names: a retry has to be of the same.
            work: what is done for it.

        Raises:
            McpError: it is a retry of nothing that waits.
            Exception: what the work raises.
        """
        request = context.request_context
        if not is_modern(request):
            return await work(context)
        if params.request_state is None:
            turn: _Turn[R] = _Turn(context, of)
            self._running[id(context)] = turn
            turn.task = asyncio.get_running_loop().create_task(_run(work, context))
            turn.task.add_done_callback(partial(self._end, id(context)))
        else:
            found = self._waiting.get(params.request_state)
            if found is None or found.of != of:
                raise MCPError(INVALID_PARAMS, _GONE)
            turn = self._waiting.pop(params.request_state)
            if turn.expiry is not None:
                turn.expiry.cancel()
            turn.context.go_on(request)
            turn.answer(params.input_responses)
        return await self._until_asked(turn)

    async def ask(self, context: "Context", question: "Question", answer: type[T]) -> T:
        """Ask the client of a call; see `Context.ask`."""
        request = context.request_context
        _check_capability(request, question)
        try:
            async with asyncio.timeout(self.wait):
                if is_modern(request):
                    return await self._ask_by_answer(context, question, answer)
                how = ServerMessageMetadata(related_request_id=request.request_id)
                return await request.session.send_request(question, answer, metadata=how)  # type: ignore[type-var]
        except TimeoutError:
            raise MCPError(
                INVALID_REQUEST, f"The client did not answer {question.method} in {self.wait:g} s; call again."
            ) from None

    async def _ask_by_answer(self, context: "Context", question: "Question", answer: type[T]) -> T:
        turn = self._running.get(id(context))
        if turn is None:
            raise MCPError(INVALID_REQUEST, "The call is over: its client can't be asked any more.")
        given: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        key = f"q{secrets.token_hex(4)}"
        turn.open[key] = (question, given)
        turn.asked.set()
        try:
            found = await given
        finally:
            turn.open.pop(key, None)
        if not isinstance(found, answer):
            raise MCPError(INVALID_PARAMS, f"The client answered {question.method} with something else.")
        return found

    def close(self) -> None:
        """End what waits for answers."""
        for turn in list(self._running.values()):
            turn.task.cancel()

    async def _until_asked(self, turn: _Turn[R]) -> R | InputRequiredResult:
        asked = asyncio.get_running_loop().create_task(turn.asked.wait())
        try:
            await asyncio.wait({turn.task, asked}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            turn.task.cancel()
            raise
        finally:
            asked.cancel()
        if turn.task.done():
            if turn.task.cancelled():
                raise MCPError(INVALID_REQUEST, _GONE)
            return turn.task.result()
        return self._park(turn)

    def _end(self, key: int, task: asyncio.Task[Any]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # nobody may come for it any more

    def _park(self, turn: _Turn[Any]) -> InputRequiredResult:
        while len(self._waiting) >= ASKING_KEPT:
            self._give_up(next(iter(self._waiting)))
        token = secrets.token_urlsafe(32)
        self._waiting[token] = turn
        turn.expiry = asyncio.get_running_loop().call_later(self.wait, self._give_up, token)
        questions: Any = {key: question for key, (question, _) in turn.open.items()}
        return InputRequiredResult(input_requests=questions, request_state=token)

    def _give_up(self, token: str) -> None:
        if (turn := self._waiting.pop(token, None)) is not None:
            if turn.expiry is not None:
                turn.expiry.cancel()
            turn.task.cancel()


async def _run(work: "Callable[[Context], Awaitable[R]]", context: "Context") -> R:
    return await work(context)


def _check_capability(request: "ServerRequestContext[Any, Any]", question: "Question") -> None:
    said = request.session.client_capabilities
    name = _NAMES[question.method]
    if said is None or getattr(said, name) is None:
        raise MCPError(INVALID_REQUEST, f"This client can't be asked for {name}: it does not say that it can.")
