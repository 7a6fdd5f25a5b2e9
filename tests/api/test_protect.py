"""A protected endpoint as a whole: the relay behind it, real clients and verifiers, and what can't be one."""

import asyncio
import json
import logging
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from isthmus import Access, FastMCP
from isthmus.engine.gateway import Gateway
from isthmus.errors import ConfigError
from isthmus.transports.http_front.access import canonical
from isthmus.transports.http_front.guard import Guard
from isthmus.transports.http_front.handler import Handler
from isthmus.transports.http_front.serve import Stopping, bind, serve
from isthmus.transports.target import HttpTarget
from tests.conformance.processes import EVERYTHING, listening
from tests.engine.http_back import HttpBack, http_back
from tests.fronts.raw import ask, call, connected, http, initialize, legacy, modern_post, post
from tests.fronts.shells import Owner, run
from tests.fronts.tokens import ISSUER, URL, Verifier, access, bearer, challenge, in_session

INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@asynccontextmanager
async def proxied(era: str, verifier: Verifier) -> AsyncIterator[tuple[int, HttpBack, list[str | None], list[bool]]]:
    """The whole relay before a back on HTTP: the port, the back, and of each modern call who made it and which way."""
    owner, stopping = Owner(), Stopping()
    principals: list[str | None] = []
    expressed: list[bool] = []

    class Seen(Gateway):
        def express(self, request: Any, *more: Any) -> Any:
            left = super().express(request, *more)
            expressed.append(left is not None)
            if left is not None:
                principals.append(request.principal)
            return left

        def relay(self, request: Any, *more: Any) -> Any:
            principals.append(request.principal)
            return super().relay(request, *more)

    async with http_back(era) as back:
        bound = bind("127.0.0.1", 0)
        gateway = Seen(HttpTarget("back", back.url, (("Authorization", "Bearer of-the-proxy"),)))
        handler = Handler(gateway, Guard(), access=access(verifier))
        serving = owner.start(serve(bound, handler, gateway.limits, owner.start, gateway.end_session, stopping))
        try:
            yield bound.getsockname()[1], back, principals, expressed
        finally:
            stopping.stop()
            stopping.stop()
            async with asyncio.timeout(5):
                await serving
            await gateway.close()


def test_callers_are_told_apart_on_the_short_way_too() -> None:
    async def scenario() -> None:
        verifier = Verifier()
        async with proxied("modern", verifier) as (port, _, principals, expressed):
            async with connected(port) as alice, connected(port) as bob:
                for id in range(3):
                    for peer, token in ((alice, "alice"), (bob, "bob")):
                        response = await peer.ask(modern_post(call("echo", id), Authorization=bearer(token)))
                        assert (response.status, response.json["id"]) == (200, id)
            assert len(principals) == 6 and len(set(principals)) == 2 and None not in principals
            assert principals == principals[:2] * 3
            assert expressed.count(True) >= 2
            assert sorted(verifier.asked) == ["alice", "bob"]
            assert not any(name in str(principals) for name in ("alice", "bob", "app"))

    run(scenario)


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_token_goes_no_further(era: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the back nor a log hears of it; the back gets what is its own."""
    sent = bearer("alice")

    async def scenario() -> None:
        async with proxied(era, Verifier()) as (port, back, *_):
            if era == "modern":
                for id in range(3):
                    assert (await ask(port, modern_post(call("echo", id), Authorization=sent))).status == 200
            else:
                opened = await ask(port, post(initialize(), Authorization=sent))
                id_of = opened.headers["mcp-session-id"]
                for message in (INITIALIZED, legacy("tools/list", 2), legacy("tools/call", 3, name="echo")):
                    assert (await ask(port, in_session(message, id_of, "alice"))).status in (200, 202)
                assert (await ask(port, http("DELETE", Mcp_Session_Id=id_of, Authorization=sent))).status == 200
            assert back.heard
            for exchange in back.heard:
                assert exchange.headers["authorization"] == "Bearer of-the-proxy"
                assert "alice" not in str(exchange.headers) and b"alice" not in exchange.body
            await ask(port, modern_post(call("echo"), Authorization="Bearer alice-unheard-of"))

    with caplog.at_level(logging.DEBUG):
        run(scenario)
    assert "alice" not in caplog.text


PROXY = """
import sys
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from isthmus import Access, FastMCP

tokens = {"good": {"client_id": "app", "scopes": ["use"]}, "low": {"client_id": "app", "scopes": []}}
port, issuer, *back = sys.argv[1:]
url = f"http://127.0.0.1:{port}/mcp"
access = Access(StaticTokenVerifier(tokens), resource=url, authorization_servers=[issuer], scopes=["use"])
FastMCP.as_proxy(back, auth=access).run(transport="http", port=int(port))
"""


@contextmanager
def issuing() -> Iterator[str]:
    """An authorization server that gives the app a token for what it names; its URL."""

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metadata = {"issuer": url, "authorization_endpoint": f"{url}/authorize", "token_endpoint": f"{url}/token"}
            grants = {"grant_types_supported": ["client_credentials"], "response_types_supported": ["code"]}
            self._say(metadata | grants if self.path == "/.well-known/oauth-authorization-server" else None)

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            is_right = asked["resource"][0].endswith("/mcp") and asked["scope"] == ["use"]
            self._say({"access_token": "good", "token_type": "Bearer", "expires_in": 60} if is_right else None)

        def _say(self, what: object) -> None:
            body = json.dumps(what).encode()
            self.send_response(200 if what else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield url
        server.shutdown()
        thread.join(5)


class Storage:
    """Where the SDK's client keeps its token."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.info: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.info

    async def set_client_info(self, client_info: Any) -> None:
        self.info = client_info


async def tools(url: str, mode: Any, **how: Any) -> list[str]:
    """What the SDK's client sees."""
    async with (
        asyncio.timeout(20),
        httpx2.AsyncClient(**how) as web,
        Client(streamable_http_client(url, http_client=web), mode=mode) as client,
    ):
        return [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_s_client(mode: str) -> None:
    """Python SDK 2.x over HTTP, with a token, without a right one, and finding its own; FastMCP's verifier."""
    with (
        issuing() as issuer,
        listening(lambda port: [sys.executable, "-c", PROXY, str(port), issuer, *EVERYTHING]) as url,
    ):
        assert asyncio.run(tools(url, mode, headers={"Authorization": "Bearer good"}))
        for headers in ({}, {"Authorization": "Bearer bad"}, {"Authorization": "Bearer low"}):
            with pytest.raises(ExceptionGroup) as refused:
                asyncio.run(tools(url, mode, headers=headers))
            assert refused.value.split(MCPError)[1] is None
        storage = Storage()
        finds = ClientCredentialsOAuthProvider(url, storage, "app", "secret", issuer=issuer)
        assert asyncio.run(tools(url, mode, auth=finds))
        assert storage.tokens.access_token == "good"


def test_the_page_s_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/howto/protect-an-endpoint.md: each makes a proxy that asks for tokens; the verifier of its own knows one."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "protect-an-endpoint.md").read_text(encoding="utf-8")
    (tmp_path / "server.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANNS_TOKEN", "of-ann")
    ran: list[dict[str, Any]] = []
    monkeypatch.setattr(FastMCP, "run", lambda self, **how: ran.append(how))
    names: list[dict[str, Any]] = []
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        names.append({})
        exec(example, names[-1])
    jwt, own, mounted = names
    assert [how["transport"] for how in ran] == ["http", "http"]
    assert jwt["access"].resource == "https://mcp.example.com/mcp"
    assert asyncio.run(own["access"].verifier.verify_token("of-ann")).client_id == "ann"
    assert asyncio.run(own["access"].verifier.verify_token("of-bob")) is None
    assert len(mounted["protected"](Verifier()).routes) == 2


def test_mounted_below_a_path() -> None:
    """The metadata's place is at the host's root: a route of the application that it is mounted in leads there."""
    place = "/.well-known/oauth-protected-resource/tools/mcp"
    auth = Access(Verifier(), resource="https://mcp.example.com/tools/mcp", authorization_servers=(ISSUER,))
    proxy = FastMCP.as_proxy("http://127.0.0.1:9/mcp", auth=auth).http_app()
    app = Starlette(routes=[Mount("/tools", app=proxy), Route(place, endpoint=proxy)], lifespan=proxy.lifespan)

    async def scenario() -> None:
        bound = bind("127.0.0.1", 0)
        port = bound.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, http="httptools", ws="none", log_config=None))
        serving = asyncio.ensure_future(server.serve([bound]))
        try:
            refused = await ask(port, post(initialize()).replace(b"/mcp", b"/tools/mcp", 1))
            assert (refused.status, challenge(refused)) == (
                401,
                {"resource_metadata": f"https://mcp.example.com{place}"},
            )
            got = await ask(port, http("GET", path=place))
            assert (got.status, "scopes_supported" in got.json) == (200, False)
        finally:
            server.should_exit = True
            async with asyncio.timeout(5):
                await serving

    run(scenario)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp"),
        ("HTTPS://Mcp.Example.COM:443/mcp/", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com/", "https://mcp.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("https://localhost:80/A", "https://localhost:80/A"),
        ("http://[::1]:8080/mcp", "http://[::1]:8080/mcp"),
        ("mcp.example.com", None),
        ("https://mcp.example.com#x", None),
        ("https://mcp.example.com/?x", None),
        ("https://a@mcp.example.com/", None),
        ("https://mcp.example.com:port/", None),
        ("ftp://mcp.example.com", None),
        ("https:///mcp", None),
        ("https://[::1", None),
        ("", None),
    ],
)
def test_canonical(url: str, same: str | None) -> None:
    """2026-07-28 basic/authorization, Canonical Server URI."""
    assert canonical(url) == same


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"verifier": object()}, "verify_token"),
        ({"resource": "/mcp"}, "'/mcp' must be"),
        ({"resource": 'https://mcp.example.com/"'}, "must be"),
        ({"authorization_servers": ()}, "at least one"),
        ({"authorization_servers": ("login.example.com",)}, "'login.example.com' must be"),
        ({"scopes": ("a b",)}, "'a b' is no scope"),
        ({"scopes": ("a\r\nX: y",)}, "is no scope"),
    ],
)
def test_what_is_no_access(changed: dict[str, Any], why: str) -> None:
    usual: dict[str, Any] = {"verifier": Verifier(), "resource": URL, "authorization_servers": (ISSUER,)}
    with pytest.raises(ConfigError, match=why):
        Access(**(usual | changed))


def test_one_string_is_one_of_them() -> None:
    made = Access(Verifier(), resource=URL, authorization_servers=ISSUER, scopes="use")  # type: ignore[arg-type]
    assert (made.authorization_servers, made.scopes) == ((ISSUER,), ("use",))


def test_a_verifier_alone_is_not_enough() -> None:
    with pytest.raises(ConfigError, match="Access\\(verifier, resource=URL"):
        FastMCP.as_proxy("http://127.0.0.1:9/mcp", auth=Verifier())
