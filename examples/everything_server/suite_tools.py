"""The tools the official conformance suite calls, under the names it gives them."""

from typing import Annotated, Any

import anyio
import mcp_types as types
from mcp.server.subscriptions import PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError
from pydantic import Field

from .core import Call, form, object_schema, roots, sampling
from .media import PNG, WAV
from .registry import tool

NAME = object_schema(name={"type": "string"})
OK = object_schema(ok={"type": "boolean"})


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def outcome(answer: types.ElicitResult) -> str:
    return f"action={answer.action}, content={answer.content or {}}"


@tool()
async def test_simple_text(call: Call) -> str:
    """Plain text."""
    return "This is a simple text response for testing."


@tool()
async def test_image_content(call: Call) -> types.ImageContent:
    """A picture."""
    return types.ImageContent(data=PNG, mime_type="image/png")


@tool()
async def test_audio_content(call: Call) -> types.AudioContent:
    """A sound."""
    return types.AudioContent(data=WAV, mime_type="audio/wav")


@tool()
async def test_embedded_resource(call: Call) -> types.EmbeddedResource:
    """A resource in the result itself."""
    return embedded("test://embedded-resource", "This is an embedded resource content.")


@tool()
async def test_multiple_content_types(call: Call) -> list[types.ContentBlock]:
    """Text, picture and resource in one result."""
    return [
        types.TextContent(text="Multiple content types test:"),
        types.ImageContent(data=PNG, mime_type="image/png"),
        embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ]


@tool()
async def test_tool_with_logging(call: Call) -> str:
    """Three log messages on the way."""
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log("info", message)
        await anyio.sleep(0.05)
    return "logged three times"


@tool()
async def test_logging_tool(call: Call) -> str:
    """One log message, for those who asked for logs."""
    await call.log("info", "test_logging_tool runs")
    return "logged"


@tool()
async def test_tool_with_progress(call: Call) -> str:
    """Progress 0, 50 and 100 of 100."""
    for done in (0, 50, 100):
        await call.progress(done, 100, f"Completed step {done} of 100")
        await anyio.sleep(0.05)
    return "done"


@tool()
async def test_error_handling(call: Call) -> str:
    """Always fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@tool()
async def test_sampling(call: Call, prompt: str) -> str:
    """Has the client's model answer."""
    answer = await call.ask_one(types.CreateMessageResult, "sample", sampling(prompt))
    text = answer.content.text if isinstance(answer.content, types.TextContent) else answer.content.type
    return f"LLM response: {text}"


@tool()
async def test_elicitation(call: Call, message: str) -> str:
    """Asks the user for a text."""
    schema = object_schema(response={"type": "string", "description": "User's response"})
    return f"User response: {outcome(await call.ask_one(types.ElicitResult, 'response', form(message, schema)))}"


@tool()
async def test_streaming_elicitation(call: Call) -> str:
    """Reports progress, then asks."""
    await call.progress(0, 1, "about to ask")
    return outcome(await call.ask_one(types.ElicitResult, "user_name", form("What is your name?", NAME)))


@tool()
async def test_elicitation_sep1034_defaults(call: Call) -> str:
    """Asks with a default for each primitive type."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        },
        "required": [],
    }
    answer = await call.ask_one(types.ElicitResult, "defaults", form("Please review the defaults", schema))
    return f"Elicitation completed: {outcome(answer)}"


@tool()
async def test_elicitation_sep1330_enums(call: Call) -> str:
    """Asks with every way to write an enum."""
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second"), 1)]
    schema = object_schema(
        untitledSingle={"type": "string", "enum": options},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": options}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    answer = await call.ask_one(types.ElicitResult, "enums", form("Please choose", schema))
    return f"Elicitation completed: {outcome(answer)}"


@tool()
async def test_x_mcp_header(
    call: Call,
    region: Annotated[str, Field(description="Also sent as a header", json_schema_extra={"x-mcp-header": "Region"})],
    limit: Annotated[int, Field(json_schema_extra={"x-mcp-header": "Limit"})] = 0,
) -> str:
    """Arguments that a modern client repeats in `Mcp-Param-*` headers."""
    return f"region={region} limit={limit}"


@tool()
async def test_missing_capability(call: Call) -> str:
    """Needs a client with sampling."""
    if call.capabilities.sampling is None:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This needs the client's sampling",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return "The client has sampling."


@tool()
async def test_input_required_result_elicitation(call: Call) -> str:
    """Asks for a name."""
    answer = await call.ask_one(types.ElicitResult, "user_name", form("What is your name?", NAME))
    return f"Hello, {(answer.content or {}).get('name', 'stranger')}!"


@tool()
async def test_input_required_result_sampling(call: Call) -> str:
    """Asks the model for a capital."""
    question = sampling("What is the capital of France?")
    answer = await call.ask_one(types.CreateMessageResult, "capital_question", question)
    return answer.content.text if isinstance(answer.content, types.TextContent) else answer.content.type


@tool()
async def test_input_required_result_list_roots(call: Call) -> str:
    """Asks for the roots."""
    answer = await call.ask_one(types.ListRootsResult, "client_roots", roots())
    return "Roots: " + ", ".join(str(root.uri) for root in answer.roots)


@tool()
async def test_input_required_result_request_state(call: Call) -> str:
    """Asks for a confirmation, with state."""
    await call.ask_one(types.ElicitResult, "confirm", form("Please confirm", OK), keep=True)
    return "state-ok"


@tool()
async def test_input_required_result_tampered_state(call: Call) -> str:
    """Asks for a confirmation, with state that must come back as it went out."""
    await call.ask_one(types.ElicitResult, "confirm", form("Please confirm", OK), keep=True)
    return "state-ok"


@tool()
async def test_input_required_result_multiple_inputs(call: Call) -> str:
    """Asks for a name, a greeting and the roots at once."""
    answers = await call.ask(
        keep=True,
        user_name=form("What is your name?", NAME),
        greeting=sampling("Generate a greeting", 50),
        client_roots=roots(),
    )
    return f"{len(answers)} answers"


@tool()
async def test_input_required_result_multi_round(call: Call) -> str:
    """Asks for a name, then for a colour."""
    name = await call.ask_one(types.ElicitResult, "step1", form("Step 1: What is your name?", NAME), keep=True)
    colour = object_schema(color={"type": "string"})
    choice = await call.ask_one(types.ElicitResult, "step2", form("Step 2: What is your favorite color?", colour))
    return f"{(name.content or {}).get('name')} likes {(choice.content or {}).get('color')}"


@tool()
async def test_input_required_result_capabilities(call: Call) -> str:
    """Asks only what the client can answer."""
    wanted: dict[str, types.InputRequest] = {
        "name": form("What is your name?", NAME),
        "hello": sampling("Say hello", 50),
    }
    answers = await call.ask(keep=True, **{key: request for key, request in wanted.items() if call.can(request)})
    return f"{len(answers)} answers"


@tool(
    schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }
)
async def json_schema_2020_12_tool(call: Call) -> str:
    """A schema with the words of JSON Schema 2020-12."""
    return "json_schema_2020_12_tool"


@tool()
async def test_reconnection(call: Call) -> str:
    """Ends its own stream half-way; the rest comes when the client reconnects."""
    await call.log("info", "Before the stream ends")
    if call.ctx.close_sse_stream is not None:
        await call.ctx.close_sse_stream()
    await anyio.sleep(0.2)
    await call.log("info", "After the stream ended")
    return "Reconnection test completed"


@tool()
async def test_trigger_tool_change(call: Call) -> str:
    """Announces a change of the tools."""
    await call.world.announce(ToolsListChanged())
    return "announced"


@tool()
async def test_trigger_prompt_change(call: Call) -> str:
    """Announces a change of the prompts."""
    await call.world.announce(PromptsListChanged())
    return "announced"
