"""What is heard beside answers, and what a client says beside requests."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from mcp import types

from isthmus import Client
from isthmus.client.connection import Mode
from isthmus.client.elicitation import create_elicitation_callback
from isthmus.client.messages import MessageHandler, Question
from isthmus.exceptions import McpError
from tests.client.backs import BACKS, EVERYTHING_MEMORY, EVERYTHING_STDIO, MODES, SDK1_STDIO, Back, opened

WITHIN = 40
pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


class Ear(MessageHandler):
    """Notes which of its methods were called."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.questions: list[Question] = []
        self.news = asyncio.Event()

    async def on_message(self, message: Any) -> None:
        self.note("message")

    async def on_notification(self, message: Any) -> None:
        assert message.root is message
        self.note("notification")

    async def on_request(self, message: Question) -> None:
        self.questions.append(message)
        self.note("request")

    async def on_list_roots(self, message: Any) -> None:
        self.note("list_roots")

    async def on_create_message(self, message: Any) -> None:
        assert message.params.maxTokens
        self.note("create_message")

    async def on_progress(self, message: Any) -> None:
        self.note("progress")

    async def on_logging_message(self, message: Any) -> None:
        self.note("logging_message")

    async def on_tool_list_changed(self, message: Any) -> None:
        self.note("tool_list_changed")

    def note(self, what: str) -> None:
        self.heard.append(what)
        self.news.set()

    async def wait(self, what: str) -> None:
        while what not in self.heard:
            self.news.clear()
            await self.news.wait()


async def ignore_log(message: types.LoggingMessageNotificationParams) -> None:
    """Somebody who hears, so that it is said."""


async def ignore_progress(progress: float, total: float | None, message: str | None) -> None:
    """The same."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("back", [EVERYTHING_STDIO, SDK1_STDIO], ids=lambda back: back.name)
def test_a_message_handler_hears_everything(back: Back, mode: Mode) -> None:
    async def use(target: Any) -> None:
        ear = Ear()
        client = Client(
            target,
            roots=["file:///x"],
            sampling_handler=lambda messages, params, context: "yes",
            log_handler=ignore_log,
            progress_handler=ignore_progress,
            message_handler=ear,
            mode=mode,
        )
        async with asyncio.timeout(WITHIN), client:
            await client.call_tool("show_roots")
            await client.call_tool("ask_model", {"prompt": "x"})
            await client.call_tool("slow", {"seconds": 0.1, "steps": 2})
            await client.call_tool("log_at", {"level": "error", "message": "x"})
            await ear.wait("logging_message")
            while "tool_list_changed" not in ear.heard:  # in a modern session it is listened for, which takes its time
                await client.call_tool("toggle_tool")
            for what in ("message", "notification", "request", "list_roots", "create_message", "progress"):
                await ear.wait(what)
            roots, sampling = (question.request for question in ear.questions)
            assert isinstance(roots, types.ListRootsRequest)
            assert isinstance(sampling, types.CreateMessageRequest)

    with opened(back) as target:
        asyncio.run(use(target))


async def give_up(task: "asyncio.Task[None]") -> None:
    task.cancel()


def last_id(client: Client[Any]) -> int:
    """Of the request that is under way; the SDK tells nobody."""
    pending: dict[int, Any] = getattr(client.session, "_dispatcher")._pending  # noqa: B009
    return max(pending)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("back", BACKS[:2], ids=lambda back: back.name)
def test_cancelling(back: Back, mode: Mode) -> None:
    """A call ends at the server when its task is cancelled, and when its id is."""

    async def use(target: Any) -> None:
        async with asyncio.timeout(WITHIN), Client(target, mode=mode) as client:
            started = asyncio.Event()

            async def begun(progress: float, total: float | None, message: str | None) -> None:
                started.set()

            async def slow() -> None:
                await client.call_tool("slow", {"seconds": 600, "steps": 600}, progress_handler=begun)

            async def cancelled(end: Callable[["asyncio.Task[None]"], Any]) -> None:
                before = (await client.call_tool("stats")).data.cancelled
                started.clear()
                task = asyncio.get_running_loop().create_task(slow())
                await started.wait()
                await end(task)
                await asyncio.wait([task])
                assert task.cancelled() or isinstance(task.exception(), McpError)
                while (await client.call_tool("stats")).data.cancelled == before:
                    pass

            await cancelled(give_up)
            await cancelled(lambda task: client.cancel(last_id(client), "no time"))

    with opened(back) as target:
        asyncio.run(use(target))


@pytest.mark.parametrize("mode", MODES)
def test_what_is_said_without_an_answer(mode: Mode) -> None:
    async def use(target: Any) -> None:
        async with asyncio.timeout(WITHIN), Client(target, roots=["file:///x"], mode=mode) as client:
            await client.send_roots_list_changed()
            await client.progress("token", 1, 2, "half")
            await client.cancel(4711, "nobody knows it")
            assert await client.ping()

    with opened(EVERYTHING_MEMORY) as target:
        asyncio.run(use(target))


def test_handlers_that_are_set_later() -> None:
    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
        return {"answer": "Ada"}

    async def use(target: Any) -> None:
        client = Client(target)
        client.set_roots(["file:///y"])
        client.set_sampling_callback(lambda messages, params, context: "yes")
        client.set_elicitation_callback(elicit)
        async with asyncio.timeout(WITHIN), client:
            assert "file:///y" in str((await client.call_tool("show_roots")).content[0])
            assert "accept: Ada" in str((await client.call_tool("ask")).content[0])
            assert "yes" in str((await client.call_tool("ask_model", {"prompt": "x"})).content[0])

    with opened(EVERYTHING_MEMORY) as target:
        asyncio.run(use(target))


@pytest.mark.parametrize("mode", MODES)
def test_a_question_to_open_a_url(mode: Mode) -> None:
    asked: list[tuple[Any, str]] = []

    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
        asked.append((response_type, params.url))
        return {}

    async def use(target: Any) -> None:
        async with asyncio.timeout(WITHIN), Client(target, elicitation_handler=elicit, mode=mode) as client:
            assert "accept" in str((await client.call_tool("ask_url")).content[0])
            assert asked == [(None, "https://example.com/confirm")]

    with opened(EVERYTHING_MEMORY) as target:
        asyncio.run(use(target))


def test_consent_to_a_url_has_no_content() -> None:
    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
        return {"answer": "Ada"}

    ask = create_elicitation_callback(elicit)
    url = types.ElicitRequestURLParams(message="x", url="https://example.com", elicitation_id="1")
    form = types.ElicitRequestFormParams(message="x", requested_schema={"type": "object", "properties": {}})
    context: Any = None
    assert asyncio.run(ask(context, url)) == types.ElicitResult(action="accept", content=None)
    assert asyncio.run(ask(context, form)) == types.ElicitResult(action="accept", content={"answer": "Ada"})
