"""A verifier with a few tokens, each by the name of what is the matter with it."""

import asyncio
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from mcp.server.auth.provider import AccessToken

from isthmus import Access

from .raw import Response, post

URL = "https://mcp.example.com/mcp"
ISSUER = "https://login.example.com"
SCOPES = ("files:read", "files:write")


def wall() -> float:
    """Seconds since 1970, as an issuer counts them."""
    return datetime.now(UTC).timestamp()


def granted(client: str, **more: Any) -> AccessToken:
    return AccessToken(**{"token": "", "client_id": client, "scopes": [*SCOPES, "more"], "resource": URL, **more})


class Verifier:
    """A verifier of the SDK's kind; it knows a few tokens, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hangs = asyncio.Event()
        self.known: dict[str, Any] = {
            "alice": granted("app", subject="alice", claims={"iss": ISSUER}),
            "alice-again": granted("app", subject="alice", claims={"iss": ISSUER}, expires_at=int(wall()) + 900),
            "alice-by-claim": granted("app", claims={"iss": ISSUER, "sub": "alice"}, resource=None),
            "bob": granted("app", subject="bob", claims={"iss": ISSUER}),
            "alice-elsewhere": granted("app", subject="alice", claims={"iss": "https://other.example"}),
            "alice-of-another-app": granted("other", subject="alice", claims={"iss": ISSUER}),
            "nobody-1": SimpleNamespace(client_id=None, scopes=SCOPES),
            "nobody-2": SimpleNamespace(client_id=None, scopes=SCOPES),
            "spelled": granted("app", resource="HTTPS://MCP.Example.com:443/mcp/"),
            "one-of": SimpleNamespace(client_id="app", scopes=SCOPES, resource=["https://x.example", URL]),
            "expired": granted("app", expires_at=int(wall()) - 1),
            "elsewhere": granted("app", resource="https://mcp.example.com/other"),
            "low": granted("app", scopes=["files:read", "more"]),
            "none": granted("app", scopes=[]),
            "odd": {"client_id": "app"},
        }

    async def verify_token(self, token: str) -> Any:
        self.asked.append(token)
        if token == "breaks":
            raise RuntimeError(f"no JSON: {token}-secret")
        if token == "hangs":
            await self.hangs.wait()
        return self.known.get(token)


def access(verifier: Any = None) -> Access:
    return Access(verifier or Verifier(), resource=URL, authorization_servers=(ISSUER,), scopes=SCOPES)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def challenge(response: Response) -> dict[str, str]:
    scheme, _, said = response.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"(?:, |$)', said))


def in_session(message: Any, id: str, token: str) -> bytes:
    return post(message, Mcp_Session_Id=id, Authorization=bearer(token))
