"""Who may call: access tokens, checked as a resource server of OAuth 2.1 checks them. None is issued here.

Sources: 2025-11-25 and 2026-07-28 basic/authorization, RFC 6750 (bearer tokens), RFC 9728 (resource metadata).
"MCP servers MUST NOT accept or transit any other tokens": the header that carried a token is taken from the request
here, so that nothing further in can send or log it.
"""

import asyncio
import hashlib
import logging
import re
import time
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

from isthmus import limits
from isthmus.errors import ConfigError
from isthmus.transports.http_front.guard import Guard
from isthmus.transports.http_front.port import JSON_LINES
from isthmus.transports.http_front.request import Grant, Request, Sink
from isthmus.wire.codec import encode
from isthmus.wire.envelope import INTERNAL_ERROR, INVALID_REQUEST, error_message

_WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")
_QUOTABLE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")
"""A scope (RFC 6749 §3.3), and what may stand in a quoted parameter of a header as it is."""
_PORTS: Final = {"http": 80, "https": 443}
_log: Final = logging.getLogger("isthmus.front")


class Verifier(Protocol):
    """Tells what an access token is worth; the `TokenVerifier` of the official SDK and of FastMCP is one."""

    async def verify_token(self, token: str, /) -> Any:
        """What the token grants; None where it is not valid.

        Read of the value are `client_id` and `scopes`, and where it has them `expires_at` (seconds since 1970),
        `resource` (whom it was issued for), `subject` and `claims` (`iss`, `sub`).
        """


@dataclass(frozen=True, slots=True)
class Access:
    """Lets in only who brings an access token for this endpoint.

    Args:
        verifier: tells what a token is worth. It checks signature and issuer; where its tokens do not say in `resource`
            whom they were issued for, it checks the audience too.
        resource: the endpoint's URL as clients write it.
        authorization_servers: the issuers that clients get tokens from.
        scopes: what a token must grant, all of them. Where a broader scope of yours implies one of these, the verifier
            names both.

    Raises:
        ConfigError: a URL or a scope is none, or no authorization server is named.
    """

    verifier: Verifier
    resource: str
    authorization_servers: tuple[str, ...]
    scopes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not callable(getattr(self.verifier, "verify_token", None)):
            raise ConfigError("The verifier has no method verify_token(token). Give one of the MCP SDK, or your own.")
        object.__setattr__(self, "resource", str(self.resource))
        for name in ("authorization_servers", "scopes"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(str(each) for each in given))
        if not self.authorization_servers:
            raise ConfigError("Name at least one authorization server; clients have to know where tokens come from.")
        for url in (self.resource, *self.authorization_servers):
            if canonical(url) is None or not _QUOTABLE.match(url):
                raise ConfigError(f"{url!r} must be an http or https URL without user, query and fragment.")
        for scope in self.scopes:
            if not _QUOTABLE.match(scope):
                raise ConfigError(f"{scope!r} is no scope; name one at a time, without spaces, quotes and backslashes.")

    def gate(self, guard: Guard, path: str) -> "Gate":
        """What checks the requests of the endpoint at `path` behind a `guard`.

        It is made where one is asked for, so that nobody else pays.
        """
        return Gate(self, guard, path)


class _Refusal(NamedTuple):
    """Why a request may not come in: the status, its own header lines, and a sentence."""

    status: int
    lines: bytes
    why: str
    code: int = INVALID_REQUEST


class Gate:
    """Checks the token of every request of an endpoint, whatever its path, and serves the metadata that needs none.

    Args:
        access: who may call.
        guard: says what pages of other origins may read.
        path: the endpoint's path, where the metadata is found beside the place that its URL gives.
    """

    def __init__(self, access: Access, guard: Guard, path: str) -> None:
        self._access = access
        self._guard = guard
        self._grants: dict[bytes, Grant] = {}
        parts = urlsplit(access.resource)
        own = parts.path.rstrip("/")
        self._places = {_WELL_KNOWN, _WELL_KNOWN + own, _WELL_KNOWN + path.rstrip("/")}
        self._where = f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{own}"
        self._metadata = encode(_metadata(access))

    async def intercepts(self, request: Request, sink: Sink, lines: bytes) -> bool:
        """Whether the request was answered here; if not, `request.grant` says who calls.

        Args:
            request: a request that Host and Origin let in.
            sink: where the response goes.
            lines: header lines of every response.
        """
        if request.path in self._places:
            self._describe(request, sink, lines)
            return True
        if request.verb == "OPTIONS":
            return False  # "the CORS-preflight request never includes credentials" (Fetch, 4.8)
        found = await self._check(request.headers.pop("authorization", None))
        if isinstance(found, Grant):
            request.grant = found
            return False
        sink.respond(found.status, JSON_LINES + lines + found.lines, error_message(None, found.code, found.why))
        return True

    def _describe(self, request: Request, sink: Sink, lines: bytes) -> None:
        origin = request.headers.get("origin")
        if request.verb in ("GET", "HEAD"):
            sink.respond(200, JSON_LINES + lines, self._metadata)
        elif request.verb == "OPTIONS" and lines:
            wanted = request.headers.get("access-control-request-headers", "")
            sink.respond(204, self._guard.preflight(origin, wanted), b"")
        else:
            why = f"{request.verb} is not served here."
            sink.respond(405, JSON_LINES + lines + b"Allow: GET\r\n", error_message(None, INVALID_REQUEST, why))

    async def _check(self, header: str | None) -> Grant | _Refusal:
        scheme, _, token = (header or "").partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer":
            why = "Send an access token in the Authorization header: 'Bearer …'."
            return _Refusal(401, self._challenge(), why)
        if not _TOKEN.match(token):
            return self._invalid("it is malformed")
        key = hashlib.sha256(token.encode()).digest()
        known = self._grants.get(key)
        now = asyncio.get_running_loop().time()
        if known is not None and known.until > now:
            return known
        self._grants.pop(key, None)
        found = await self._verify(token)
        if isinstance(found, Grant):
            while len(self._grants) >= limits.TOKENS_REMEMBERED:
                del self._grants[next(iter(self._grants))]
            self._grants[key] = found
        return found

    async def _verify(self, token: str) -> Grant | _Refusal:
        """Ask the verifier. What it raises may quote the token, so that only the place of it is logged."""
        try:
            async with asyncio.timeout(limits.VERIFY):
                granted = await self._access.verifier.verify_token(token)
            return self._judge(granted, token) if granted is not None else self._invalid("it is not known")
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
            _log.error("The verifier of access tokens failed: %s at %s", type(error).__name__, where)
            why = "Access tokens can't be verified at the moment. Try again later."
            return _Refusal(503, b"Retry-After: 5\r\n", why, INTERNAL_ERROR)

    def _judge(self, granted: Any, token: str) -> Grant | _Refusal:
        """What the verifier said, against what is needed here."""
        issued_for = getattr(granted, "resource", None)
        if issued_for is not None and not _is_for(self._access.resource, issued_for):
            return self._invalid("it was not issued for this server")
        lasts = limits.TOKEN_TRUSTED
        expires = getattr(granted, "expires_at", None)
        if expires is not None:
            # A date that the issuer set, so that the clock on the wall decides; from here on it is the loop's again.
            lasts = min(expires - time.time(), lasts)  # noqa: TID251
        if lasts <= 0:
            return self._invalid("it has expired")
        if not set(self._access.scopes) <= set(granted.scopes or ()):
            why = f"The access token does not grant what is needed here: {' '.join(self._access.scopes)}."
            return _Refusal(403, self._challenge("insufficient_scope", why), why)
        return Grant(_principal_of(granted, token), asyncio.get_running_loop().time() + lasts)

    def _invalid(self, why: str) -> _Refusal:
        said = f"The access token is not valid: {why}. Get a new one."
        return _Refusal(401, self._challenge("invalid_token", said), said)

    def _challenge(self, error: str | None = None, why: str = "") -> bytes:
        """The `WWW-Authenticate` line.

        "If the request lacks any authentication information […], the resource server SHOULD NOT include an error code
        or other error information" (RFC 6750 §3.1).
        """
        says = {"error": error, "error_description": why} if error is not None else {}
        says["resource_metadata"] = self._where
        if self._access.scopes:
            says["scope"] = " ".join(self._access.scopes)
        parameters = ", ".join(f'{name}="{value}"' for name, value in says.items())
        return f"WWW-Authenticate: Bearer {parameters}\r\n".encode()


def canonical(url: str) -> str | None:
    """A resource's URL in one of its equal forms: scheme and host in lower case, no default port, no slash at the end.

    None where it is no URL of a resource.
    """
    try:
        parts = urlsplit(url)
        host = _host_of(parts)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc or "?" in url or "#" in url:
        return None
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def _host_of(parts: SplitResult) -> str:
    """Host and port; raises ValueError where the port is none."""
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if parts.port in (None, _PORTS.get(parts.scheme)) else f"{name}:{parts.port}"


def _is_for(resource: str, issued_for: object) -> bool:
    audiences = issued_for if isinstance(issued_for, list | tuple) else [issued_for]
    return canonical(resource) in [canonical(str(each)) for each in audiences]


def _principal_of(granted: Any, token: str) -> str:
    """Who calls, as a digest: one issuer's one subject with one client. A token that names nobody is its own."""
    claims = getattr(granted, "claims", None) or {}
    client, subject = granted.client_id, getattr(granted, "subject", None) or claims.get("sub")
    who = (claims.get("iss"), client, subject) if client or subject else (token,)
    return hashlib.sha256(repr(who).encode()).hexdigest()


def _metadata(access: Access) -> dict[str, Any]:
    """RFC 9728 §2."""
    told: dict[str, Any] = {
        "resource": access.resource,
        "authorization_servers": access.authorization_servers,
        "bearer_methods_supported": ["header"],
    }
    return told | ({"scopes_supported": access.scopes} if access.scopes else {})
