"""Headers of clients reach the backs that are configured for them, no other, and no session of another client."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from isthmus.engine.gateway import Gateway
from isthmus.engine.member import Spec
from isthmus.engine.settings import Settings
from isthmus.many.gateway import Many
from isthmus.protocol.forwarding import forwarded_lines
from isthmus.routing.choice import Choice
from isthmus.routing.face import Face
from isthmus.run import HttpPlace, make_handler
from isthmus.transports.http_front.front import Front
from isthmus.transports.http_front.protocol import FrontProtocol
from isthmus.transports.target import HttpTarget
from tests.engine.clients import run
from tests.engine.http_back import Exchange, HttpBack, answer, http_back

META = "io.modelcontextprotocol/"
MINE = {"X-Tenant": "red", "Cookie": "c=1", "Authorization": "Bearer hush", "Origin": "http://localhost"}
ERAS = ["legacy", "modern"]


def settings(*names: str, **said: Any) -> Settings:
    return Settings(forward_headers=names or None, **said)


class Front_:
    """A client's requests over HTTP, each on a connection of its own or on one that is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.session = ""
        self.opened: Any = None
        self._id = 0
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, message: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        if self._kept is None:
            self._kept = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._kept
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        fixed = {
            "Host": "localhost",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in (fixed | dict(headers)).items())
        writer.write(f"POST /mcp HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = {n.lower(): v for n, _, v in (line.partition(": ") for line in head.split("\r\n"))}
        self.session = fields.get("mcp-session-id", self.session)
        if "transfer-encoding" not in fields:
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            return json.loads(body) if body else None
        said = b""
        while size := int(await reader.readline(), 16):
            said += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        data = [line[6:] for line in said.decode().splitlines() if line.startswith("data: {")]
        return json.loads(data[-1])

    async def modern(self, method: str, headers: Mapping[str, str], **params: Any) -> Any:
        self._id += 1
        meta = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}
        mirrored = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
        mirrored |= {"Mcp-Name": params["name"]} if "name" in params else {}
        message = {"id": self._id, "method": method, "params": {**params, "_meta": meta}}
        return await self.post(message, {**mirrored, **headers})

    async def legacy(self, method: str, headers: Mapping[str, str], **params: Any) -> Any:
        if not self.session:
            hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
            self.opened = await self.post({"id": 0, "method": "initialize", "params": hello}, headers)
            await self.post({"method": "notifications/initialized"}, {"Mcp-Session-Id": self.session})
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        return await self.post(message, {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": "2025-11-25"})

    async def ask(self, era: str, method: str, headers: Mapping[str, str], **params: Any) -> Any:
        return await (self.modern if era == "modern" else self.legacy)(method, headers, **params)

    def close(self) -> None:
        if self._kept is not None:
            self._kept[1].close()


class Stage:
    """A relay behind an HTTP front."""

    def __init__(self, relay: Gateway | Many) -> None:
        self.relay = relay
        self.clients: list[Front_] = []

    async def __aenter__(self) -> "Stage":
        handler = make_handler(self.relay, HttpPlace())
        self.front = Front(handler.handle, self.relay.limits, handler.express)
        make = lambda: FrontProtocol(self.front, set())  # noqa: E731
        self.server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        return self

    def client(self) -> Front_:
        self.clients.append(Front_(self.server.sockets[0].getsockname()[1]))
        return self.clients[-1]

    async def __aexit__(self, *_: object) -> None:
        for each in self.clients:
            each.close()
        for connection in list(self.front.connections):
            connection.cut()
        await self.front.close()
        await self.relay.close()
        self.server.close()


def http(back: HttpBack, *headers: tuple[str, str], name: str = "back") -> HttpTarget:
    return HttpTarget(name, back.url, headers)


def seen(back: HttpBack, name: str) -> list[str | None]:
    """What each request but the GETs and DELETEs had in a header."""
    return [each.headers.get(name) for each in back.heard if each.verb == "POST"]


def test_lines() -> None:
    headers = {
        "connection": "keep-alive, X-Hop", "x-hop": "1", "x-a": "ü", "x-b": "1\r\nX-Evil: 1", "host": "h", "te": "x",
        "content-type": "t", "mcp-param-x": "1", "authorization": "a", "accept-language": "de", "user-agent": "u",
        "x-forwarded-for": "1.2.3.4", "proxy-authorization": "p", "cookie": "c", "origin": "o",
    }  # fmt: skip
    assert forwarded_lines(headers, None, ()) == "x-a: ü\r\ncookie: c\r\n".encode("latin-1")
    assert forwarded_lines(headers, None, {"cookie"}) == "x-a: ü\r\n".encode("latin-1")
    named = forwarded_lines(headers, ("authorization", "host", "x-none", "x-b", "origin", "mcp-param-x"), ())
    assert named == b"authorization: a\r\norigin: o\r\n"


@pytest.mark.parametrize("front", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_named_headers_go_on_with_every_request_and_no_others_do(front: str, era: str) -> None:
    async def scenario() -> None:
        async with http_back(era) as back:
            relay = Gateway(http(back), settings("x-tenant", "authorization"))
            async with Stage(relay) as stage:
                client = stage.client()
                for _ in range(4):  # the last of which go the short way
                    assert "result" in await client.ask(front, "tools/call", MINE, name="echo", arguments={})
            assert set(seen(back, "x-tenant")) == {"red"} and set(seen(back, "authorization")) == {"Bearer hush"}
            assert set(seen(back, "cookie")) == set(seen(back, "origin")) == {None}

    run(scenario)


@pytest.mark.parametrize("front", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_without_a_word_nothing_goes_on(front: str, era: str) -> None:
    async def scenario() -> None:
        async with http_back(era) as back:
            async with Stage(Gateway(http(back), Settings())) as stage:
                await stage.client().ask(front, "tools/call", MINE, name="echo", arguments={})
            assert back.heard
            for name in MINE:
                assert set(seen(back, name.lower())) == {None}

    run(scenario)


def test_all_but_who_may_what_goes_on_and_the_own_headers_win() -> None:
    async def scenario() -> None:
        async with http_back("modern") as back:
            async with Stage(Gateway(http(back, ("X-Tenant", "blue")), settings())) as stage:
                await stage.client().modern("tools/call", MINE, name="echo", arguments={})
            assert set(seen(back, "cookie")) == {"c=1"} and set(seen(back, "x-tenant")) == {"blue"}
            assert set(seen(back, "authorization")) == set(seen(back, "origin")) == {None}

    run(scenario)


def test_one_head_of_a_client_is_not_shared_between_backs_with_other_lists() -> None:
    async def scenario() -> None:
        async with http_back("modern") as a, http_back("modern") as b, http_back("modern") as c:
            names = {"a": ("x-tenant",), "b": ("authorization",), "c": ()}
            specs = [
                Spec(name=name, target=http(back, name=name), face=Face(name, Choice()),
                     settings=Settings(forward_headers=names[name]))
                for name, back in (("a", a), ("b", b), ("c", c))
            ]  # fmt: skip
            async with Stage(Many(specs)) as stage:
                client = stage.client()
                await client.modern("server/discover", MINE)
                await client.modern("tools/list", MINE)
                for _ in range(3):
                    for name in "abc":
                        said = await client.modern("tools/call", MINE, name=f"{name}_echo", arguments={})
                        assert "result" in said, said
            found = [(set(seen(back, "x-tenant")), set(seen(back, "authorization"))) for back in (a, b, c)]
            assert found == [({"red"}, {None}), ({None}, {"Bearer hush"}), ({None}, {None})]

    run(scenario)


@pytest.mark.parametrize("isolation", ["session", "request"])
@pytest.mark.parametrize("front", ERAS)
@pytest.mark.parametrize("is_many", [False, True])
def test_a_session_never_serves_a_client_with_other_credentials(front: str, isolation: Any, is_many: bool) -> None:
    async def scenario() -> None:
        opened: dict[str, str] = {}
        mixed: list[Any] = []

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            who, session = exchange.headers.get("authorization"), exchange.headers.get("mcp-session-id")
            if exchange.verb == "POST" and session is not None and opened.setdefault(session, who or "") != who:
                mixed.append((session, who))
            await answer(back, exchange)

        async with http_back("legacy", handle) as back:
            chosen = settings("authorization", isolation=isolation)
            face = Face("a", Choice())
            spec = Spec(name="a", target=http(back), face=face, settings=chosen)
            async with Stage(Many([spec]) if is_many else Gateway(http(back), chosen)) as stage:
                red, blue = stage.client(), stage.client()
                for _ in range(3):
                    for client, who in ((red, "red"), (blue, "blue")):
                        name = "a_echo" if is_many else "echo"
                        said = await client.ask(front, "tools/call", {"Authorization": who}, name=name, arguments={})
                        assert "result" in said, said
                        await client.ask(front, "tools/list", {"Authorization": who})
            assert not mixed and set(opened.values()) == {"red", "blue"}
            assert all(each in ("red", "blue") for each in seen(back, "authorization"))

    run(scenario)


def test_lists_are_not_shared_between_clients_with_other_credentials() -> None:
    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message.get("method") == "tools/list":
                tool = {"name": exchange.headers["authorization"], "inputSchema": {"type": "object"}}
                exchange.result(tools=[tool], resultType="complete", ttlMs=60_000, cacheScope="private")
            else:
                await answer(back, exchange)

        async with http_back("modern", handle) as back:
            face = Face("a", Choice())
            spec = Spec(name="a", target=http(back), face=face, settings=settings("authorization"))
            async with Stage(Many([spec])) as stage:
                for _ in range(2):
                    for who in ("red", "blue"):
                        said = await stage.client().modern("tools/list", {"Authorization": who})
                        assert [each["name"] for each in said["result"]["tools"]] == [f"a_{who}"]
            assert len(back.messages("tools/list")) == 2

    run(scenario)


@pytest.mark.parametrize("scope", ["private", "public"])
@pytest.mark.parametrize("back_era", ERAS)
@pytest.mark.parametrize("front", ERAS)
def test_instructions_are_for_others_only_where_they_are_public(front: str, back_era: str, scope: str) -> None:
    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            method, who = exchange.message.get("method"), exchange.headers.get("authorization")
            if method == "server/discover" and back_era == "modern":
                said = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
                exchange.result(instructions=f"Hello {who}.", ttlMs=60_000, cacheScope=scope, **said)
            elif method == "initialize" and back_era == "legacy":
                said = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "serverInfo": {"name": "b", "version": "1"},
                }
                exchange.result(instructions=f"Hello {who}.", **said)
            else:
                await answer(back, exchange)

        async with http_back(back_era, handle) as back:
            spec = Spec(name="a", target=http(back), face=Face("a", Choice()), settings=settings("authorization"))
            async with Stage(Many([spec])) as stage:
                for who in ("red", "blue", "red"):
                    client = stage.client()
                    if front == "legacy":
                        await client.legacy("ping", {"Authorization": who})
                        said = client.opened
                    else:
                        said = await client.modern("server/discover", {"Authorization": who})
                    is_shared = (back_era, scope) == ("modern", "public")
                    assert said["result"]["instructions"] == f"Hello {'red' if is_shared else who}."

    run(scenario)


@pytest.mark.parametrize("front", ERAS)
def test_what_one_client_may_do_is_no_limit_for_another(front: str) -> None:
    kinds: dict[str, dict[str, Any]] = {"red": {"logging": {}}, "blue": {"completions": {}}}

    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            method = exchange.message.get("method")
            if method == "server/discover":
                said = {"supportedVersions": ["2026-07-28"], "resultType": "complete", "cacheScope": "private"}
                exchange.result(capabilities=kinds[exchange.headers["authorization"]], **said)
            else:
                await answer(back, exchange)

        async def ignore(back: HttpBack, exchange: Exchange) -> None:
            """Answers nothing."""

        async with http_back("modern", handle) as back, http_back("modern", ignore) as mute:
            back.tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
            spec = Spec(name="a", target=http(back), face=Face("a", Choice()), settings=settings("authorization"))
            slow = Spec(name="b", target=http(mute), face=Face("b", Choice()), deadline=0.5)
            async with Stage(Many([spec, slow])) as stage:

                async def meet(who: str) -> None:
                    client = stage.client()
                    if front == "legacy":
                        await client.legacy("ping", {"Authorization": who})
                        said = client.opened
                    else:
                        said = await client.modern("server/discover", {"Authorization": who})
                    offered = said["result"]["capabilities"].keys()
                    assert {"logging", "completions"} & offered == kinds[who].keys()
                    listed = await client.ask(front, "tools/list", {"Authorization": who})
                    assert [each["name"] for each in listed["result"]["tools"]] == ["a_echo"]

                await asyncio.gather(meet("red"), meet("blue"))  # both wait for the other server
                await meet("red")

    run(scenario)


def test_nothing_goes_along_a_redirect_to_another_origin() -> None:
    async def scenario() -> None:
        async with http_back("modern") as other:

            async def handle(back: HttpBack, exchange: Exchange) -> None:
                exchange.respond(307, b"", Location=other.url)

            async with http_back("modern", handle) as back:
                async with Stage(Gateway(http(back), settings("authorization"))) as stage:
                    began = asyncio.get_running_loop().time()
                    said = await stage.client().modern("tools/call", MINE, name="echo", arguments={})
                    assert said["error"]["code"] == -32603 and asyncio.get_running_loop().time() - began < 1
                assert back.heard and not other.heard

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_credentials_of_one_client_put_no_server_out_for_others(era: str) -> None:
    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.headers.get("authorization") != "good":
                exchange.respond(401, b"Who are you?", "text/plain")
            else:
                await answer(back, exchange)

        async with http_back(era, handle) as back:
            face = Face("a", Choice())
            spec = Spec(name="a", target=http(back), face=face, settings=settings("authorization"), required=True)
            relay = Many([spec])
            async with Stage(relay) as stage:
                await relay.start()  # it is there, though nobody's credentials are
                bad, good = stage.client(), stage.client()
                for _ in range(7):
                    said = await bad.modern("tools/call", {"Authorization": "bad"}, name="a_echo", arguments={})
                    assert said["error"]["code"] == -32603 and "401" in said["error"]["message"], said
                assert relay.members[0].why_out is None
                said = await good.modern("tools/call", {"Authorization": "good"}, name="a_echo", arguments={})
                assert "result" in said, said

    run(scenario)


@pytest.mark.parametrize("front", ERAS)
def test_a_back_with_http_sse_gets_them_with_its_stream_and_every_message(front: str) -> None:
    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.verb == "GET":
                exchange.begin()
                exchange.chunk(b"event: endpoint\ndata: /messages\n\n")
                back.gets.append(exchange)
                return
            exchange.respond(202, b"")
            if "id" in exchange.message:
                result: dict[str, Any] = {"protocolVersion": "2024-11-05", "capabilities": {}, "tools": []}
                back.gets[-1].event({"id": exchange.message["id"], "result": {**result, "serverInfo": {}}})

        async with http_back("legacy", handle) as back:
            target = HttpTarget("back", back.url, (), "sse")
            async with Stage(Gateway(target, settings("x-tenant", isolation="session"))) as stage:
                for who in ("red", "blue"):
                    said = await stage.client().ask(front, "tools/list", {"X-Tenant": who})
                    assert said["result"]["tools"] == []
            found = [(each.verb, each.headers.get("x-tenant")) for each in back.heard]
            assert {("GET", "red"), ("GET", "blue")} <= set(found)
            assert {who for _, who in found} == {"red", "blue"}

    run(scenario)
