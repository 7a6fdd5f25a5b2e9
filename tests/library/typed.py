"""A user's file that uses the whole public API. It is not run: strict type checking has to let it pass."""

import datetime
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, assert_type

from mcp.types import CallToolResult as OfficialResult
from mcp.types import (
    CompleteResult,
    Completion,
    CreateMessageResult,
    GetPromptResult,
    ListToolsResult,
    PromptReference,
    ToolAnnotations,
)
from mcp.types import Prompt as OfficialPrompt
from mcp.types import Resource as OfficialResource
from mcp.types import Tool as OfficialTool

from isthmus import (
    Access,
    Client,
    Context,
    FastMCP,
    FastMCPProxy,
    Limits,
    MCPConfig,
    McpError,
    NotFoundError,
    PromptError,
    ProxyClient,
    ResourceError,
    StatefulProxyClient,
    ToolError,
    __version__,
    create_proxy,
    get_context,
    get_http_headers,
)
from isthmus.client.elicitation import ElicitRequestParams, ElicitResult
from isthmus.client.logging import LogMessage
from isthmus.client.messages import MessageHandler
from isthmus.client.results import CallToolResult
from isthmus.client.sampling import SamplingMessage, SamplingParams
from isthmus.client.transports import (
    FastMCPTransport,
    MCPConfigTransport,
    NodeStdioTransport,
    PythonStdioTransport,
    SSETransport,
    StdioTransport,
    StreamableHttpTransport,
)
from isthmus.components.prompts import Prompt
from isthmus.components.resources import Resource
from isthmus.components.templates import ResourceTemplate
from isthmus.components.tools import ProxyTool, Tool
from isthmus.components.transform import ArgTransform
from isthmus.mcp_config import RemoteMCPServer, StdioMCPServer
from isthmus.server.middleware import CallNext, Middleware, MiddlewareContext
from isthmus.server.proxy import default_proxy_roots_handler


class Verifier:
    async def verify_token(self, token: str) -> None:
        return None


access = Access(Verifier(), resource="https://a.example/mcp", authorization_servers=("https://b.example",))
server = FastMCP("Server", "Be kind.", version=__version__, auth=access, limits=Limits(call=10))


# -- components -------------------------------------------------------------------------------------------------------


@server.tool
def bare(a: int, b: str = "") -> int:
    return a


@server.tool("named", description="Named.", tags={"x"}, annotations=ToolAnnotations(read_only_hint=True))
async def named(context: Context) -> str:
    roots = await context.list_roots()
    answer = await context.elicit("Which?", response_type=str)
    if answer.action == "accept":
        assert_type(answer.data, str)
    await context.info("hello", extra={"roots": len(roots)})
    await context.report_progress(1, 2, "half")
    context.set_state("key", 1)
    return context.request_id


@server.tool(name="called", enabled=False, meta={"k": 1})
def called() -> dict[str, str]:
    assert_type(get_context(), Context)
    return get_http_headers()


@server.resource("data://x", name="x", mime_type="text/plain")
def resource() -> str:
    return "x"


@server.resource("data://{name}/y")
def template(name: str) -> bytes:
    return name.encode()


@server.prompt
def prompt(name: str) -> str:
    return name


@server.prompt(name="other", title="Other", tags={"p"})
def other_prompt() -> str:
    return ""


assert_type(bare, Tool)
assert_type(named, Tool)
assert_type(prompt, Prompt)
assert_type(resource, Resource | ResourceTemplate)


class Stopwatch(Middleware):
    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext) -> Any:
        return await call_next(context)


server.add_middleware(Stopwatch())


async def components(proxy: FastMCP) -> None:
    assert_type(await proxy.get_tools(), dict[str, Tool])
    assert_type(await proxy.get_resources(), dict[str, Resource])
    assert_type(await proxy.get_resource_templates(), dict[str, ResourceTemplate])
    assert_type(await proxy.get_prompts(), dict[str, Prompt])
    copy = (await proxy.get_tool("x")).copy()
    assert_type(copy, Tool)
    copy.name, copy.description, copy.tags = "y", None, {"z"}
    copy.disable()
    copy.enable()
    if isinstance(copy, ProxyTool):
        assert_type(copy.hide("a").fix(b=1), ProxyTool)
    assert_type(server.add_tool(copy), Tool)
    server.add_tool(Tool.from_tool(copy, name="z", transform_args={"a": ArgTransform(name="b")}))
    server.add_tool(Tool.from_function(lambda: 1, name="one"))
    server.add_resource((await proxy.get_resource("data://x")).copy())
    server.add_template((await proxy.get_resource_template("data://{y}")).copy())
    server.add_prompt((await proxy.get_prompt("p")).copy())
    server.remove_tool("z")
    server.remove_resource("data://x")
    server.remove_template("data://{y}")
    server.remove_prompt("p")


# -- proxies ----------------------------------------------------------------------------------------------------------


async def sample(messages: list[SamplingMessage], params: SamplingParams, context: object) -> CreateMessageResult:
    return await ProxyClient.default_sampling_handler(messages, params, context)


async def elicit(
    message: str, response_type: type[Any], params: ElicitRequestParams, context: object
) -> ElicitResult[Any]:
    return await ProxyClient.default_elicitation_handler(message, response_type, params, context)


async def log(message: LogMessage) -> None:
    await ProxyClient.default_log_handler(message)


async def report(progress: float, total: float | None, message: str | None) -> None:
    await ProxyClient.default_progress_handler(progress, total, message)


def proxies() -> list[FastMCPProxy]:
    backend = ProxyClient(
        "backend.py",
        roots=default_proxy_roots_handler,
        sampling_handler=sample,
        elicitation_handler=elicit,
        log_handler=log,
        progress_handler=report,
    )
    silent = ProxyClient(Path("backend.py"), sampling_handler=None, log_handler=None)
    stateful = StatefulProxyClient(["server", "--fast"])
    config = MCPConfig(
        mcpServers={"a": StdioMCPServer(command="a", args=["b"]), "b": RemoteMCPServer(url="https://a.example/mcp")}
    )
    return [
        FastMCP.as_proxy(backend, name="Proxy", isolation="session"),
        FastMCP.as_proxy(silent),
        FastMCP.as_proxy(server),
        FastMCP.as_proxy(config),
        FastMCP.as_proxy({"mcpServers": {"a": {"command": "a"}}}),
        FastMCP.as_proxy("https://a.example/mcp", headers={"X": "y"}, forward_incoming_headers=["x-user"]),
        FastMCPProxy(client_factory=lambda: ProxyClient("https://a.example/mcp")),
        FastMCPProxy(client_factory=stateful.new_stateful, name="Stateful"),
        create_proxy(StreamableHttpTransport("https://a.example/mcp", auth="token")),
    ]


async def composed(main: FastMCP, proxy: FastMCPProxy) -> None:
    main.mount(proxy, prefix="a")
    main.mount(proxy, namespace="b")
    await main.import_server(proxy, prefix="c")
    await main.run_async("http", host="127.0.0.1", port=8000, path="/mcp")
    app = main.http_app(path="/mcp", transport="sse")
    await app({}, _receive, _send)


async def _receive() -> MutableMapping[str, Any]:
    return {}


async def _send(message: MutableMapping[str, Any]) -> None: ...


def run(main: FastMCP) -> None:
    main.run()
    main.run(transport="stdio")
    main.run(transport="streamable-http", host="127.0.0.1", port=8000)
    main.run("sse", port=8000)


# -- clients ----------------------------------------------------------------------------------------------------------


class Listener(MessageHandler):
    async def on_tool_list_changed(self, message: object) -> None:
        print(message)


async def clients() -> None:
    client = Client(
        "https://a.example/mcp",
        roots=["file:///a"],
        sampling_handler=sample,
        elicitation_handler=elicit,
        log_handler=log,
        message_handler=Listener(),
        progress_handler=report,
        timeout=datetime.timedelta(seconds=5),
        init_timeout=10,
        auth="token",
        mode="modern",
    )
    async with client:
        assert_type(client.is_connected(), bool)
        assert_type(client.initialize_result.server_info.name, str)
        await requests(client)
    assert_type(Client(StdioTransport("a", ["b"], keep_alive=True)), Client[StdioTransport])
    assert_type(Client(PythonStdioTransport("a.py")).new(), Client[PythonStdioTransport])
    assert_type(Client(SSETransport("https://a.example/sse", headers={})), Client[SSETransport])
    Client(NodeStdioTransport("a.js"))
    Client(FastMCPTransport(server))
    Client(MCPConfigTransport({"a": {"command": "a"}}))
    Client(server)


async def requests(client: Client[Any]) -> None:
    assert_type(await client.list_tools(), list[OfficialTool])
    assert_type(await client.list_tools_mcp(), ListToolsResult)
    assert_type(await client.list_resources(), list[OfficialResource])
    assert_type(await client.list_prompts(), list[OfficialPrompt])
    for template in await client.list_resource_templates():
        assert_type(template.uri_template, str)
    try:
        result = await client.call_tool("x", {"a": 1}, timeout=5, progress_handler=report, meta={"k": "v"})
        assert_type(result, CallToolResult)
        print(result.data, result.structured_content, result.is_error, result.content, result.meta)
        assert_type(await client.call_tool_mcp("x", {}), OfficialResult)
        for content in await client.read_resource("data://x"):
            print(content.uri)
        assert_type(await client.get_prompt("p", {"name": "y"}), GetPromptResult)
    except (ToolError, ResourceError, PromptError, NotFoundError) as error:
        print(error)
    except McpError as error:
        print(error.code, error.message, error.data)
    reference = PromptReference(name="p")
    assert_type(await client.complete(reference, {"name": "a", "value": "b"}), Completion)
    assert_type(await client.complete_mcp(reference, {"name": "a", "value": "b"}), CompleteResult)
    assert_type(await client.ping(), bool)
    await client.set_logging_level("warning")
    await client.subscribe_resource("data://x")
    await client.unsubscribe_resource("data://x")
    async with client.listen(tools_list_changed=True, resource_subscriptions=["data://x"]) as events:
        async for event in events:
            print(event)
    await client.cancel("1", "never mind")
    await client.send_roots_list_changed()
    client.set_roots(["file:///b"])
    client.set_sampling_callback(sample)
    client.set_elicitation_callback(elicit)
    await client.close()
