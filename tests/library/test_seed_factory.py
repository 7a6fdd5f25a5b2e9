"""`FastMCPProxy` with a factory, the deprecated `client=`, stateful clients. Source: the seed's page, FastMCPProxy
Class, Explicit Session Management; FastMCP 2.11.3 for `StatefulProxyClient`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from isthmus import Client, FastMCP, FastMCPProxy, McpError, ProxyClient, StatefulProxyClient, get_http_headers
from isthmus.client.transports import StreamableHttpTransport
from isthmus.server.dependencies import get_http_headers as the_same
from tests.engine.http_back import http_back
from tests.library.ways import MODES, User, every_mode, features, over_http, pid_of, play, small
from tests.many.servers import heard


@every_mode
@pytest.mark.parametrize("is_async", [False, True])
def test_a_factory_is_called_once_for_each_request(mode: Any, is_async: bool, tmp_path: Path) -> None:
    """A disconnected result is opened for the request, and closed after it."""
    made: list[Client[Any]] = []

    def factory() -> Client[Any]:
        made.append(ProxyClient(small("legacy", tmp_path / "log")))
        return made[-1]

    async def factory_async() -> Client[Any]:
        await asyncio.sleep(0)
        return factory()

    async def script() -> None:
        proxy = FastMCPProxy(client_factory=factory_async if is_async else factory, name="mine")
        assert proxy.name == "mine"
        async with Client(proxy, mode=mode) as client:
            await client.list_tools()  # the SDK's client wants to know their output schemas once
            before = len(made)
            met = [await pid_of(client) for _ in range(3)]
            assert len(made) == before + 3
            await client.list_tools()
            assert len(made) == before + 4
        assert len(set(met)) == 3
        assert not any(each.is_connected() for each in made)

    play(script())


@every_mode
def test_a_factory_that_lends_one_connected_client(mode: Any, tmp_path: Path) -> None:
    """The session is shared by all requests, and nobody closes it."""
    log = tmp_path / "log"

    async def script() -> None:
        async with ProxyClient(small("legacy", log)) as shared:
            proxy = FastMCPProxy(client_factory=lambda: shared)
            met = []
            for _ in range(2):
                async with Client(proxy, mode=mode) as client:
                    met += await asyncio.gather(*(pid_of(client) for _ in range(3)))
            assert shared.is_connected() and len(set(met)) == 1
        assert len(heard(log, "back", "initialize")) == 1

    play(script())


@every_mode
def test_a_factory_of_a_connected_clients_news_gives_fresh_ones(mode: Any, tmp_path: Path) -> None:
    async def script() -> None:
        async with ProxyClient(small("legacy", tmp_path / "log")) as connected:
            proxy = FastMCPProxy(client_factory=connected.new)
            async with Client(proxy, mode=mode) as client:
                met = [await pid_of(client) for _ in range(3)]
            assert len({*met, await pid_of(connected)}) == 4

    play(script())


@every_mode
def test_a_factory_chooses_by_who_asks(mode: Any) -> None:
    """Credentials for each user: headers are there in the factory, and are not forwarded unless it does so."""

    async def script() -> None:
        async with http_back("legacy") as back:

            def factory() -> Client[Any]:
                user = get_http_headers()["x-user"]
                return ProxyClient(StreamableHttpTransport(back.url, auth=f"token-of-{user}"))

            proxy = FastMCPProxy(client_factory=factory)
            async with over_http(proxy) as url:
                for user in ("alice", "bob"):
                    transport = StreamableHttpTransport(url, headers={"X-User": user, "X-Secret": "s"})
                    async with Client(transport, mode=mode) as client:
                        await client.list_tools()
            sent = [each.headers for each in back.heard if each.message.get("method") == "tools/list"]
            assert [each["authorization"] for each in sent] == ["Bearer token-of-alice", "Bearer token-of-bob"]
            assert all("x-secret" not in each and "x-user" not in each for each in sent)

    play(script())
    assert the_same is get_http_headers and get_http_headers() == {}


@every_mode
def test_a_factory_that_fails_fails_the_request(mode: Any) -> None:
    is_broken = False

    def factory() -> Client[Any]:
        if is_broken:
            raise RuntimeError("no luck today")
        return ProxyClient(features())

    async def script() -> None:
        nonlocal is_broken
        async with Client(FastMCPProxy(client_factory=factory, name="front"), mode=mode) as client:
            is_broken = True
            with pytest.raises(McpError, match=r"factory of front failed: no luck today"):
                await client.call_tool("add", {"a": 1})
            is_broken = False
            assert (await client.call_tool("add", {"a": 1})).data == 3

    play(script())


@every_mode
def test_handlers_are_those_of_the_client_that_was_chosen(mode: Any) -> None:
    async def elicit(*_: Any) -> Any:
        return {"value": "the proxy"}

    async def script() -> None:
        clients = [ProxyClient(features()), ProxyClient(features(), elicitation_handler=elicit)]
        proxy = FastMCPProxy(client_factory=lambda: clients[0])
        async with User().client(proxy, mode) as client:
            assert (await client.call_tool("elicit")).data == "accept Alice"
        clients.reverse()
        async with User().client(proxy, mode) as client:
            assert (await client.call_tool("elicit")).data == "accept the proxy"

    play(script())


def test_local_components_of_a_proxy_with_a_factory() -> None:
    async def script() -> None:
        proxy = FastMCPProxy(client_factory=lambda: ProxyClient(features()))

        @proxy.tool
        def near() -> str:
            return "near"

        copy = (await proxy.get_tool("add")).copy()
        copy.name = "plus"
        proxy.add_tool(copy)
        for mode in MODES:
            async with Client(proxy, mode=mode) as client:
                assert (await client.call_tool("near")).data == "near"
                assert (await client.call_tool("plus", {"a": 1})).data == 3
                assert (await client.call_tool("add", {"a": 1})).data == 3

    play(script())


# -- client= ----------------------------------------------------------------------------------------------------------


@every_mode
def test_the_deprecated_client(mode: Any, tmp_path: Path) -> None:
    """It means `client_factory=client.new`: fresh sessions, even of a client that is connected."""

    async def script() -> None:
        async with ProxyClient(small("legacy", tmp_path / "log")) as connected:
            with pytest.warns(DeprecationWarning, match="client_factory"):
                proxy = FastMCPProxy(connected)
            async with Client(proxy, mode=mode) as client:
                met = [await pid_of(client) for _ in range(2)]
            assert len({*met, await pid_of(connected)}) == 3

    play(script())


def test_a_proxy_needs_one_of_both() -> None:
    client: Client[Any] = ProxyClient(features())
    with pytest.raises(ValueError, match="client_factory"):
        FastMCPProxy()
    with pytest.raises(ValueError, match="client_factory"):
        FastMCPProxy(client, client_factory=client.new)


# -- stateful ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["factory", "as_proxy"])
def test_a_stateful_client_keeps_a_session_for_each_client(how: str, tmp_path: Path) -> None:
    async def script() -> None:
        stateful = StatefulProxyClient(small("legacy", tmp_path / "log"))
        proxy: FastMCP = (
            FastMCPProxy(client_factory=stateful.new_stateful) if how == "factory" else FastMCP.as_proxy(stateful)
        )
        async with Client(proxy, mode="legacy") as first, Client(proxy, mode="legacy") as second:
            met = [{await pid_of(each) for _ in range(3)} for each in (first, second, first, second)]
        assert met[0] == met[2] != met[1] == met[3]
        assert all(len(each) == 1 for each in met)
        async with Client(proxy, mode="legacy") as third:
            assert {await pid_of(third)}.isdisjoint(met[0] | met[1])
        await stateful.clear()

    play(script())


@every_mode
def test_a_stateful_client_forwards_everything(mode: Any) -> None:
    async def script() -> None:
        user = User()
        stateful = StatefulProxyClient(features())
        async with user.client(FastMCPProxy(client_factory=stateful.new_stateful), mode) as client:
            assert (await client.call_tool("elicit")).data == "accept Alice"
            assert (await client.call_tool("sample")).data == "seven"
            await client.call_tool("log")
            await client.call_tool("progress")
        assert len(user.logged) == 1 and len(user.steps) == 3

    play(script())
