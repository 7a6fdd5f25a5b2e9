"""Functions as tools: what they are listed as, what they take and give."""

import functools
from dataclasses import dataclass
from typing import Annotated, Any

import mcp.types as types
import pytest
from mcp.server.mcpserver.utilities.types import Image
from mcp.types import ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from isthmus.components.local import LocalServer
from isthmus.components.tools import FunctionTool, Tool, ToolResult, content_of
from isthmus.exceptions import ToolError
from tests.components.ways import every_way, meet, play, text


class Place(BaseModel):
    name: str
    size: int = 1


@dataclass
class Point:
    x: int
    y: int


def add(a: int, b: Annotated[int, "the second"] = 2) -> int:
    """Adds two numbers."""
    return a + b


async def where(place: Place, points: list[int]) -> Place:
    return Place(name=place.name, size=place.size + sum(points))


def fail(how: str) -> str:
    if how == "said":
        raise ToolError("It is raining.")
    raise RuntimeError("the secret is 42")


@every_way
def test_a_function_is_listed_and_called(way: str) -> None:
    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(add, tags={"sum", "basic"}, annotations=ToolAnnotations(read_only_hint=True)))
        async with meet(local, way) as client:
            (listed,) = (await client.list_tools()).tools
            assert (listed.name, listed.description) == ("add", "Adds two numbers.")
            assert listed.input_schema["properties"]["b"]["description"] == "the second"
            assert listed.input_schema["required"] == ["a"]
            assert listed.output_schema is not None and listed.output_schema["x-fastmcp-wrap-result"] is True
            assert listed.annotations is not None and listed.annotations.read_only_hint is True
            assert listed.meta is not None and listed.meta["_fastmcp"] == {"tags": ["basic", "sum"]}
            result = await client.call_tool("add", {"a": 1})
            assert (text(result), result.structured_content, result.is_error) == ("3", {"result": 3}, False)

    play(script())


@every_way
def test_models_are_read_and_given_as_objects(way: str) -> None:
    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(where))
        async with meet(local, way) as client:
            await client.list_tools()
            result = await client.call_tool("where", {"place": {"name": "here"}, "points": [1, 2]})
            assert result.structured_content == {"name": "here", "size": 4}
            assert text(result) == '{"name":"here","size":4}'

    play(script())


@every_way
@pytest.mark.parametrize("arguments", [{}, {"a": "one"}, {"a": 1, "c": 2}])
def test_what_a_function_does_not_take_is_an_error_of_the_call(way: str, arguments: dict[str, Any]) -> None:
    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(add))
        async with meet(local, way) as client:
            result = await client.call_tool("add", arguments)
            assert result.is_error and text(result).startswith("Error calling tool 'add': ")

    play(script())


@every_way
@pytest.mark.parametrize(
    ("how", "mask", "told"),
    [
        ("said", False, "It is raining."),
        ("said", True, "It is raining."),
        ("else", False, "Error calling tool 'fail': the secret is 42"),
        ("else", True, "Error calling tool 'fail'"),
    ],
)
def test_what_fails_is_told_or_masked(way: str, how: str, mask: bool, told: str) -> None:
    async def script() -> None:
        local = LocalServer("local", mask_error_details=mask)
        local.add(Tool.from_function(fail))
        async with meet(local, way) as client:
            result = await client.call_tool("fail", {"how": how})
            assert (result.is_error, text(result)) == (True, told)

    play(script())


@every_way
def test_an_unknown_tool_is_an_error_of_the_call(way: str) -> None:
    async def script() -> None:
        local = LocalServer("local")
        async with meet(local, way) as client:
            result = await client.call_tool("none", {})
            assert result.is_error and text(result).startswith("Unknown tool: 'none'")

    play(script())


GIVEN: list[tuple[Any, list[str]]] = [
    (None, []),
    ("text", ["text"]),
    ({"a": [1]}, ['{"a":[1]}']),
    ([1, 2], ["[1,2]"]),
    ([TextContent(text="block"), 1, "b"], ['[1,"b"]', "block"]),
    ([], []),
    (Point(1, 2), ['{"x":1,"y":2}']),
    (3.5, ["3.5"]),
]


@pytest.mark.parametrize(("given", "texts"), GIVEN)
def test_values_become_content(given: Any, texts: list[str]) -> None:
    assert [block.text for block in content_of(given) if isinstance(block, TextContent)] == texts


def test_images_become_content() -> None:
    (block,) = content_of(Image(data=b"\x89PNG", format="png"))
    assert isinstance(block, ImageContent) and block.mime_type == "image/png"


def test_a_serializer_makes_texts_of_what_is_none() -> None:
    assert content_of({"a": 1}, lambda value: f"<{value['a']}>") == [TextContent(text="<1>")]
    assert content_of("as it is", lambda value: "other") == [TextContent(text="as it is")]


def run(tool: Tool, **arguments: Any) -> ToolResult:
    given: list[ToolResult] = []

    async def script() -> None:
        given.append(await tool.run(arguments))

    play(script())
    return given[0]


def test_what_is_structured() -> None:
    def nothing() -> Any:
        return {"a": 1}

    def declared() -> Point:
        return Point(1, 2)

    def listed() -> list[Point]:
        return [Point(1, 2)]

    def own() -> ToolResult:
        return ToolResult("text", {"own": True})

    def official() -> types.CallToolResult:
        return types.CallToolResult(content=[TextContent(text="text")], structured_content={"own": 1})

    def blocks() -> list[TextContent]:
        return [TextContent(text="text")]

    structured = {
        fn.__name__: run(Tool.from_function(fn)).structured_content
        for fn in (nothing, declared, listed, own, official, blocks)
    }
    assert structured == {
        "nothing": {"a": 1},
        "declared": {"x": 1, "y": 2},
        "listed": {"result": [{"x": 1, "y": 2}]},
        "own": {"own": True},
        "official": {"own": 1},
        "blocks": None,
    }
    assert run(Tool.from_function(add, output_schema=None), a=1).structured_content is None


def test_arguments_are_excluded() -> None:
    tool = Tool.from_function(add, exclude_args=["b"])
    assert list(tool.parameters["properties"]) == ["a"]
    assert run(tool, a=1).structured_content == {"result": 3}
    with pytest.raises(ValidationError):
        run(tool, a=1, b=5)


def test_methods_and_objects_are_functions_too() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def more(self, by: int) -> int:
            """Counts."""
            self.count += by
            return self.count

        def __call__(self, by: int) -> int:
            return self.more(by)

    counter = Counter()
    assert run(Tool.from_function(counter.more), by=2).structured_content == {"result": 2}
    tool = Tool.from_function(counter)
    assert (tool.name, run(tool, by=3).structured_content) == ("Counter", {"result": 5})


def test_what_can_be_no_tool_is_refused() -> None:
    def many(*args: int) -> None: ...

    def named(**kwargs: int) -> None: ...

    with pytest.raises(ValueError, match="args"):
        Tool.from_function(many)
    with pytest.raises(ValueError, match="kwargs"):
        Tool.from_function(named)
    with pytest.raises(ValueError, match="name="):
        Tool.from_function(lambda: 1)
    with pytest.raises(ValueError, match="no argument"):
        Tool.from_function(add, exclude_args=["c"])
    with pytest.raises(ValueError, match="default"):
        Tool.from_function(add, exclude_args=["a"])
    with pytest.raises(ValueError, match="object"):
        Tool.from_function(add, output_schema={"type": "string"})


def test_a_result_needs_something() -> None:
    with pytest.raises(ValueError, match="content"):
        ToolResult()
    with pytest.raises(ValueError, match="object"):
        ToolResult(structured_content=[1])
    assert ToolResult(structured_content={"a": 1}).to_mcp_result() == ([TextContent(text='{"a":1}')], {"a": 1})
    assert ToolResult("a").to_mcp_result() == [TextContent(text="a")]


def test_a_class_of_its_own_is_a_tool() -> None:
    class Shout(Tool):
        volume: int = Field(default=1)

        async def run(self, arguments: dict[str, Any]) -> ToolResult:
            return ToolResult(arguments["text"].upper() + "!" * self.volume)

    async def script() -> None:
        local = LocalServer("local")
        local.add(Shout(name="shout", parameters={"type": "object"}, volume=2))
        async with meet(local, "engine-modern") as client:
            assert text(await client.call_tool("shout", {"text": "hi"})) == "HI!!"

    play(script())


def test_equal_and_shown() -> None:
    tool = Tool.from_function(add)
    assert tool == Tool.from_function(add) and tool != Tool.from_function(add, name="plus")
    assert repr(tool) == (
        "FunctionTool(name='add', title=None, description='Adds two numbers.', tags=set(), enabled=True)"
    )
    assert isinstance(tool, FunctionTool)


def test_a_wrapped_function_keeps_its_signature() -> None:
    @functools.wraps(add)
    def wrapped(*args: Any, **kwargs: Any) -> int:
        return add(*args, **kwargs)

    assert run(Tool.from_function(wrapped), a=1).structured_content == {"result": 3}


def test_a_keyword_that_there_is_not_is_refused() -> None:
    wrong: Any = {"titel": "Wrong"}
    with pytest.raises(TypeError, match="titel="):
        Tool.from_function(add, **wrong)
