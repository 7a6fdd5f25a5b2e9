"""Whose requests a session of the back sees: fifty clients at once, of both eras and five users, over HTTP.

Under `request` no session sees two requests; under `session` none sees two legacy clients, or two principals.
"""

import asyncio
from collections import defaultdict
from typing import Any, NamedTuple

import pytest

from isthmus import Access, Client, FastMCP, FastMCPProxy, ProxyClient, StatefulProxyClient
from isthmus.client.transports import StreamableHttpTransport
from tests.engine.http_back import Exchange, HttpBack, answer, http_back
from tests.fronts.tokens import ISSUER, URL, granted
from tests.library.ways import over_http, play, small

CLIENTS = 50
USERS = 5
CALLS = 3


class Who(NamedTuple):
    """A client: its number, era, and whose it is."""

    number: int
    mode: Any
    user: str


WHO = [Who(number, ("legacy", "modern")[number % 2], f"user-{number % USERS}") for number in range(CLIENTS)]


class Known:
    """Takes every token for the user of that name."""

    async def verify_token(self, token: str) -> Any:
        return granted("app", subject=token, claims={"iss": ISSUER})


def access() -> Access:
    return Access(Known(), resource=URL, authorization_servers=(ISSUER,))


async def slowly(back: HttpBack, exchange: Exchange) -> None:
    """A back whose calls overlap: each gives the others a turn before it answers."""
    if exchange.message.get("method") == "tools/call" and exchange.headers.get("mcp-session-id") in back.sessions:
        await asyncio.sleep(0.01)
        exchange.result(content=[{"type": "text", "text": str(exchange.message["params"]["arguments"]["who"])}])
    else:
        await answer(back, exchange)


async def one(url: str, who: Who, tool: str, start: asyncio.Event) -> None:
    """One client's calls, all at once, when all clients are there; each gets its own answers."""
    async with Client(StreamableHttpTransport(url, auth=who.user), mode=who.mode, timeout=30) as client:
        await start.wait()
        got = await asyncio.gather(*(client.call_tool_mcp(tool, {"who": who.number}) for _ in range(CALLS)))
    assert [getattr(each.content[0], "text", None) for each in got] == [str(who.number)] * CALLS


async def seen_by(proxy: FastMCP, back: HttpBack, tool: str = "echo") -> dict[str, list[Who]]:
    """For each session of the back, the clients of the calls that it saw; its other requests count for none of them."""
    start = asyncio.Event()
    async with over_http(proxy) as url, asyncio.TaskGroup() as group:
        for who in WHO:
            group.create_task(one(url, who, tool, start))
        start.set()
    calls: dict[str, list[Who]] = defaultdict(list)
    for exchange in back.heard:
        if exchange.message.get("method") == "tools/call" and "mcp-session-id" in exchange.headers:
            calls[exchange.headers["mcp-session-id"]].append(WHO[exchange.message["params"]["arguments"]["who"]])
    assert sum(map(len, calls.values())) == CLIENTS * CALLS
    return calls


def requests_of(back: HttpBack) -> dict[str, list[str]]:
    """The methods that each session saw, but for those that open it."""
    seen: dict[str, list[str]] = defaultdict(list)
    for exchange in back.heard:
        method = exchange.message.get("method", "")
        if "id" in exchange.message and method not in ("", "initialize"):
            seen[exchange.headers.get("mcp-session-id", "none")].append(method)
    return {session: methods for session, methods in seen.items() if session in {f"s{n}" for n in range(1, 9999)}}


REQUEST: dict[str, Any] = {
    "as_proxy": lambda url: FastMCP.as_proxy(ProxyClient(url), auth=access()),
    "factory": lambda url: FastMCPProxy(client_factory=lambda: ProxyClient(url), auth=access()),
    "config": lambda url: FastMCP.as_proxy({"mcpServers": {"default": {"url": url}}}, auth=access()),
    "mounted": lambda url: _mounting(url),
}
SESSION: dict[str, Any] = {
    "as_proxy": lambda url: FastMCP.as_proxy(url, isolation="session", auth=access()),
    "stateful": lambda url: FastMCP.as_proxy(StatefulProxyClient(url), auth=access()),
    "factory": lambda url: FastMCPProxy(client_factory=StatefulProxyClient(url).new_stateful, auth=access()),
}


def _mounting(url: str) -> FastMCP:
    main = FastMCP("main", auth=access())
    main.mount(FastMCP.as_proxy(ProxyClient(url)), prefix="back")
    return main


@pytest.mark.parametrize("made", REQUEST)
def test_no_fresh_session_sees_two_requests(made: str) -> None:
    async def script() -> None:
        async with http_back("legacy", slowly) as back:
            tool = "back_echo" if made == "mounted" else "echo"
            calls = await seen_by(REQUEST[made](back.url), back, tool)
            assert {len(each) for each in calls.values()} == {1}
            assert len(calls) == CLIENTS * CALLS
            assert {len(methods) for methods in requests_of(back).values()} == {1}

    play(script(), within=60)


@pytest.mark.parametrize("made", SESSION)
def test_no_kept_session_sees_two_legacy_clients_or_two_principals(made: str) -> None:
    async def script() -> None:
        async with http_back("legacy", slowly) as back:
            calls = await seen_by(SESSION[made](back.url), back)
            assert {user for each in calls.values() for user in {who.user for who in each}} == {w.user for w in WHO}
            for session, each in calls.items():
                assert len({who.user for who in each}) == 1, session
                if any(who.mode == "legacy" for who in each):
                    assert {who.number for who in each} == {each[0].number}, session
                    assert len(each) == CALLS
            assert len([each for each in calls.values() if each[0].mode == "legacy"]) == CLIENTS // 2

    play(script(), within=60)


def test_fresh_sessions_are_fresh_processes(tmp_path: Any) -> None:
    """On stdio a session is a process: of twenty clients of either era, none meets one that another one met."""
    from tests.library.ways import pid_of

    async def script() -> None:
        proxy = FastMCP.as_proxy(small("legacy", tmp_path / "log"))
        async with over_http(proxy) as url:

            async def met(number: int) -> list[int]:
                mode: Any = ("legacy", "modern")[number % 2]
                async with Client(url, mode=mode, timeout=30) as client:
                    return list(await asyncio.gather(*(pid_of(client) for _ in range(2))))

            found = await asyncio.gather(*map(met, range(20)))
        assert len({pid for each in found for pid in each}) == 40

    play(script(), within=60)
