"""Servers of servers: mounted, imported, proxied five deep. Source: the seed's page, Performance Considerations and
Mirrored Components; FastMCP 2.11.3 for `mount` and `import_server`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from isthmus import Client, FastMCP, McpError, ProxyClient
from tests.library.test_seed_mirrored import keys
from tests.library.ways import User, every_mode, features, pid_of, play, small, text_of


def deep(levels: int, how: str) -> FastMCP:
    """A proxy of a proxy of … of `features`."""
    server = features("innermost")
    for level in range(levels):
        above = FastMCP.as_proxy(server if how == "servers" else ProxyClient(server), name=f"level {level}")
        server = above
    return server


@every_mode
@pytest.mark.parametrize("how", ["servers", "clients"])
def test_five_deep_the_innermost_asks_the_client(mode: Any, how: str) -> None:
    async def script() -> None:
        user = User()
        async with user.client(deep(5, how), mode) as client:
            assert (await client.call_tool("roots")).data == ["file:///home/user"]
            assert (await client.call_tool("sample")).data == "seven"
            assert (await client.call_tool("elicit")).data == "accept Alice"
            await client.call_tool("log")
            await client.call_tool("progress")
            assert getattr((await client.read_resource("data://Bob/made"))[0], "text", None) == "made for Bob"
        assert [each.split()[0] for each in user.asked] == ["roots", "sample", "elicit"]
        assert len(user.logged) == 1 and [step for step, *_ in user.steps] == [1, 2, 3]

    play(script())


@every_mode
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_five_deep_before_a_process(mode: Any, era: str, tmp_path: Path) -> None:
    async def script() -> None:
        server = FastMCP.as_proxy(small(era, tmp_path / "log"))
        for _ in range(4):
            server = FastMCP.as_proxy(server)
        asked: list[str] = []

        async def elicit(message: str, *_: Any) -> Any:
            asked.append(message)
            return {}

        async with Client(server, mode=mode, elicitation_handler=elicit) as client:
            assert await pid_of(client) > 0
            assert '"accept"' in text_of((await client.call_tool("ask")).content[0])
        assert asked == ["back asks"]

    play(script())


def test_five_deep_many_at_once() -> None:
    async def script() -> None:
        server = deep(5, "servers")

        async def one(name: str) -> None:
            async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
                return {"value": name}

            mode: Any = "legacy" if name < "5" else "modern"
            async with Client(server, mode=mode, elicitation_handler=elicit) as client:
                got = await asyncio.gather(*(client.call_tool("elicit") for _ in range(3)))
                assert [each.data for each in got] == [f"accept {name}"] * 3

        await asyncio.gather(*(one(str(number)) for number in range(10)))

    play(script())


@every_mode
@pytest.mark.parametrize("word", ["prefix", "namespace"])
def test_a_mounted_proxy(mode: Any, word: str) -> None:
    """Live: what is added to what was mounted is seen; questions pass."""

    async def script() -> None:
        back = features()
        main = FastMCP("main")

        @main.tool
        def own() -> str:
            return "own"

        if word == "prefix":
            main.mount(FastMCP.as_proxy(ProxyClient(back)), prefix="api")
        else:
            main.mount(FastMCP.as_proxy(ProxyClient(back)), namespace="api")
        user = User()
        async with user.client(main, mode) as client:
            assert {"own", "api_add", "api_elicit"} <= set(keys(await client.list_tools()))
            assert (await client.call_tool("own")).data == "own"
            assert (await client.call_tool("api_elicit")).data == "accept Alice"
            assert keys(await client.list_resources()) == ["data://api/fixed"]
            assert getattr((await client.read_resource("data://api/fixed"))[0], "text", None) == "fixed"
            assert getattr((await client.read_resource("data://api/Bob/made"))[0], "text", None) == "made for Bob"
            assert (await client.get_prompt("api_greet", {"name": "Bob"})).messages
            back.tool(name="late")(lambda: None)
            await user.until_changed("tools")
            assert "api_late" in keys(await client.list_tools())
            assert set(await main.get_tools()) >= {"own", "api_add", "api_late"}

    play(script())


@every_mode
def test_mounted_while_it_is_served(mode: Any) -> None:
    async def script() -> None:
        main, user = FastMCP("main"), User()
        async with user.client(main, mode) as client:
            assert await client.list_tools() == []
            main.mount(features(), prefix="late")
            await user.until_changed("tools")
            assert "late_add" in keys(await client.list_tools())
            assert (await client.call_tool("late_add", {"a": 1})).data == 3

    play(script())


@every_mode
def test_mounted_without_a_prefix_the_latest_wins_and_own_things_win_over_all(mode: Any) -> None:
    async def script() -> None:
        main = FastMCP("main")
        for name in ("first", "second"):
            child = FastMCP(name)
            child.tool(name="who")(_says(name))
            child.tool(name=f"only_{name}")(_says(name))
            main.mount(child)
        async with Client(main, mode=mode) as client:
            assert sorted(keys(await client.list_tools())) == ["only_first", "only_second", "who"]
            assert (await client.call_tool("who")).data == "second"
            assert (await client.call_tool("only_first")).data == "first"
            main.tool(name="who")(_says("main"))
            assert (await client.call_tool("who")).data == "main"

    play(script())


def _says(name: str) -> Any:
    def say() -> str:
        return name

    return say


@every_mode
def test_an_imported_server_is_a_copy_of_what_it_was(mode: Any) -> None:
    async def script() -> None:
        back, main = features(), FastMCP("main")
        await main.import_server(FastMCP.as_proxy(ProxyClient(back)), prefix="api")
        back.tool(name="late")(_says("late"))
        user = User()
        async with user.client(main, mode) as client:
            names = keys(await client.list_tools())
            assert "api_add" in names and "api_late" not in names
            assert (await client.call_tool("api_add", {"a": 1})).data == 3
            assert (await client.call_tool("api_elicit")).data == "accept Alice"
            assert getattr((await client.read_resource("data://api/fixed"))[0], "text", None) == "fixed"
            assert getattr((await client.read_resource("data://api/Bob/made"))[0], "text", None) == "made for Bob"
            with pytest.raises(McpError):
                await client.call_tool("api_late")

    play(script())


def test_a_connected_client_of_one_server_is_the_back_of_others() -> None:
    """Session reuse and composition together."""

    async def script() -> None:
        async with Client(features()) as connected:
            main = FastMCP("main")
            main.mount(FastMCP.as_proxy(connected), prefix="one")
            main.mount(FastMCP.as_proxy(connected), prefix="two")
            user = User()
            async with user.client(main) as client:
                assert (await client.call_tool("one_add", {"a": 1})).data == 3
                assert (await client.call_tool("two_elicit")).data == "accept Alice"
            assert connected.is_connected()

    play(script())
