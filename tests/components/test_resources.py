"""Resources and templates: what they contain, and which URI is of which."""

from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import BlobResourceContents, TextResourceContents
from pydantic import AnyUrl

from isthmus.components.context import Context
from isthmus.components.local import LocalServer
from isthmus.components.resources import (
    BinaryResource,
    DirectoryResource,
    FileResource,
    FunctionResource,
    Resource,
    TextResource,
)
from isthmus.components.templates import ResourceTemplate, expand, match_uri_template
from isthmus.exceptions import ResourceError
from tests.components.ways import every_way, meet, play


async def read(client: Any, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert content.uri == uri
    if isinstance(content, BlobResourceContents):
        return f"{content.mime_type} {content.blob}"
    assert isinstance(content, TextResourceContents)
    return f"{content.mime_type} {content.text}"


@every_way
def test_what_they_contain(way: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("in a file")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.bin").write_bytes(b"\x00")

    def counted(ctx: Context) -> dict[str, str]:
        """Counts."""
        return {"of": ctx.fastmcp.name}

    async def script() -> None:
        local = LocalServer("local")
        local.add(Resource.from_function(counted, "data://counted", mime_type="application/json", tags={"x"}))
        local.add(TextResource(uri=AnyUrl("data://text"), text="a text"))
        local.add(BinaryResource(uri=AnyUrl("data://bytes"), data=b"\x01", mime_type="image/png"))
        local.add(FileResource(uri=AnyUrl("file:///a.txt"), path=tmp_path / "a.txt"))
        binary = FileResource(uri=AnyUrl("file:///b.bin"), path=tmp_path / "below/b.bin", mime_type="image/png")
        local.add(binary)
        local.add(DirectoryResource(uri=AnyUrl("file:///all"), path=tmp_path, recursive=True))
        async with meet(local, way) as client:
            listed = {each.uri: each for each in (await client.list_resources()).resources}
            assert len(listed) == 6
            one = listed["data://counted"]
            assert (one.name, one.description, one.mime_type) == ("counted", "Counts.", "application/json")
            assert one.meta == {"_fastmcp": {"tags": ["x"]}}
            assert listed["data://text"].name == "data://text"
            assert await read(client, "data://counted") == 'application/json {"of":"local"}'
            assert await read(client, "data://text") == "text/plain a text"
            assert await read(client, "data://bytes") == "image/png AQ=="
            assert await read(client, "file:///a.txt") == "text/plain in a file"
            assert await read(client, "file:///b.bin") == "image/png AA=="
            assert '"below/b.bin"' in await read(client, "file:///all")

    play(script())


@every_way
def test_templates_make_them(way: str) -> None:
    async def weather(city: str, days: int = 1) -> str:
        """How it will be."""
        return f"{city} {days!r}"

    async def script() -> None:
        local = LocalServer("local")
        local.add(ResourceTemplate.from_function(weather, "weather://{city}/now"))
        local.add(ResourceTemplate.from_function(weather, "weather://{city}/in/{days}", name="later"))
        local.add(ResourceTemplate.from_function(lambda path: path, "tree://{path*}", name="tree"))
        local.add(ResourceTemplate.from_function(lambda **all: sorted(all.items()), "any://{a}/{b}", name="any"))
        async with meet(local, way) as client:
            listed = (await client.list_resource_templates()).resource_templates
            assert [each.uri_template for each in listed][:2] == ["weather://{city}/now", "weather://{city}/in/{days}"]
            assert listed[0].description == "How it will be."
            assert await read(client, "weather://New%20York/now") == "text/plain New York 1"
            assert await read(client, "weather://x/in/3") == "text/plain x 3"
            assert await read(client, "tree://a/b/c") == "text/plain a/b/c"
            assert await read(client, "any://1/2") == 'text/plain [["a","1"],["b","2"]]'

    play(script())


def fail() -> str:
    raise RuntimeError("the secret is 42")


def said() -> str:
    raise ResourceError("It is gone.")


@every_way
@pytest.mark.parametrize(
    ("uri", "mask", "told"),
    [
        ("data://fail", False, "Error reading resource 'data://fail': the secret is 42"),
        ("data://fail", True, "Error reading resource 'data://fail'"),
        ("data://said", True, "It is gone."),
        ("data://none", False, "Unknown resource: 'data://none'"),
    ],
)
def test_what_can_not_be_read(way: str, uri: str, mask: bool, told: str) -> None:
    async def script() -> None:
        local = LocalServer("local", mask_error_details=mask)
        local.add(Resource.from_function(fail, "data://fail"))
        local.add(Resource.from_function(said, "data://said"))
        async with meet(local, way) as client:
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.error.message.startswith(told)
            assert mask is False or "42" not in caught.value.error.message
            assert caught.value.error.data == {"uri": uri}

    play(script())


MATCHES: list[tuple[str, str, dict[str, str] | None]] = [
    ("a://b", "a://{x}", {"x": "b"}),
    ("a://b/c", "a://{x}", None),
    ("a://b/c", "a://{x*}", {"x": "b/c"}),
    ("a://b%2Fc", "a://{x}", {"x": "b/c"}),
    ("a://b.c", "a://{x}.c", {"x": "b"}),
    ("a://bxc", "a://{x}.c", None),
    ("a://b\n", "a://b", None),
]


@pytest.mark.parametrize(("uri", "template", "arguments"), MATCHES)
def test_uris_match_templates(uri: str, template: str, arguments: dict[str, str] | None) -> None:
    assert match_uri_template(uri, template) == arguments
    if arguments is not None:
        assert match_uri_template(expand(template, arguments), template) == arguments


def test_a_template_needs_its_arguments() -> None:
    with pytest.raises(ValueError, match="'x'"):
        expand("a://{x}", {})


@every_way
def test_a_uri_is_found_however_it_is_written(way: str) -> None:
    async def script() -> None:
        local = LocalServer("local")
        local.add(Resource.from_function(lambda: "here", "https://Example.com", name="page"))
        async with meet(local, way) as client:
            (listed,) = (await client.list_resources()).resources
            for uri in (listed.uri, "https://Example.com", "https://example.com"):
                assert local.has("resources", uri)
                assert await read(client, uri) == "text/plain here"

    play(script())


def test_what_can_be_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no argument"):
        ResourceTemplate.from_function(fail, "a://b")
    with pytest.raises(ValueError, match="does not give the argument 'x'"):
        ResourceTemplate.from_function(lambda x, y: x, "a://{y}", name="n")
    with pytest.raises(ValueError, match="gives 'y'"):
        ResourceTemplate.from_function(lambda x: x, "a://{x}/{y}", name="n")
    with pytest.raises(ValueError, match="absolute"):
        FileResource(uri=AnyUrl("file:///a"), path=Path("a"))
    with pytest.raises(ValueError):
        Resource.from_function(fail, "no uri")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    async def script() -> None:
        for one in (
            FileResource(uri=AnyUrl("file:///a"), path=tmp_path / "none"),
            DirectoryResource(uri=AnyUrl("file:///b"), path=tmp_path / "none"),
        ):
            with pytest.raises(ResourceError, match="none"):
                await one.read()

    play(script())


def test_a_function_may_give_a_resource() -> None:
    async def script() -> None:
        inner = TextResource(uri=AnyUrl("data://inner"), text="inner")
        assert await FunctionResource.from_function(lambda: inner, "data://outer", name="outer").read() == "inner"
        made = await ResourceTemplate.from_function(lambda x: x, "a://{x}", name="n").create_resource(
            "a://b", {"x": "b"}
        )
        assert (await made.read(), str(made.uri)) == ("b", "a://b")

    play(script())


def test_a_keyword_that_there_is_not_is_refused() -> None:
    wrong: Any = {"titel": "Wrong"}
    with pytest.raises(TypeError, match="titel="):
        Resource.from_function(fail, "a://b", **wrong)
