"""The client with servers of both eras, on every transport, in every mode: all that it can ask, and all it is asked."""

import asyncio
import dataclasses
from typing import Any

import pytest
from mcp import types
from mcp.shared.subscriptions import ResourceUpdated

from isthmus import Client
from isthmus.client.connection import Mode
from isthmus.exceptions import McpError, ToolError
from tests.client.backs import BACKS, EVERYTHING_MEMORY, EVERYTHING_STDIO, MODES, SDK1_STDIO, Back, opened

WITHIN = 40
# the server in this process is told so when it logs or asks; it serves both eras
pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


class User:
    """Handlers, and what they were called with."""

    def __init__(self) -> None:
        self.logged: list[types.LoggingMessageNotificationParams] = []
        self.progress: list[tuple[float, float | None]] = []
        self.asked: list[tuple[str, Any]] = []
        self.heard: list[Any] = []
        self.news = asyncio.Event()

    async def sample(self, messages: list[types.SamplingMessage], params: Any, context: Any) -> str:
        block = messages[0].content
        assert isinstance(block, types.TextContent)
        assert params.maxTokens == params.max_tokens
        assert context.session is not None
        return f"said to {block.text}"

    async def elicit(self, message: str, response_type: Any, params: Any, context: Any) -> Any:
        self.asked.append((message, response_type))
        field = dataclasses.fields(response_type)[0].name
        assert params.requestedSchema["properties"]
        return response_type(**{field: "Ada"})

    async def log(self, message: types.LoggingMessageNotificationParams) -> None:
        self.logged.append(message)
        self.news.set()

    async def hear(self, message: Any) -> None:
        self.heard.append(message)
        self.news.set()

    async def follow(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total))

    def client(self, target: Any, mode: Any) -> Client[Any]:
        return Client(
            target,
            roots=lambda context: ["file:///home/ada"],
            sampling_handler=self.sample,
            elicitation_handler=self.elicit,
            log_handler=self.log,
            message_handler=self.hear,
            progress_handler=self.follow,
            mode=mode,
        )

    async def wait(self, count: int, of: list[Any]) -> None:
        while len(of) < count:
            self.news.clear()
            await self.news.wait()


def text(result: Any) -> str:
    return str(result.content[0].text)


@pytest.mark.parametrize("back", BACKS, ids=lambda back: back.name)
def test_every_request_and_every_handler(back: Back) -> None:
    async def use(target: Any, mode: Mode) -> None:
        user = User()
        async with asyncio.timeout(WITHIN), user.client(target, mode) as client:
            is_modern = back.is_modern if mode == "auto" else mode == "modern"
            assert client.initialize_result.protocol_version == ("2026-07-28" if is_modern else "2025-11-25")
            await lists(client)
            await calls(client, user)
            await reads(client, back, user)

    with opened(back) as target:
        for mode in MODES:
            asyncio.run(use(target, mode))  # type: ignore[arg-type]


async def lists(client: Client[Any]) -> None:
    """Lists of many pages come whole."""
    assert await client.ping() is True
    tools = await client.list_tools()
    assert {"add", "echo", "ask"} <= {tool.name for tool in tools}
    assert len(tools) > len((await client.list_tools_mcp()).tools)
    assert await client.list_resources()
    assert await client.list_resource_templates()
    assert await client.list_prompts()


async def calls(client: Client[Any], user: User) -> None:
    added = await client.call_tool("add", {"a": 1, "b": 2})
    assert added.data.sum == 3
    assert added.structured_content == {"sum": 3}
    assert (await client.call_tool_mcp("add", {"a": 1, "b": 2})).structured_content == {"sum": 3}
    assert text(await client.call_tool("ask")) == "accept: Ada"
    assert dataclasses.is_dataclass(user.asked[0][1])
    assert text(await client.call_tool("ask_model", {"prompt": "Bea"})).endswith("said to Bea")
    assert "file:///home/ada" in text(await client.call_tool("show_roots"))
    own: list[float] = []

    async def follow(progress: float, total: float | None, message: str | None) -> None:
        own.append(progress)

    await client.call_tool("slow", {"seconds": 0.1, "steps": 2})
    assert user.progress[-1] == (2.0, 2.0)
    heard = len(user.progress)
    await client.call_tool("slow", {"seconds": 0.1, "steps": 2}, progress_handler=follow)
    assert own[-1] == 2
    assert len(user.progress) == heard
    await client.set_logging_level("warning")
    await client.call_tool("log_at", {"level": "info", "message": "too low"})
    await client.call_tool("log_at", {"level": "warning", "message": "look"})
    await user.wait(1, user.logged)
    assert [message.level for message in user.logged] == ["warning"]


async def reads(client: Client[Any], back: Back, user: User) -> None:
    contents = await client.read_resource(back.note)
    assert isinstance(contents[0], types.TextResourceContents)
    name, arguments = back.prompt
    prompt = await client.get_prompt(name, arguments)
    assert "Ada" in prompt.messages[0].content.text  # type: ignore[union-attr]
    template = (await client.list_resource_templates())[0].uri_template
    ref = types.ResourceTemplateReference(type="ref/resource", uri=template)
    completion = await client.complete(ref, {"name": "id", "value": ""})
    assert isinstance(completion.values, list)
    async with client.listen(resource_subscriptions=[back.watched]) as events:
        await client.call_tool(back.touch)
        assert await anext(events) == ResourceUpdated(uri=back.watched)
    await client.subscribe_resource(back.watched)
    updated = [each for each in user.heard if isinstance(each, types.ResourceUpdatedNotification)]
    await client.call_tool(back.touch)
    while len([each for each in user.heard if isinstance(each, types.ResourceUpdatedNotification)]) == len(updated):
        user.news.clear()
        await user.news.wait()
    await client.unsubscribe_resource(back.watched)


@pytest.mark.parametrize("mode", MODES)
def test_what_fails_raises(mode: Mode) -> None:
    async def use(target: Any) -> None:
        async with asyncio.timeout(WITHIN), Client(target, mode=mode) as client:
            with pytest.raises(ToolError, match="intentionally returns an error"):
                await client.call_tool("test_error_handling")
            failed = await client.call_tool("test_error_handling", raise_on_error=False)
            assert failed.is_error
            with pytest.raises(McpError):
                await client.read_resource("test://nowhere")
            with pytest.raises(ValueError, match="no URI"):
                await client.read_resource("nowhere")
            with pytest.raises(McpError):
                await client.call_tool("slow", {"seconds": 30, "steps": 1}, timeout=0.2)
            with pytest.raises((ToolError, McpError)):
                await client.call_tool("ask")  # nobody can be asked

    with opened(EVERYTHING_MEMORY) as target:
        asyncio.run(use(target))


@pytest.mark.parametrize("mode", MODES)
def test_a_handler_that_fails_is_an_answer(mode: Mode) -> None:
    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
        raise ValueError("the user is asleep")

    async def use(target: Any) -> None:
        async with asyncio.timeout(WITHIN), Client(target, elicitation_handler=elicit, mode=mode) as client:
            with pytest.raises((ToolError, McpError), match="the user is asleep"):
                await client.call_tool("ask")

    with opened(EVERYTHING_MEMORY) as target:
        asyncio.run(use(target))


@pytest.mark.parametrize(
    ("back", "mode"),
    [(EVERYTHING_STDIO, "auto"), (EVERYTHING_STDIO, "legacy"), (SDK1_STDIO, "auto"), (SDK1_STDIO, "legacy")],
    ids=lambda each: getattr(each, "name", each),
)
def test_calls_of_one_client_run_side_by_side(back: Back, mode: Mode) -> None:
    """A question's handler may call the server again. (Of modern clients of a legacy server each waits its turn: its
    questions don't say whose they are.)"""

    async def use(target: Any) -> None:
        async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
            answer = await client.call_tool("echo", {"text": "Ada"})
            return {dataclasses.fields(response_type)[0].name: text(answer)}

        async with asyncio.timeout(WITHIN), Client(target, elicitation_handler=elicit, mode=mode) as client:
            answers = await asyncio.gather(*(client.call_tool("ask") for _ in range(3)))
            assert [text(answer) for answer in answers] == ["accept: Ada"] * 3

    with opened(back) as target:
        asyncio.run(use(target))
