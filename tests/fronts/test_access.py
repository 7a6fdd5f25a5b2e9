"""Access tokens: who may call, and whose session it is. Rows 25, 26 and 42."""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from itertools import product
from types import SimpleNamespace

import httpx2
import pytest
from mcp.client.auth.utils import extract_resource_metadata_from_www_auth, extract_scope_from_www_auth
from mcp.shared.auth import ProtectedResourceMetadata

from isthmus import limits

from .raw import ask, call, connected, http, initialize, legacy, modern_post, open_session, post
from .shells import SHELLS, run, shell
from .tokens import ISSUER, SCOPES, URL, Verifier, access, bearer, challenge, granted, in_session, wall

METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
PAGE = "https://app.example"
NOTIFICATION = {"jsonrpc": "2.0", "method": "notifications/initialized"}
ANSWER = {"jsonrpc": "2.0", "id": 4, "result": {}}
BATCH = [legacy("tools/list", 5)]
REQUESTS: dict[str, Callable[[str | None], bytes]] = {
    "modern call": lambda sent: modern_post(call("echo"), Authorization=sent),
    "initialize": lambda sent: post(initialize(), Authorization=sent),
    "batch": lambda sent: post(BATCH, Authorization=sent),
    "nonsense": lambda sent: post(b"{", Authorization=sent),
    "GET": lambda sent: http("GET", Authorization=sent, Mcp_Session_Id="x", Accept="text/event-stream"),
    "DELETE": lambda sent: http("DELETE", Authorization=sent, Mcp_Session_Id="x"),
    "another path": lambda sent: http("GET", path="/other", Authorization=sent),
}


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        (None, 401, None),
        ("Basic YTpi", 401, None),
        ("Bearer unheard-of", 401, "invalid_token"),
        ("Bearer expired", 401, "invalid_token"),
        ("Bearer elsewhere", 401, "invalid_token"),
        ("Bearer", 401, "invalid_token"),
        ("Bearer two words", 401, "invalid_token"),
        ('Bearer "quoted"', 401, "invalid_token"),
        ("Bearer low", 403, "insufficient_scope"),
        ("Bearer none", 403, "insufficient_scope"),
    ],
)
def test_who_may_not_call(kind: str, sent: str | None, status: int, error: str | None) -> None:
    """Row 26, on every way in; what can't be a token is not shown to the verifier."""
    verifier = Verifier()

    async def scenario() -> None:
        async with shell(kind, access=access(verifier)) as served:
            for what, request in REQUESTS.items():
                response = await ask(served.port, request(sent))
                assert response.status == status, what
                said = challenge(response)
                assert said["resource_metadata"] == METADATA
                assert said["scope"] == "files:read files:write"
                assert said.get("error") == error
                assert ("error_description" in said) == (error is not None)
                assert response.json["error"]["message"].endswith(".")
            assert served.relay.began == [] and served.relay.sessions == []
            assert set(verifier.asked) <= {"unheard-of", *verifier.known}

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize("token", ["alice", "alice-by-claim", "spelled", "one-of", "nobody-1"])
def test_who_may_call(kind: str, token: str) -> None:
    async def scenario() -> None:
        async with shell(kind, access=access()) as served:
            for scheme in ("Bearer", "bearer", "BEARER "):
                response = await ask(served.port, modern_post(call("echo"), Authorization=f"{scheme} {token}"))
                assert (response.status, "www-authenticate" in response.headers) == (200, False)
            assert served.relay.headers is not None and "authorization" not in served.relay.headers
            opened = await ask(served.port, post(initialize(), Authorization=bearer(token)))
            id = opened.headers["mcp-session-id"]
            assert (await ask(served.port, in_session(legacy("tools/list", 7), id, token))).json["id"] == 7

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize("sent", [None, "Bearer alice"])
def test_a_token_in_the_query(kind: str, sent: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Row 25, with a token in the header beside it, and without."""

    async def scenario() -> None:
        async with shell(kind, access=access()) as served:
            response = await ask(served.port, http("POST", b"{}", "/mcp?access_token=hush", Authorization=sent))
            assert response.status == 401
            assert response.headers["www-authenticate"].startswith("Bearer")

    with caplog.at_level(logging.DEBUG):
        run(scenario)
    assert "hush" not in caplog.text


ON_SESSION: dict[str, Callable[[str, str], bytes]] = {
    "POST request": lambda id, token: in_session(legacy("tools/list", 5), id, token),
    "POST notification": lambda id, token: in_session(NOTIFICATION, id, token),
    "POST answer": lambda id, token: in_session(ANSWER, id, token),
    "POST initialize": lambda id, token: in_session(initialize(), id, token),
    "POST batch": lambda id, token: in_session(BATCH, id, token),
    "GET": lambda id, token: http("GET", Mcp_Session_Id=id, Authorization=bearer(token), Accept="text/event-stream"),
    "GET with an event": lambda id, token: http(
        "GET", Mcp_Session_Id=id, Authorization=bearer(token), Accept="text/event-stream", Last_Event_ID="1"
    ),
    "GET, JSON": lambda id, token: http(
        "GET", Mcp_Session_Id=id, Authorization=bearer(token), Accept="application/json"
    ),
    "DELETE": lambda id, token: http("DELETE", Mcp_Session_Id=id, Authorization=bearer(token)),
}


async def exact(port: int, request: bytes) -> bytes:
    """A response's bytes but for its date."""
    async with connected(port) as peer:
        peer.send(request.replace(b"\r\nHost:", b"\r\nConnection: close\r\nHost:"))
        return re.sub(rb"(?i)date: [^\r]*", b"", await peer.ended())


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize("what", ON_SESSION)
def test_another_s_session(kind: str, what: str) -> None:
    """Row 42: to the byte what an unknown session is (row 40); and its owner does not notice."""

    async def scenario() -> None:
        async with shell(kind, access=access()) as served:
            version = "2025-03-26" if what == "POST batch" else "2025-11-25"
            strangers = ("bob", "alice-elsewhere", "alice-of-another-app", "nobody-1")
            for opener, token in product(("alice", "nobody-2"), strangers):
                opened = await ask(served.port, post(initialize(version), Authorization=bearer(opener)))
                id = opened.headers["mcp-session-id"]
                session = served.relay.sessions[-1]
                foreign = await exact(served.port, ON_SESSION[what](id, token))
                assert foreign == await exact(served.port, ON_SESSION[what]("unknown", token))
                status = 400 if what == "POST batch" else 404
                assert foreign.startswith(b"HTTP/1.1 %d " % status)
                assert (session.told, served.relay.ended) == ([], [])
                response = await ask(served.port, in_session(legacy("tools/list", 7), id, opener))
                assert (response.status, response.json["id"]) == (200, 7)

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
def test_another_s_older_session(kind: str) -> None:
    """The same on HTTP+SSE (isolation, I4)."""

    async def scenario() -> None:
        async with shell(kind, access=access(), sse="/sse") as served, connected(served.port) as peer:
            assert (await ask(served.port, http("GET", path="/sse"))).status == 401
            peer.send(http("GET", path="/sse", Authorization=bearer("alice"), Accept="text/event-stream"))
            assert (await peer.head())[0] == 200
            where = "/" + (await peer.chunk()).partition(b"data: ")[2].decode().strip()
            body = json.dumps(initialize("2024-11-05")).encode()
            assert (await ask(served.port, http("POST", body, where))).status == 401
            foreign = await exact(served.port, http("POST", body, where, Authorization=bearer("bob")))
            unknown = where.partition("=")[0] + "=unknown"
            assert foreign == await exact(served.port, http("POST", body, unknown, Authorization=bearer("bob")))
            assert foreign.startswith(b"HTTP/1.1 404 ") and served.relay.sessions == []
            accepted = await ask(served.port, http("POST", body, where, Authorization=bearer("alice-again")))
            assert accepted.status == 202
            assert (await peer.event())["id"] == 0

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
def test_a_session_outlives_its_token(kind: str) -> None:
    """A refreshed token of the same caller is as good; none at all is not."""

    async def scenario() -> None:
        async with shell(kind, access=access()) as served:
            opened = await ask(served.port, post(initialize(), Authorization=bearer("alice")))
            id = opened.headers["mcp-session-id"]
            for token in ("alice-again", "alice-by-claim"):
                assert (await ask(served.port, in_session(legacy("tools/list"), id, token))).status == 200
            assert (await ask(served.port, post(legacy("tools/list"), Mcp_Session_Id=id))).status == 401
            for verb in ("GET", "DELETE"):
                assert (await ask(served.port, http(verb, Mcp_Session_Id=id))).status == 401
            ended = await ask(served.port, ON_SESSION["DELETE"](id, "alice-again"))
            assert (ended.status, len(served.relay.ended)) == (200, 1)

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
def test_the_metadata(kind: str) -> None:
    """RFC 9728: where a client looks for it, readable without a token, as the SDK reads it."""

    async def scenario() -> None:
        async with shell(kind, access=access(), origins=(PAGE,)) as served:
            refused = await ask(served.port, modern_post(call("echo")))
            as_seen = httpx2.Response(401, headers={"www-authenticate": refused.headers["www-authenticate"]})
            assert extract_resource_metadata_from_www_auth(as_seen) == METADATA
            assert extract_scope_from_www_auth(as_seen) == "files:read files:write"
            for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"):
                got = await ask(served.port, http("GET", path=path, Origin=PAGE), "GET")
                assert (got.status, got.headers["content-type"]) == (200, "application/json")
                assert got.headers["access-control-allow-origin"] == PAGE
                assert got.json == {
                    "resource": URL,
                    "authorization_servers": [ISSUER],
                    "scopes_supported": [*SCOPES],
                    "bearer_methods_supported": ["header"],
                }
                assert str(ProtectedResourceMetadata.model_validate(got.json).resource) == URL
                head = await ask(served.port, http("HEAD", path=path), "HEAD")
                assert (head.status, head.headers["content-length"]) == (200, str(len(got.body)))
                wanted = {"Origin": PAGE, "Access-Control-Request-Headers": "mcp-protocol-version"}
                asked = await ask(served.port, http("OPTIONS", path=path, fields={**wanted}), "OPTIONS")
                assert (asked.status, asked.headers["access-control-allow-headers"]) == (204, "mcp-protocol-version")
                posted = await ask(served.port, http("POST", b"{}", path=path))
                assert (posted.status, posted.headers["allow"]) == (405, "GET")
            foreign = await ask(served.port, http("GET", path="/.well-known/oauth-protected-resource", Host="evil"))
            assert foreign.status == 421

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
def test_pages_may_read_what_is_missing(kind: str) -> None:
    """CORS: a preflight carries no token, and the refusal of what follows is readable."""

    async def scenario() -> None:
        async with shell(kind, access=access(), origins=(PAGE,)) as served:
            wanted = {"Origin": PAGE, "Access-Control-Request-Headers": "authorization, content-type"}
            asked = await ask(served.port, http("OPTIONS", fields={**wanted}), "OPTIONS")
            assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, PAGE)
            assert asked.headers["access-control-allow-headers"] == "authorization, content-type"
            response = await ask(served.port, modern_post(call("echo"), Origin=PAGE))
            assert (response.status, response.headers["access-control-allow-origin"]) == (401, PAGE)
            assert "WWW-Authenticate" in response.headers["access-control-expose-headers"].split(", ")
            assert (await ask(served.port, http("OPTIONS", Origin="http://localhost:1"), "OPTIONS")).status == 405

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize("token", ["breaks", "hangs", "odd"])
def test_a_verifier_that_fails(
    kind: str, token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "VERIFY", 0.05)

    async def scenario() -> None:
        async with shell(kind, access=access()) as served:
            for _ in range(2):  # what failed is not remembered
                response = await ask(served.port, modern_post(call("echo"), Authorization=bearer(token)))
                assert (response.status, response.headers["retry-after"]) == (503, "5")
                assert response.json["error"] == {
                    "code": -32603,
                    "message": "Access tokens can't be verified at the moment. Try again later.",
                }
            assert (await ask(served.port, modern_post(call("echo"), Authorization=bearer("alice")))).status == 200

    with caplog.at_level(logging.DEBUG):
        run(scenario)
    said = [record.getMessage() for record in caplog.records if record.name == "isthmus.front"]
    assert len(said) == 2 and all("The verifier of access tokens failed" in each for each in said)
    assert token not in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize("kind", SHELLS)
def test_a_token_is_verified_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while: then one that was revoked is none. What is remembered is bounded."""
    monkeypatch.setattr(limits, "TOKENS_REMEMBERED", 2)
    verifier = Verifier()

    async def scenario() -> None:
        async with shell(kind, access=access(verifier)) as served, connected(served.port) as peer:

            async def status(token: str) -> int:
                return (await peer.ask(modern_post(call("echo"), Authorization=bearer(token)))).status

            assert [await status("alice") for _ in range(3)] == [200, 200, 200]
            assert verifier.asked == ["alice"]
            assert [await status("unheard-of") for _ in range(2)] == [401, 401]
            assert verifier.asked == ["alice", "unheard-of", "unheard-of"]
            assert [await status(token) for token in ("bob", "spelled", "one-of")] == [200] * 3
            assert len(served.handler._gate._grants) == 2  # type: ignore[union-attr]
            assert hashlib.sha256(b"one-of").digest() in served.handler._gate._grants  # type: ignore[union-attr]

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize("why", ["revoked", "expired"])
def test_a_token_ends_on_a_connection_that_knows_it(kind: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "revoked":
        monkeypatch.setattr(limits, "TOKEN_TRUSTED", 0.3)
    verifier = Verifier()

    async def scenario() -> None:
        if why == "expired":
            verifier.known["alice"] = SimpleNamespace(client_id="app", scopes=SCOPES, expires_at=wall() + 0.3)
        async with shell(kind, access=access(verifier)) as served, connected(served.port) as peer:
            request = modern_post(call("echo"), Authorization=bearer("alice"))
            for _ in range(3):
                assert (await peer.ask(request)).status == 200
            assert verifier.asked == ["alice"]
            if why == "revoked":
                del verifier.known["alice"]
            while (response := await peer.ask(request)).status == 200:
                pass  # until it does, within the bound of `run`
            assert (response.status, challenge(response)["error"]) == (401, "invalid_token")
            verifier.known["alice"] = granted("app")
            assert (await peer.ask(request)).status == 200

    run(scenario)


@pytest.mark.parametrize("kind", SHELLS)
def test_without_access_nobody_is_asked(kind: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            assert (await ask(served.port, modern_post(call("echo"), Authorization="Bearer x"))).status == 200
            id = await open_session(served.port)
            assert (await ask(served.port, in_session(legacy("tools/list"), id, "anything"))).status == 200
            assert (await ask(served.port, http("GET", path="/.well-known/oauth-protected-resource"))).status == 404

    run(scenario)
