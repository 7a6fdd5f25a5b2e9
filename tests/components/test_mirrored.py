"""Mirrored components and their copies, and tools made of tools."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mcp import Client

from isthmus.components.edits import edit_of
from isthmus.components.local import LocalServer
from isthmus.components.prompts import Prompt, ProxyPrompt
from isthmus.components.resources import ProxyResource, Resource
from isthmus.components.templates import ProxyTemplate, ResourceTemplate
from isthmus.components.tools import ProxyTool, Tool
from isthmus.components.transform import ArgTransform, TransformedTool
from isthmus.exceptions import ToolError
from isthmus.routing.choice import Edit
from tests.components.ways import every_way, meet, play, text

if TYPE_CHECKING:
    from isthmus.components.component import Component


class Caller:
    """What reaches the back: a client that is open already."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __aenter__(self) -> "Caller":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def call_tool_mcp(self, name: str, arguments: dict[str, Any]) -> Any:
        return await self._client.call_tool(name, arguments)

    async def read_resource(self, uri: str) -> Any:
        return (await self._client.read_resource(uri)).contents

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        return await self._client.get_prompt(name, arguments)


def greet(name: str, loud: bool = False, sign: str = ".") -> str:
    """Greets."""
    if not name:
        raise ToolError("Whom?")
    return (name.upper() if loud else name) + sign


@asynccontextmanager
async def mirrored() -> AsyncIterator[dict[str, Any]]:
    """A component of each kind, of a back."""
    back = LocalServer("back")
    back.add(Tool.from_function(greet, title="Greet", tags={"t"}))
    back.add(Resource.from_function(lambda: b"\x01", "a://one", name="one", mime_type="image/png"))
    back.add(ResourceTemplate.from_function(lambda x: x, "b://{x}", name="of"))
    back.add(Prompt.from_function(greet))
    async with meet(back, "engine-modern") as client:
        caller = Caller(client)
        (tool,) = (await client.list_tools()).tools
        (resource,) = (await client.list_resources()).resources
        (template,) = (await client.list_resource_templates()).resource_templates
        (prompt,) = (await client.list_prompts()).prompts
        yield {
            "tools": ProxyTool.from_mcp_tool(caller, tool, "back"),
            "resources": ProxyResource.from_mcp_resource(caller, resource, "back"),
            "resourceTemplates": ProxyTemplate.from_mcp_template(caller, template, "back"),
            "prompts": ProxyPrompt.from_mcp_prompt(caller, prompt, "back"),
        }


def test_they_say_what_the_back_says() -> None:
    async def script() -> None:
        async with mirrored() as made:
            tool = made["tools"]
            assert (tool.name, tool.title, tool.description, tool.tags) == ("greet", "Greet", "Greets.", {"t"})
            assert tool.parameters["required"] == ["name"] and tool.output_schema["x-fastmcp-wrap-result"]
            assert made["resources"].mime_type == "image/png" and str(made["resources"].uri) == "a://one"
            assert [each.name for each in made["prompts"].arguments] == ["name", "loud", "sign"]
            for kind, each in made.items():
                assert (each.mirror.kind, each.mirror.member) == (kind, "back")

    play(script())


def test_they_run_at_the_back() -> None:
    async def script() -> None:
        async with mirrored() as made:
            for each in (made, {kind: each.copy() for kind, each in made.items()}):
                assert text(await each["tools"].run({"name": "ada"})) == "ada."
                assert await each["resources"].read() == b"\x01"
                assert await each["resourceTemplates"].read({"x": "y z"}) == "y z"
                (message,) = await each["prompts"].render({"name": "ada", "loud": "true"})
                assert message.content.text == "ADA."
                with pytest.raises(ToolError, match="Whom"):
                    await each["tools"].run({"name": ""})
            resource = await made["resourceTemplates"].create_resource("ignored://", {"x": "y"})
            assert (await resource.read(), str(resource.uri)) == ("y", "b://y")

    play(script())


CHANGES: list[Callable[[Any], object]] = [
    lambda component: component.enable(),
    lambda component: component.disable(),
    lambda component: setattr(component, "name", "other"),
    lambda component: setattr(component, "tags", {"x"}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_they_can_not_be_changed_but_their_copies_can(change: Callable[[Any], object]) -> None:
    async def script() -> None:
        async with mirrored() as made:
            for each in made.values():
                before = each.model_dump()
                with pytest.raises(RuntimeError, match=r"\.copy\(\)"):
                    change(each)
                change(each.copy())
                change(each.copy().model_copy())
                assert each.model_dump() == before

    play(script())


def test_arguments_are_hidden_and_fixed_of_copies_only() -> None:
    async def script() -> None:
        async with mirrored() as made:
            tool: ProxyTool = made["tools"]
            with pytest.raises(RuntimeError, match=r"\.copy\(\)"):
                tool.hide("sign")
            copy = tool.copy().hide("sign").fix(loud=True)
            assert list(copy.parameters["properties"]) == ["name"]
            assert list(tool.parameters["properties"]) == ["name", "loud", "sign"]
            assert text(await copy.run({"name": "ada", "loud": False, "sign": "!"})) == "ADA."
            assert edit_of(copy) == Edit(hidden=("sign",), fixed=(("loud", b"true"),))
            with pytest.raises(ValueError, match="needs the argument 'name'"):
                tool.copy().hide("name")
            with pytest.raises(ValueError, match="no argument 'other'"):
                tool.copy().fix(other=1)

    play(script())


def test_what_a_copy_changes_is_an_edit() -> None:
    async def script() -> None:
        async with mirrored() as made:
            for kind, each in made.items():
                copy: Component = each.copy()
                assert copy.changes() == {} and edit_of(copy) == Edit()
                copy.name, copy.title, copy.description, copy.tags = "other", "Other", "Others.", {"x"}
                assert edit_of(copy) == Edit(rename="other", title="Other", description="Others."), kind
                assert copy.mirror is not None and copy.mirror.own == each.mirror.own
                copy.meta = {"a": 1}
                assert edit_of(copy) is None
                assert copy.changes().keys() == {"name", "title", "description", "tags", "meta"}
            plain = made["tools"].copy()
            plain.description = None
            assert edit_of(plain) is None
            assert edit_of(Tool.from_function(greet)) is None

    play(script())


@every_way
def test_a_copy_is_of_the_server_that_it_is_added_to(way: str) -> None:
    async def script() -> None:
        async with mirrored() as made:
            local = LocalServer("local")
            for each in made.values():
                local.add(each.copy())
            renamed = made["tools"].copy()
            renamed.name = "hello"
            local.add(renamed.fix(sign="!"))
            async with meet(local, way) as client:
                assert [each.name for each in (await client.list_tools()).tools] == ["greet", "hello"]
                assert text(await client.call_tool("greet", {"name": "ada"})) == "ada."
                assert text(await client.call_tool("hello", {"name": "ada"})) == "ada!"
                assert (await client.call_tool("greet", {"name": ""})).is_error
                (content,) = (await client.read_resource("a://one")).contents
                assert content.mime_type == "image/png"
                assert (await client.read_resource("b://x")).contents[0].text == "x"  # type: ignore[union-attr]
                (message,) = (await client.get_prompt("greet", {"name": "ada"})).messages
                assert message.content.text == "ada."  # type: ignore[union-attr]

    play(script())


def test_a_deep_copy_still_reaches_the_back() -> None:
    async def script() -> None:
        async with mirrored() as made:
            copy = made["tools"].copy()
            LocalServer("local").add(copy)
            deep = copy.model_copy(deep=True)
            assert deep.mirror is copy.mirror and deep.on_change == [] and deep == copy
            assert text(await deep.run({"name": "ada"})) == "ada."

    play(script())


def test_the_names_of_version_1_can_be_read() -> None:
    async def script() -> None:
        async with mirrored() as made:
            listed: Any = made["tools"].to_mcp_tool()
            assert listed.inputSchema == listed.input_schema and listed.outputSchema == listed.output_schema
            other: Any = made["resources"].to_mcp_resource()
            assert other.mimeType == "image/png"
            template: Any = made["resourceTemplates"].to_mcp_template()
            assert template.uriTemplate == "b://{x}"

    play(script())


def test_a_uri_that_is_none_is_mirrored_too() -> None:
    async def script() -> None:
        async with mirrored() as made:
            listed = made["resources"].to_mcp_resource(uri="no uri")
            one = ProxyResource.from_mcp_resource(made["tools"].mirror.caller, listed)
            assert one.key == one.uri == "no uri" and one.copy().to_mcp_resource().uri == "no uri"

    play(script())


# -- tools made of tools ----------------------------------------------------------------------------------------------


@every_way
def test_a_tool_with_other_arguments(way: str) -> None:
    async def script() -> None:
        arguments = {
            "name": ArgTransform(name="who", description="whom to greet"),
            "loud": ArgTransform(default=True, description=None),
            "sign": ArgTransform(hide=True, default="?"),
        }
        made = Tool.from_tool(Tool.from_function(greet), name="hello", title="Hello", transform_args=arguments)
        local = LocalServer("local")
        local.add(made)
        async with meet(local, way) as client:
            (listed,) = (await client.list_tools()).tools
            assert (listed.name, listed.title, listed.description) == ("hello", "Hello", "Greets.")
            assert listed.input_schema["properties"] == {
                "who": {"title": "Name", "type": "string", "description": "whom to greet"},
                "loud": {"title": "Loud", "type": "boolean", "default": True},
            }
            assert listed.input_schema["required"] == ["who"]
            assert text(await client.call_tool("hello", {"who": "ada"})) == "ADA?"
            assert text(await client.call_tool("hello", {"who": "ada", "loud": False})) == "ada?"
            for refused in ({"name": "ada"}, {}, {"who": "ada", "sign": "!"}):
                assert (await client.call_tool("hello", refused)).is_error

    play(script())


def test_hidden_arguments_may_be_made_anew() -> None:
    async def script() -> None:
        signs = iter("abc")
        tool = Tool.from_function(greet)
        made = Tool.from_tool(tool, transform_args={"sign": ArgTransform(hide=True, default_factory=signs.__next__)})
        assert [text(await made.run({"name": "x"})) for _ in range(2)] == ["xa", "xb"]
        more = Tool.from_tool(
            tool,
            transform_args={"sign": ArgTransform(required=True), "loud": ArgTransform(type=int, examples=[1])},
        )
        assert more.parameters["required"] == ["name", "sign"]
        assert "default" not in more.parameters["properties"]["sign"]
        assert more.parameters["properties"]["loud"]["type"] == "integer"

    play(script())


def test_tools_made_of_mirrored_ones_are_edits_where_they_can_be() -> None:
    async def script() -> None:
        async with mirrored() as made:
            tool = made["tools"]
            hidden = Tool.from_tool(tool, name="hello", transform_args={"sign": ArgTransform(hide=True, default="!")})
            assert isinstance(hidden, TransformedTool)
            assert edit_of(hidden) == Edit(rename="hello", fixed=(("sign", b'"!"'),))
            hidden.disable()
            other = Tool.from_tool(tool, transform_args={"name": ArgTransform(name="who")})
            assert edit_of(other) is None and other.mirror is None
            assert text(await other.run({"who": "ada"})) == "ada."

    play(script())


def test_what_can_be_no_other_argument() -> None:
    tool = Tool.from_function(greet)
    refused: list[tuple[str, dict[str, ArgTransform]]] = [
        ("no argument 'none'", {"none": ArgTransform()}),
        ("needs the argument 'name'", {"name": ArgTransform(hide=True)}),
        ("called 'loud'", {"name": ArgTransform(name="loud")}),
    ]
    for why, arguments in refused:
        with pytest.raises(ValueError, match=why):
            Tool.from_tool(tool, transform_args=arguments)
    unknown: Any = {"transform_fn": greet}
    with pytest.raises(TypeError, match="transform_fn="):
        Tool.from_tool(tool, **unknown)
    for why, wrong in (
        ("either", {"default": 1, "default_factory": int}),
        ("hidden", {"default_factory": int}),
        ("required", {"required": True, "default": 1}),
        ("required", {"required": True, "hide": True}),
        ("required", {"required": False}),
    ):
        with pytest.raises(ValueError, match=why):
            ArgTransform(**wrong)
