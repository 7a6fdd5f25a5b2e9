"""The client that the conformance suite runs: `[--through stdio|http] [--mode auto|legacy] URL`.

The suite names the scenario and the revision in the environment. What was done goes to stdout as one JSON object.
"""

import argparse
import json
import os
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import anyio
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from .processes import ISTHMUS, isthmus_to, listening

Mode = Literal["auto", "legacy"]
Said = dict[str, Any]
Steps = Callable[[Client], Awaitable[Said]]

FILLERS: dict[str, Any] = {
    "string": "x",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "object": {},
    "array": [],
}


async def fill_form(
    context: ClientRequestContext, params: types.ElicitRequestParams
) -> types.ElicitResult | types.ErrorData:
    if isinstance(params, types.ElicitRequestURLParams):
        return types.ElicitResult(action="accept")
    properties: dict[str, dict[str, Any]] = params.requested_schema.get("properties", {})
    content = {name: given.get("default", FILLERS.get(given.get("type", ""))) for name, given in properties.items()}
    return types.ElicitResult(action="accept", content=content)


async def answer_prompt(
    context: ClientRequestContext, params: types.CreateMessageRequestParams
) -> types.CreateMessageResult | types.ErrorData:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="Paris"), model="a-model")


async def list_roots(context: ClientRequestContext) -> types.ListRootsResult | types.ErrorData:
    return types.ListRootsResult(roots=[])


def text_of(result: types.CallToolResult) -> str:
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return ("error: " if result.is_error else "") + "\n".join(texts)


def filled(schema: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    return {name: FILLERS.get(properties.get(name, {}).get("type", ""), "x") for name in schema.get("required", [])}


async def only_list(client: Client) -> Said:
    return {"tools": [tool.name for tool in (await client.list_tools()).tools]}


def call_in_order(*calls: tuple[str, dict[str, Any]]) -> Steps:
    async def steps(client: Client) -> Said:
        said = await only_list(client)
        return said | {"texts": [text_of(await client.call_tool(name, arguments)) for name, arguments in calls]}

    return steps


async def attempt(client: Client, name: str, arguments: dict[str, Any]) -> str:
    try:
        return text_of(await client.call_tool(name, arguments))
    except (MCPError, ValidationError) as error:
        return f"refused: {error}"


async def call_all(client: Client) -> Said:
    """Call each listed tool; one that is refused is noted, and the others are still called."""
    tools = (await client.list_tools()).tools
    texts = {tool.name: await attempt(client, tool.name, filled(tool.input_schema)) for tool in tools}
    return {"tools": list(texts), "texts": texts}


async def use_all(client: Client) -> Said:
    """Everything that is listed: tools, resources and prompts."""
    said = await call_all(client)
    resources = (await client.list_resources()).resources
    prompts = (await client.list_prompts()).prompts
    for resource in resources:
        await client.read_resource(resource.uri)
    for prompt in prompts:
        await client.get_prompt(prompt.name)
    return said | {"resources": [str(r.uri) for r in resources], "prompts": [p.name for p in prompts]}


async def several_rounds(client: Client) -> Said:
    """Calls that the server answers by asking; the last answer leaves its `resultType` out."""
    said = await only_list(client)
    names = ("test_mrtr_echo_state", "test_mrtr_unrelated", "test_mrtr_no_state", "test_mrtr_no_result_type")
    return said | {"texts": {name: await attempt(client, name, {}) for name in names}}


async def call_as_told(client: Client) -> Said:
    """The calls that the suite gives in its context, which hold the values that are hard to encode."""
    said = await only_list(client)
    calls = json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])["toolCalls"]
    texts = [text_of(await client.call_tool(call["name"], call["arguments"])) for call in calls]
    return said | {"texts": texts}


ADD = ("add_numbers", {"a": 5, "b": 3})
SCENARIOS: dict[str, Steps] = {
    "initialize": only_list,
    "json-schema-ref-no-deref": only_list,
    "tools_call": call_in_order(ADD),
    "request-metadata": call_in_order(ADD),
    "http-standard-headers": use_all,
    "elicitation-sep1034-client-defaults": call_in_order(("test_client_elicitation_defaults", {})),
    "sse-retry": call_in_order(("test_reconnection", {})),
    "sep-2322-client-request-state": several_rounds,
    "http-custom-headers": call_as_told,
    "http-invalid-tool-headers": call_all,
}
# This one is listed for 2026-07-28, but the suite's server for it speaks only the earlier handshake.
LEGACY_SERVER = {"json-schema-ref-no-deref"}


def mode_for(scenario: str, revision: str) -> Mode:
    return "auto" if revision in MODERN_PROTOCOL_VERSIONS and scenario not in LEGACY_SERVER else "legacy"


@contextmanager
def reached(url: str, through: str) -> Iterator[str | StdioServerParameters]:
    """What to connect to, so that the server at `url` answers."""
    if through == "stdio":
        yield StdioServerParameters(command=ISTHMUS, args=["run", url])
    elif through == "http":
        with listening(isthmus_to(url)) as proxied:
            yield proxied
    else:
        yield url


async def run(server: str | StdioServerParameters, mode: Mode, steps: Steps) -> Said:
    async with Client(
        server,
        mode=mode,
        read_timeout_seconds=20,
        sampling_callback=answer_prompt,
        list_roots_callback=list_roots,
        elicitation_callback=fill_form,
    ) as client:
        said = await steps(client)
        return said | {"revision": client.protocol_version}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--through", choices=["nothing", "stdio", "http"], default="nothing")
    parser.add_argument("--mode", choices=["auto", "legacy"])
    parser.add_argument("url")
    options = parser.parse_args()
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    mode = options.mode or mode_for(scenario, os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"])
    with reached(options.url, options.through) as server:
        said = anyio.run(run, server, mode, SCENARIOS[scenario])
    print(json.dumps({"scenario": scenario} | said))


if __name__ == "__main__":
    main()
