"""Prompts, resources and completion."""

import json
import re

import mcp_types as types
from mcp.shared.exceptions import MCPError

from .core import Call, World, form, object_schema
from .media import ICON, PNG
from .registry import PROMPTS, prompt, said
from .suite_tools import embedded

TEMPLATE = re.compile(r"^test://template/([^/]+)/data$")
IDS = ("123", "124", "200", "alpha", "beta")
WORDS = {"arg1": ("paris", "park", "party"), "arg2": ("left", "right")}


@prompt(title="A simple prompt")
async def test_simple_prompt(call: Call, arguments: dict[str, str]) -> list[types.PromptMessage]:
    """One message, no arguments."""
    return said("This is a simple prompt for testing.")


@prompt(
    types.PromptArgument(name="arg1", description="First test argument", required=True),
    types.PromptArgument(name="arg2", description="Second test argument", required=True),
)
async def test_prompt_with_arguments(call: Call, arguments: dict[str, str]) -> list[types.PromptMessage]:
    """Puts two arguments in a message."""
    return said(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'")


@prompt(types.PromptArgument(name="resourceUri", description="URI of the resource to embed", required=True))
async def test_prompt_with_embedded_resource(call: Call, arguments: dict[str, str]) -> list[types.PromptMessage]:
    """Embeds a resource."""
    resource = embedded(arguments["resourceUri"], "Embedded resource content for testing.")
    return said(resource, "Please process the embedded resource above.")


@prompt()
async def test_prompt_with_image(call: Call, arguments: dict[str, str]) -> list[types.PromptMessage]:
    """Shows a picture."""
    return said(types.ImageContent(data=PNG, mime_type="image/png"), "Please analyze the image above.")


@prompt()
async def test_input_required_result_prompt(call: Call, arguments: dict[str, str]) -> list[types.PromptMessage]:
    """Asks the user for a context first."""
    question = form("What context should the prompt use?", object_schema(context={"type": "string"}))
    answer = await call.ask_one(types.ElicitResult, "user_context", question)
    return said(f"Use this context: {(answer.content or {}).get('context', 'none')}")


TOGGLED_PROMPT = types.Prompt(name="toggled_prompt", description="Here while `toggle_prompt` has it so.")

RESOURCES = [
    types.Resource(
        uri="test://static-text",
        name="static-text",
        title="Static text",
        description="Text that stays the same",
        mime_type="text/plain",
        annotations=types.Annotations(audience=["user", "assistant"], priority=0.8),
        icons=[ICON],
    ),
    types.Resource(uri="test://static-binary", name="static-binary", description="A picture", mime_type="image/png"),
    types.Resource(
        uri="test://watched-resource", name="watched-resource", description="Text to watch", mime_type="text/plain"
    ),
]

TEMPLATES = [
    types.ResourceTemplate(
        uri_template="test://template/{id}/data",
        name="template",
        description="Data by its id",
        mime_type="application/json",
    )
]


def read(world: World, uri: str) -> types.TextResourceContents | types.BlobResourceContents:
    match uri:
        case "test://static-text":
            text = "This is the content of the static text resource."
            return types.TextResourceContents(uri=uri, mime_type="text/plain", text=text)
        case "test://static-binary":
            return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
        case "test://watched-resource":
            text = f"Watched resource content, touched {world.touches} times"
            return types.TextResourceContents(uri=uri, mime_type="text/plain", text=text)
    found = TEMPLATE.match(uri)
    if found is None:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", data={"uri": uri})
    data = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
    return types.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(data))


def complete(params: types.CompleteRequestParams) -> types.Completion:
    argument = params.argument
    if isinstance(params.ref, types.PromptReference):
        if params.ref.name not in PROMPTS:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.ref.name}")
        words = WORDS.get(argument.name, ())
        chosen = (params.context.arguments or {}) if params.context else {}
        if argument.name == "arg2" and "arg1" in chosen:
            words = tuple(f"{chosen['arg1']}-{word}" for word in words)
    else:
        words = IDS if argument.name == "id" else ()
    values = [word for word in words if word.startswith(argument.value)]
    return types.Completion(values=values, total=len(values), has_more=False)
