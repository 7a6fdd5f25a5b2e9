"""`LocalServer`: what it has, shows and tells."""

import asyncio
from typing import Any

import pytest
from mcp.client.subscriptions import listen

from isthmus.components.component import Component
from isthmus.components.context import Context
from isthmus.components.local import Duplicates, LocalServer
from isthmus.components.prompts import Prompt
from isthmus.components.resources import Resource
from isthmus.components.templates import ResourceTemplate
from isthmus.components.tools import Tool
from isthmus.exceptions import NotFoundError
from tests.components.ways import every_way, meet, play, text


def one() -> str:
    return "one"


def two() -> str:
    return "two"


def of(name: str) -> str:
    return name


def full() -> tuple[LocalServer, dict[str, Component]]:
    """A server with one of each kind, called `one` or `a://one`."""
    local = LocalServer("local")
    made: dict[str, Component] = {
        "tools": local.add(Tool.from_function(one)),
        "prompts": local.add(Prompt.from_function(one)),
        "resources": local.add(Resource.from_function(one, "a://one")),
        "resourceTemplates": local.add(ResourceTemplate.from_function(of, "b://{name}")),
    }
    return local, made


KEYS = {"tools": "one", "prompts": "one", "resources": "a://one", "resourceTemplates": "b://{name}"}


def test_what_it_has() -> None:
    local, made = full()
    for kind, key in KEYS.items():
        assert local.has(kind, key) and not local.has(kind, "other")
        made[kind].disable()
        assert not local.has(kind, key)
    assert local.hidden() == set(KEYS.items())
    made["resourceTemplates"].enable()
    assert local.has("resources", "b://any") and not local.has("resources", "b://any/more")


async def names(client: Any) -> list[str]:
    return [
        *(each.name for each in (await client.list_tools()).tools),
        *(each.name for each in (await client.list_prompts()).prompts),
        *(each.name for each in (await client.list_resources()).resources),
        *(each.name for each in (await client.list_resource_templates()).resource_templates),
    ]


@every_way
def test_what_is_disabled_is_not_there(way: str) -> None:
    async def script() -> None:
        local, made = full()
        async with meet(local, way) as client:
            assert await names(client) == ["one", "one", "one", "of"]
            for each in made.values():
                each.disable()
            assert await names(client) == []
            assert (await client.call_tool("one")).is_error
            for refused in (client.get_prompt("one"), client.read_resource("a://one"), client.read_resource("b://x")):
                with pytest.raises(Exception, match="Unknown"):
                    await refused

    play(script())


@every_way
def test_tags_choose(way: str) -> None:
    async def script() -> None:
        local = LocalServer("local", include_tags={"a", "b"}, exclude_tags={"c"})
        for name, tags in (("both", {"a", "c"}), ("one", {"b"}), ("none", set[str]())):
            local.add(Tool.from_function(one, name=name, tags=tags))
        async with meet(local, way) as client:
            assert await names(client) == ["one"]

    play(script())


@pytest.mark.parametrize("kind", KEYS)
def test_a_legacy_session_is_told_of_changes(kind: str) -> None:
    async def script() -> None:
        local, made = full()
        told: asyncio.Queue[str] = asyncio.Queue()

        async def hear(message: Any) -> None:
            told.put_nowait(message.method)

        async with meet(local, "itself-legacy", message_handler=hear) as client:
            await client.list_tools()
            made[kind].enabled = False
            changed = {"resourceTemplates": "resources"}.get(kind, kind)
            assert await told.get() == f"notifications/{changed}/list_changed"
            made[kind].title = "Other"
            assert await told.get() == f"notifications/{changed}/list_changed"
        made[kind].enabled = True

    play(script())


@every_way
def test_what_is_added_and_renamed_is_listed(way: str) -> None:
    async def script() -> None:
        local, made = full()
        heard: list[str] = []
        local.heard.append(heard.append)
        async with meet(local, way) as client:
            added = local.add(Tool.from_function(two))
            added.name = "other"
            assert {each.name for each in (await client.list_tools()).tools} == {"one", "other"}
            assert text(await client.call_tool("other")) == "two"
            local.tools.remove("other")
            assert [each.name for each in (await client.list_tools()).tools] == ["one"]
        added.name = "apart"
        made["prompts"].description = "New."
        assert heard == ["tools", "tools", "tools", "prompts"]

    play(script())


def test_a_modern_client_that_listens_is_told_of_changes() -> None:
    async def script() -> None:
        local, made = full()
        async with meet(local, "itself-modern") as client, listen(client.session, tools_list_changed=True) as events:
            made["prompts"].disable()
            made["tools"].disable()
            async for event in events:
                assert type(event).__name__ == "ToolsListChanged"
                break

    play(script())


@every_way
def test_a_function_says_that_there_are_changes(way: str) -> None:
    async def change(ctx: Context) -> None:
        await ctx.send_tool_list_changed()
        await ctx.send_prompt_list_changed()
        await ctx.send_resource_list_changed()

    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(change))
        async with meet(local, way) as client:
            assert not (await client.call_tool("change")).is_error

    play(script())


def test_duplicates(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Tool.from_function(one), Tool.from_function(two, name="one")
    kept = {}
    ways: tuple[Duplicates, ...] = ("warn", "replace", "ignore")
    for what in ways:
        local = LocalServer("local", duplicates={"tools": what})
        local.add(first)
        given = local.add(second)
        kept[what] = local.tools.get("one") is second
        assert given is local.tools.get("one")
    assert kept == {"warn": True, "replace": True, "ignore": False}
    assert [record.message for record in caplog.records] == [
        "There already was one among the tools that is called 'one'; the new one counts."
    ]
    local = LocalServer("local", duplicates={"tools": "error"})
    local.add(first)
    with pytest.raises(ValueError, match="already"):
        local.add(second)
    with pytest.raises(NotFoundError):
        local.tools.remove("two")


@every_way
def test_what_is_apart_is_not_here(way: str) -> None:
    async def script() -> None:
        local, _ = full()
        local.apart = lambda component: component.name == "one"
        async with meet(local, way) as client:
            assert await names(client) == ["of"]
        assert not local.has("tools", "one") and local.tools.get("one")

    play(script())


def test_the_key_is_what_counts() -> None:
    async def script() -> None:
        local = LocalServer("local")
        local.add(Tool.from_function(one).model_copy(key="child_one"))
        async with meet(local, "engine-legacy") as client:
            assert [each.name for each in (await client.list_tools()).tools] == ["child_one"]
            assert text(await client.call_tool("child_one")) == "one"

    play(script())
