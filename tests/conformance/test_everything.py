"""The everything server itself, as its two transports and two eras show it."""

import json
import subprocess
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal

import anyio
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.context import ClientRequestContext
from mcp.client.subscriptions import Subscription
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged

from .client import answer_prompt, fill_form, text_of
from .processes import EVERYTHING, everything, listening

Mode = Literal["auto", "legacy"]
WATCHED = "test://watched-resource"


@pytest.fixture(scope="module")
def http_url() -> Iterator[str]:
    with listening(everything) as url:
        yield url


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, http_url: str) -> str | StdioServerParameters:
    if request.param == "http":
        return http_url
    return StdioServerParameters(command=EVERYTHING[0], args=EVERYTHING[1:])


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return "auto" if request.param == "auto" else "legacy"


class Heard:
    """What a client was told without having asked."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.logs: list[tuple[str, Any]] = []
        self.progress: list[tuple[float, float | None]] = []
        self._news = anyio.Event()

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    async def on_message(self, message: object) -> None:
        if isinstance(message, types.Notification):
            self.methods.append(message.method)
            self._tell()

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append((params.level, params.data))
        self._tell()

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total))

    async def until(self, so: Callable[[], bool]) -> None:
        with anyio.fail_after(5):
            while not so():
                await self._news.wait()

    async def wait_for(self, method: str) -> None:
        await self.until(lambda: method in self.methods)


async def give_roots(context: ClientRequestContext) -> types.ListRootsResult | types.ErrorData:
    return types.ListRootsResult(roots=[types.Root.model_validate({"uri": "file:///work", "name": "work"})])


def talk(server: str | StdioServerParameters, mode: Mode, steps: Callable[[Client, Heard], Awaitable[None]]) -> None:
    async def run() -> None:
        heard = Heard()
        async with Client(
            server,
            mode=mode,
            read_timeout_seconds=20,
            log_level="info",
            sampling_callback=answer_prompt,
            list_roots_callback=give_roots,
            elicitation_callback=fill_form,
            logging_callback=heard.on_log,
            message_handler=heard.on_message,
        ) as client:
            await steps(client, heard)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        anyio.run(run)


async def say(client: Client, name: str, **arguments: Any) -> str:
    return text_of(await client.call_tool(name, arguments))


def test_tools(server: str | StdioServerParameters, mode: Mode) -> None:
    async def steps(client: Client, heard: Heard) -> None:
        assert await say(client, "echo", text="hé") == "hé"
        assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"sum": 3.0}
        assert len(await say(client, "big", size=100_000)) == 100_000
        assert (await say(client, "add", a="one", b=2)).startswith("error: ")
        with pytest.raises(MCPError):
            await client.call_tool("no_such_tool", {})
        await client.call_tool("slow", {"seconds": 0.1, "steps": 4}, progress_callback=heard.on_progress)
        assert heard.progress == [(float(n), 4.0) for n in range(5)]
        shown = (await client.call_tool("show_media", {})).content
        assert [block.type for block in shown] == ["text", "image", "audio", "resource", "resource_link"]
        environment: Any = (await client.call_tool("env", {})).structured_content
        assert environment["cwd"] and "PATH" in environment["names"]

    talk(server, mode, steps)


def test_questions(server: str | StdioServerParameters, mode: Mode) -> None:
    async def steps(client: Client, heard: Heard) -> None:
        assert await say(client, "ask", question="Who?") == "accept: x"
        assert await say(client, "ask_url") == "accept"
        assert await say(client, "ask_model", prompt="Capital?") == "a-model: Paris"
        assert await say(client, "show_roots") == "file:///work work"
        assert await say(client, "test_input_required_result_multi_round") == "x likes x"
        assert await say(client, "test_input_required_result_multiple_inputs") == "3 answers"
        prompt = await client.get_prompt("test_input_required_result_prompt")
        assert prompt.messages[0].content == types.TextContent(text="Use this context: x")
        if mode == "legacy":
            await heard.wait_for("notifications/elicitation/complete")
            with pytest.raises(MCPError) as raised:
                await say(client, "ask_url", how="error")
            assert raised.value.error.code == types.URL_ELICITATION_REQUIRED

    talk(server, mode, steps)


def test_logs(server: str | StdioServerParameters, mode: Mode) -> None:
    async def steps(client: Client, heard: Heard) -> None:
        if mode == "legacy":
            await client.set_logging_level("info")
        for level in ("debug", "info", "error"):
            await say(client, "log_at", level=level, message=f"at {level}")
        await heard.until(lambda: len(heard.logs) >= 2)
        assert heard.logs == [("info", "at info"), ("error", "at error")]

    talk(server, mode, steps)


async def next_event(stream: Subscription) -> object:
    with anyio.fail_after(5):
        return await anext(aiter(stream))


def test_changes(server: str | StdioServerParameters, mode: Mode) -> None:
    async def modern(client: Client, heard: Heard) -> None:
        async with client.listen(
            tools_list_changed=True, prompts_list_changed=True, resource_subscriptions=[WATCHED]
        ) as stream:
            await say(client, "toggle_tool")
            assert await next_event(stream) == ToolsListChanged()
            await say(client, "toggle_prompt")
            assert await next_event(stream) == PromptsListChanged()
            await say(client, "touch_resource")
            assert await next_event(stream) == ResourceUpdated(uri=WATCHED)

    async def legacy(client: Client, heard: Heard) -> None:
        await client.subscribe_resource(WATCHED)
        await anyio.sleep(0.2)
        await say(client, "toggle_tool")
        await heard.wait_for("notifications/tools/list_changed")
        await say(client, "toggle_prompt")
        await heard.wait_for("notifications/prompts/list_changed")
        await say(client, "touch_resource")
        await heard.wait_for("notifications/resources/updated")
        heard.methods.clear()
        await client.unsubscribe_resource(WATCHED)
        await say(client, "touch_resource")
        await say(client, "echo", text="later")
        assert "notifications/resources/updated" not in heard.methods

    async def steps(client: Client, heard: Heard) -> None:
        before = {tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools}
        await (modern if mode == "auto" else legacy)(client, heard)
        after = {tool.name for tool in (await client.list_tools(cache_mode="refresh")).tools}
        assert before ^ after == {"toggled"}

    talk(server, mode, steps)


def test_content(server: str | StdioServerParameters, mode: Mode) -> None:
    async def steps(client: Client, heard: Heard) -> None:
        assert client.instructions
        read = await client.read_resource("test://template/7/data")
        assert isinstance(read.contents[0], types.TextResourceContents)
        assert json.loads(read.contents[0].text)["id"] == "7"
        reference = types.PromptReference(name="test_prompt_with_arguments")
        first = await client.complete(reference, {"name": "arg1", "value": "par"})
        assert first.completion.values == ["paris", "park", "party"]
        chosen = {"arg1": "park"}
        second = await client.complete(reference, {"name": "arg2", "value": "park-l"}, context_arguments=chosen)
        assert second.completion.values == ["park-left"]

    talk(server, mode, steps)


def test_it_ends_with_its_input() -> None:
    done = subprocess.run(EVERYTHING, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("code", [1, 3])
def test_it_can_crash(code: int) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "crash", "arguments": {"code": code}, "_meta": meta}
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}) + "\n"
    done = subprocess.run(EVERYTHING, input=call.encode(), capture_output=True, timeout=20, check=False)
    assert done.returncode == code
