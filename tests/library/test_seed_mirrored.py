"""Components of servers behind a proxy, and copies of them. Source: the seed's page, Mirrored Components."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from isthmus import Client, FastMCP, McpError, ProxyClient
from isthmus.components.tools import Tool
from isthmus.components.transform import ArgTransform
from isthmus.exceptions import NotFoundError
from tests.library.ways import SURVEY, User, command, every_era, every_mode, features, play


class Kind(NamedTuple):
    """How a kind of component is got, added, listed and used; `add` also says what `remove_…` is called."""

    key: str
    get: str
    get_all: str
    add: str
    listed: Callable[[Client[Any]], Awaitable[list[Any]]]
    use: Callable[[Client[Any]], Awaitable[Any]]
    change: str
    gives: str


async def _add(client: Client[Any]) -> str:
    return str((await client.call_tool("add", {"a": 1})).data)


async def _read(client: Client[Any], uri: str) -> Any:
    return getattr((await client.read_resource(uri))[0], "text", None)


async def _greet(client: Client[Any]) -> Any:
    return getattr((await client.get_prompt("greet", {"name": "Bob"})).messages[0].content, "text", None)


KINDS = {
    "tool": Kind("add", "get_tool", "get_tools", "add_tool", lambda c: c.list_tools(), _add, "tools", "3"),
    "resource": Kind(
        "data://fixed", "get_resource", "get_resources", "add_resource", lambda c: c.list_resources(),
        lambda c: _read(c, "data://fixed"), "resources", "fixed",
    ),
    "template": Kind(
        "data://{name}/made", "get_resource_template", "get_resource_templates", "add_template",
        lambda c: c.list_resource_templates(), lambda c: _read(c, "data://Bob/made"), "resources", "made for Bob",
    ),
    "prompt": Kind(
        "greet", "get_prompt", "get_prompts", "add_prompt", lambda c: c.list_prompts(), _greet, "prompts",
        "Say hello to Bob.",
    ),
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
KEYS = {"tools": "name", "prompts": "name"}


def keys(listed: list[Any]) -> list[str]:
    """What things that are listed are asked for by."""
    return [str(getattr(each, "uri", None) or getattr(each, "uri_template", None) or each.name) for each in listed]


async def get(server: FastMCP, kind: Kind) -> Any:
    return await getattr(server, kind.get)(kind.key)


# -- mirrored ---------------------------------------------------------------------------------------------------------


@every_kind
def test_what_is_mirrored_can_t_be_changed(kind: Kind) -> None:
    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        mirrored = await get(proxy, kind)
        assert mirrored.key == kind.key and mirrored.enabled
        for change in (mirrored.disable, mirrored.enable, lambda: setattr(mirrored, "description", "other")):
            with pytest.raises(RuntimeError, match=r"\.copy\(\)"):
                change()
        assert mirrored.enabled and mirrored.description != "other"
        assert kind.key in await getattr(proxy, kind.get_all)()
        with pytest.raises(NotFoundError):
            await getattr(proxy, kind.get)("data://missing")

    play(script())


@every_era
def test_a_server_without_some_kinds_has_none_of_them(era: str, tmp_path: Path) -> None:
    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(command(SURVEY, era, tmp_path / "log")))
        assert list(await proxy.get_tools()) == ["survey"]
        assert await proxy.get_resources() == await proxy.get_resource_templates() == await proxy.get_prompts() == {}

    play(script())


@every_kind
@every_mode
def test_a_copy_in_a_server_of_ones_own(kind: Kind, mode: Any) -> None:
    """The seed's example: a proxy's thing is copied into another server, and switched off and on there."""

    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        mine = FastMCP("MyServer")
        copy = (await get(proxy, kind)).copy()
        getattr(mine, kind.add)(copy)
        user = User()
        async with user.client(mine, mode) as client:
            assert keys(await kind.listed(client)) == [kind.key]
            assert await kind.use(client) == kind.gives
            copy.disable()
            await user.until_changed(kind.change)
            assert keys(await kind.listed(client)) == []
            with pytest.raises(McpError):
                await kind.use(client)
            copy.enable()
            await user.until_changed(kind.change)
            assert keys(await kind.listed(client)) == [kind.key]
            assert await kind.use(client) == kind.gives

    play(script())


@every_kind
@every_mode
def test_a_copy_in_the_proxy_itself(kind: Kind, mode: Any) -> None:
    """It comes first; and while it is switched off, the mirrored one behind it does not show either."""

    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        user = User()
        async with user.client(proxy, mode) as client:
            before = keys(await kind.listed(client))
            copy = (await get(proxy, kind)).copy()
            copy.description = "a copy"
            getattr(proxy, kind.add)(copy)
            await user.until_changed(kind.change)
            listed = await kind.listed(client)
            assert sorted(keys(listed)) == sorted(before)
            assert [each.description for each in listed if keys([each]) == [kind.key]] == ["a copy"]
            assert await kind.use(client) == kind.gives
            copy.disable()
            await user.until_changed(kind.change)
            assert sorted(keys(await kind.listed(client))) == sorted(set(before) - {kind.key})
            with pytest.raises(McpError):
                await kind.use(client)
            getattr(proxy, kind.add.replace("add_", "remove_"))(kind.key)
            await user.until_changed(kind.change)
            listed = await kind.listed(client)
            assert sorted(keys(listed)) == sorted(before)
            assert "a copy" not in [each.description for each in listed]
            assert await kind.use(client) == kind.gives

    play(script())


@every_kind
def test_what_is_asked_right_after_a_change_finds_it_so(kind: Kind) -> None:
    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        copy = getattr(proxy, kind.add)((await get(proxy, kind)).copy())
        for mode in ("legacy", "modern"):
            async with Client(proxy, mode=mode) as client:
                for _ in range(3):
                    copy.disable()
                    with pytest.raises(McpError):
                        await kind.use(client)
                    copy.enable()
                    assert await kind.use(client) == kind.gives

    play(script())


# -- what a copy can be -----------------------------------------------------------------------------------------------


@every_mode
def test_a_copy_with_another_name_and_texts(mode: Any) -> None:
    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        copy = (await proxy.get_tool("add")).copy()
        copy.name, copy.title, copy.description, copy.tags = "plus", "Plus", "Sums up.", {"sum"}
        proxy.add_tool(copy)
        async with Client(proxy, mode=mode) as client:
            listed = {tool.name: tool for tool in await client.list_tools()}
            assert (listed["plus"].title, listed["plus"].description) == ("Plus", "Sums up.")
            assert listed["add"].description == "Adds two numbers."
            assert (await client.call_tool("plus", {"a": 1})).data == 3
            assert (await client.call_tool("add", {"a": 1})).data == 3
            prompt = (await proxy.get_prompt("greet")).copy()
            prompt.name = "welcome"
            proxy.add_prompt(prompt)
            assert sorted(keys(await client.list_prompts())) == ["greet", "welcome"]
            assert (await client.get_prompt("welcome", {"name": "Bob"})).messages[0].role == "user"

    play(script())


@every_mode
def test_a_copy_with_arguments_hidden_or_fixed(mode: Any) -> None:
    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        mine = FastMCP("MyServer")
        for server in (proxy, mine):
            fixed = (await proxy.get_tool("add")).copy()
            fixed.name = "add_forty"
            server.add_tool(fixed.fix(b=40))  # type: ignore[attr-defined]
            hidden = (await proxy.get_tool("add")).copy()
            hidden.name = "add_two"
            server.add_tool(hidden.hide("b"))  # type: ignore[attr-defined]
            async with Client(server, mode=mode) as client:
                listed = {tool.name: tool.input_schema["properties"] for tool in await client.list_tools()}
                assert list(listed["add_forty"]) == list(listed["add_two"]) == ["a"]
                assert (await client.call_tool("add_forty", {"a": 2})).data == 42
                assert (await client.call_tool("add_two", {"a": 2})).data == 4
            with pytest.raises(ValueError, match="needs the argument"):
                (await proxy.get_tool("add")).copy().hide("a")  # type: ignore[attr-defined]

    play(script())


@every_mode
def test_a_tool_made_of_a_mirrored_one(mode: Any) -> None:
    """`Tool.from_tool`: arguments with other names are sent under their own."""

    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        made = Tool.from_tool(
            await proxy.get_tool("add"),
            name="sum",
            transform_args={"a": ArgTransform(name="first"), "b": ArgTransform(hide=True, default=10)},
        )
        mine = FastMCP("MyServer")
        mine.add_tool(made)
        async with Client(mine, mode=mode) as client:
            (listed,) = await client.list_tools()
            assert list(listed.input_schema["properties"]) == ["first"]
            assert (await client.call_tool("sum", {"first": 1})).data == 11

    play(script())


@every_mode
@pytest.mark.parametrize("where", ["the proxy", "another server", "another proxy"])
def test_questions_and_words_pass_through_a_copy(where: str, mode: Any) -> None:
    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features()))
        other = FastMCP("back")
        other.tool(lambda: "not this one", name="elicit")
        servers = {"the proxy": proxy, "another server": FastMCP("mine"), "another proxy": FastMCP.as_proxy(other)}
        server, user = servers[where], User()
        for name in ("elicit", "sample", "roots", "log", "progress"):
            copy = (await proxy.get_tool(name)).copy()
            copy.name = f"my_{name}"
            server.add_tool(copy)
        async with user.client(server, mode) as client:
            assert (await client.call_tool("my_elicit")).data == "accept Alice"
            assert (await client.call_tool("my_sample")).data == "seven"
            assert (await client.call_tool("my_roots")).data == ["file:///home/user"]
            await client.call_tool("my_log")
            await client.call_tool("my_progress")
        assert [each.split()[0] for each in user.asked] == ["elicit", "sample", "roots"]
        assert len(user.logged) == 1 and [step for step, *_ in user.steps] == [1, 2, 3]

    play(script())


def test_a_handler_of_the_proxy_answers_for_a_copy_too() -> None:
    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> Any:
        return {"value": "the proxy"}

    async def script() -> None:
        proxy = FastMCP.as_proxy(ProxyClient(features(), elicitation_handler=elicit))
        mine = FastMCP("mine")
        for server in (proxy, mine):
            copy = (await proxy.get_tool("elicit")).copy()
            copy.name = "ask"
            server.add_tool(copy)
            async with Client(server) as client:
                assert (await client.call_tool("ask")).data == "accept the proxy"

    play(script())


# -- local components come first --------------------------------------------------------------------------------------


@every_mode
def test_local_components_come_first_and_no_back_is_asked(mode: Any) -> None:
    calls: list[str] = []

    async def script() -> None:
        back = FastMCP("back")

        @back.tool(name="add")
        def far(a: int) -> int:
            calls.append("far")
            return 0

        proxy = FastMCP.as_proxy(ProxyClient(back))

        @proxy.tool
        def add(a: int) -> int:
            calls.append("near")
            return a + 1

        async with Client(proxy, mode=mode) as client:
            assert keys(await client.list_tools()) == ["add"]
            assert (await client.call_tool("add", {"a": 1})).data == 2
            add.disable()
            assert keys(await client.list_tools()) == []
            with pytest.raises(McpError):
                await client.call_tool("add", {"a": 1})
        assert calls == ["near"]

    play(script())


@every_mode
def test_local_components_work_while_the_back_is_away(mode: Any) -> None:
    async def script() -> None:
        proxy = FastMCP.as_proxy("http://127.0.0.1:9/mcp")
        proxy.tool(lambda: "here", name="near")
        proxy.resource("data://near", name="near")(lambda: "here")
        async with Client(proxy, mode=mode) as client:
            assert getattr((await client.call_tool("near")).content[0], "text", None) == "here"
            assert await _read(client, "data://near") == "here"
            with pytest.raises(McpError):
                await client.call_tool("far")

    play(script())


@every_mode
def test_copies_of_a_configurations_tools(mode: Any) -> None:
    """Their names have prefixes; so have the copies' until they get others."""

    async def script() -> None:
        proxy = FastMCP("front")
        proxy.mount(features("one"), prefix="one")
        kept = (await proxy.get_tool("one_add")).copy()
        renamed = (await proxy.get_tool("one_add")).copy()
        mine = FastMCP("mine")
        mine.add_tool(kept)
        renamed.name = "add"
        resource = (await proxy.get_resource("data://one/fixed")).copy()
        mine.add_resource(resource)
        async with Client(mine, mode=mode) as client:
            assert keys(await client.list_tools()) == ["one_add"]
            assert (await client.call_tool("one_add", {"a": 1})).data == 3
            assert keys(await client.list_resources()) == ["data://one/fixed"]
            assert await _read(client, "data://one/fixed") == "fixed"

    play(script())


@pytest.mark.parametrize(("names", "host"), [("a", "note:/"), ("ab", "note://a")], ids=["alone", "prefixed"])
def test_a_copy_of_a_template_makes_nothing_that_is_denied(names: str, host: str, tmp_path: Path) -> None:
    async def script() -> None:
        back = str(Path(__file__).parents[1] / "many" / "back.py")
        argv = {name: ["-I", "-S", back, "legacy", name, str(tmp_path / "log")] for name in names}
        deny = {"a": ["note://by/7"], "b": ["*"]}
        servers = {
            name: {"command": sys.executable, "args": argv[name], "isthmus": {"resources": {"deny": deny[name]}}}
            for name in names
        }
        proxy = FastMCP.as_proxy({"mcpServers": servers})
        copy = (await proxy.get_resource_template(f"{host}/by/{{name}}")).copy()
        copy.description = "other"
        proxy.add_template(copy)
        async with Client(proxy) as client:
            assert await _read(client, f"{host}/by/8") == "note://by/8 of a"
            for uri in (f"{host}/by/7", "note://by/7", f"{host}/by/%37"):
                with pytest.raises(McpError, match="No server has the resource"):
                    await client.read_resource(uri)

    play(script())
