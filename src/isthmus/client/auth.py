"""Credentials for servers that listen, as auth objects of httpx2. With one of these the SDK makes the requests."""

import asyncio
import logging
import os
import socket
import webbrowser
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from isthmus.limits import HEADER_BYTES, OAUTH_LOGIN, WRITE_STALLED

__all__ = ["BearerAuth", "OAuth"]

_log: Final = logging.getLogger("isthmus.client")
_PAGE: Final = b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%b"


class BearerAuth(httpx2.Auth):
    """A token, sent with every request. The same as giving the token itself as `auth`."""

    def __init__(self, token: str) -> None:
        self.bearer_token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Put the token into the request."""
        request.headers["Authorization"] = f"Bearer {self.bearer_token}"
        yield request


class OAuth(OAuthClientProvider):
    """Logs in at the server's authorization server, with the user's browser.

    Args:
        mcp_url: the server's endpoint.
        scopes: what to ask for, as a list or with blanks between.
        client_name: what the user reads of who asks.
        token_storage_cache_dir: a folder in which tokens are kept, as files that nobody else may read. Without one they
            are kept as long as this object: nothing is written unless asked.
        additional_client_metadata: more of what is said at the registration.
        callback_port: where the browser comes back to, on 127.0.0.1; a free port if not given.
    """

    def __init__(
        self,
        mcp_url: str,
        scopes: str | list[str] | None = None,
        client_name: str = "isthmus client",
        token_storage_cache_dir: Path | None = None,
        additional_client_metadata: dict[str, Any] | None = None,
        callback_port: int | None = None,
    ) -> None:
        self.redirect_port = callback_port or _free_port()
        said: dict[str, Any] = {
            "client_name": client_name,
            "redirect_uris": [f"http://127.0.0.1:{self.redirect_port}/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": " ".join(scopes) if isinstance(scopes, list) else scopes,
            **(additional_client_metadata or {}),
        }
        super().__init__(
            mcp_url,
            OAuthClientMetadata.model_validate(said),
            _Storage(token_storage_cache_dir, mcp_url),
            self.redirect_handler,
            self.callback_handler,
        )

    async def redirect_handler(self, authorization_url: str) -> None:
        """Open the browser at `authorization_url`, which is in the log too."""
        _log.info("To log in, open %s", authorization_url)
        await asyncio.to_thread(webbrowser.open, authorization_url)

    async def callback_handler(self) -> AuthorizationCodeResult:
        """Wait for the browser to come back.

        Raises:
            TimeoutError: it did not, within `limits.OAUTH_LOGIN`.
            RuntimeError: the user, or the server, refused.
        """
        answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answer(reader, writer, answer)

        server = await asyncio.start_server(serve, "127.0.0.1", self.redirect_port, limit=HEADER_BYTES)
        async with server, asyncio.timeout(OAUTH_LOGIN):
            said = await answer
        if "code" not in said:
            raise RuntimeError(f"The login was refused: {said.get('error_description') or said.get('error')}.")
        return AuthorizationCodeResult(code=said["code"], state=said.get("state"), iss=said.get("iss"))


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: "asyncio.Future[dict[str, str]]"
) -> None:
    """Take one request of the browser; that for another path than the callback's is refused."""
    try:
        async with asyncio.timeout(WRITE_STALLED):
            line = (await reader.readline()).decode("ascii", "replace").split(" ")
            url = urlsplit(line[1]) if len(line) > 1 else urlsplit("")
            said = {name: values[0] for name, values in parse_qs(url.query).items()}
            is_ours = url.path == "/callback" and ("code" in said or "error" in said)
            writer.write(_PAGE % ((b"200 OK", b"You can close this page.") if is_ours else (b"404 Not Found", b"")))
            await writer.drain()
            if is_ours and not answer.done():
                answer.set_result(said)
    except (OSError, ValueError, TimeoutError) as error:
        _log.info("A request to the callback of a login failed: %s", error)
    finally:
        writer.close()


class _Storage:
    """Tokens and the registration of a client, in memory or in files (`mcp.client.auth.TokenStorage`)."""

    def __init__(self, folder: Path | None, url: str) -> None:
        self._folder = folder
        self._name = sha256(url.encode()).hexdigest()[:32]
        self._kept: dict[str, str] = {}

    async def get_tokens(self) -> OAuthToken | None:
        text = self._read("tokens")
        return OAuthToken.model_validate_json(text) if text else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._write("tokens", tokens.model_dump_json(exclude_none=True))

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        text = self._read("client")
        return OAuthClientInformationFull.model_validate_json(text) if text else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._write("client", client_info.model_dump_json(exclude_none=True))

    def _read(self, kind: str) -> str | None:
        if self._folder is None:
            return self._kept.get(kind)
        try:
            return self._path(self._folder, kind).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _write(self, kind: str, text: str) -> None:
        if self._folder is None:
            self._kept[kind] = text
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(self._folder, kind)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)

    def _path(self, folder: Path, kind: str) -> Path:
        return folder / f"{self._name}.{kind}.json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
