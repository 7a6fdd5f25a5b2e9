"""From a URL to a connected transport: its origin, the proxy that the environment names for it, dialing, TLS.

All that can happen here happens before a byte of a request is sent, so every failure is `BackUnavailable`.
"""

import asyncio
import base64
import functools
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from isthmus.errors import BackUnavailable, ConfigError
from isthmus.limits import HAPPY_EYEBALLS, RESPONSE_HEAD

if TYPE_CHECKING:
    import ssl

UNIX: Final = "http+unix"
"""The scheme of HTTP on a Unix socket: the host of its URLs is the socket's path, percent-encoded."""
_PORTS: Final = {"http": 80, "https": 443}
_UNFIT: Final = re.compile(r"[\x00-\x20\x7f]")
_KEPT: Final = "%/:=&?~#+!$,;'@()*[]"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")

_Address = tuple[int, int, int, str, Any]


class Origin(NamedTuple):
    """Scheme, host and port of a URL; its text is what error messages may show of that URL.

    On a Unix socket `host` is its path and `port` is 0.
    """

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of `Host`: without the scheme's own port (RFC 9110 §7.2)."""
        if self.scheme == UNIX:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{quote(self.host, safe='') if self.scheme == UNIX else self.authority}"


_LOCAL: Final = Origin("http", "localhost", 80)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy of the environment, and the header line that it wants to see."""

    origin: Origin
    authorization: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach one back.

    Args:
        name: the back's, for messages.
        origin: where it is.
        proxy: what stands in between.
        within: seconds for the whole of connecting, TLS included.
    """

    name: str
    origin: Origin
    proxy: Proxy | None
    within: float

    @property
    def is_forwarded(self) -> bool:
        """Whether requests are written for a proxy, in absolute-form (RFC 9112 §3.2.2)."""
        return self.proxy is not None and self.origin.scheme == "http"


def split_url(url: str) -> tuple[Origin, str]:
    """Origin and request target of an http, https or http+unix URL, without its fragment.

    Raises:
        ValueError: it is none; the text is the end of a sentence that begins with what the URL is for.
    """
    parts = _split(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or password; give them as an Authorization header instead")
    path = quote(parts.path or "/", safe=_KEPT)
    return _origin(parts), f"{path}?{quote(parts.query, safe=_KEPT)}" if parts.query else path


def follow(origin: Origin, target: str, reference: str) -> tuple[Origin, str]:
    """Origin and request target of a URL, or of one relative to `target` at `origin` (RFC 3986 §5).

    What a server behind a Unix socket calls `http://localhost` is the server itself.

    Raises:
        ValueError: as `split_url`.
    """
    base = _LOCAL if origin.scheme == UNIX else origin
    found, new = split_url(urljoin(f"{base}{target}", reference))
    return origin if found == base else found, new


def find_proxy(origin: Origin) -> Proxy | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name; nothing on this machine ever has one.

    Raises:
        ConfigError: one is named that can't be used.
    """
    if not any(key[-6:].lower() == "_proxy" for key in os.environ):
        return None
    if origin.scheme == UNIX or _is_loopback(origin.host):
        return None
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()
    url = proxies.get(origin.scheme) or proxies.get("all")
    if not url or _is_exempt(origin, proxies.get("no", "")):
        return None
    try:
        parts = _split(url if "://" in url else f"http://{url}")
        where = _origin(parts)
    except ValueError as error:
        raise ConfigError(
            f"The proxy for {origin} {error}; correct {origin.scheme.upper()}_PROXY or ALL_PROXY, "
            f"or name {origin.host} in NO_PROXY."
        ) from None
    if parts.username is None:
        return Proxy(where, b"")
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return Proxy(where, b"Proxy-Authorization: Basic " + base64.b64encode(secret) + b"\r\n")


async def connect(route: Route, protocol: asyncio.Protocol) -> None:
    """Connect `protocol`, TLS included, within `route.within` seconds.

    Raises:
        BackUnavailable: it can't be done.
    """
    where = f"{route.name} at {route.origin}" + (f" through the proxy {route.proxy.origin}" if route.proxy else "")
    try:
        async with asyncio.timeout(route.within):
            if route.proxy is None:
                await _open(route.origin, protocol)
            elif route.is_forwarded:
                await _open(route.proxy.origin, protocol)
            else:
                await _open_tunnel(route, route.proxy, protocol)
    except TimeoutError as error:
        raise BackUnavailable(
            f"Could not connect to {where} within {route.within:g} s; check that it is running and reachable from here."
        ) from error
    except (OSError, ValueError) as error:
        raise BackUnavailable(_explain(where, error)) from error


async def _open(origin: Origin, protocol: asyncio.Protocol) -> None:
    """The one step that knows how to reach an origin."""
    if origin.scheme == UNIX:
        await asyncio.get_running_loop().create_unix_connection(lambda: protocol, origin.host)
        return
    context = tls_context() if origin.scheme == "https" else None
    sock = await _dial(origin.host, origin.port)
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: protocol, sock=sock, ssl=context, server_hostname=origin.host if context else None
        )
    except BaseException:
        sock.close()
        raise


async def _open_tunnel(route: Route, proxy: Proxy, protocol: asyncio.Protocol) -> None:
    loop = asyncio.get_running_loop()
    tunnel = _Tunnel(loop.create_future())
    await _open(proxy.origin, tunnel)
    try:
        status = await tunnel.ask(route.origin, proxy.authorization)
        if not 200 <= status < 300:
            said = f"said status {status}" if status else "did not speak HTTP"
            raise BackUnavailable(
                f"The proxy {proxy.origin} would not connect to {route.name} at {route.origin}: it {said}; "
                f"check HTTPS_PROXY, or name {route.origin.host} in NO_PROXY."
            )
        transport = await loop.start_tls(tunnel.transport, protocol, tls_context(), server_hostname=route.origin.host)
        if transport is None:
            raise ConnectionAbortedError("the connection was closed during the TLS handshake")
    except BaseException:
        tunnel.transport.abort()
        raise
    protocol.connection_made(transport)


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel (RFC 9110 §9.3.6); afterwards TLS takes the transport over."""

    transport: asyncio.Transport

    def __init__(self, answered: asyncio.Future[None]) -> None:
        self._answered = answered
        self._head = b""

    async def ask(self, origin: Origin, authorization: bytes) -> int:
        """The proxy's status; 0 where its answer was none. The caller bounds the wait."""
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        authority = f"{host}:{origin.port}".encode()
        self.transport.write(
            b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n" + authorization + b"\r\n"
        )
        await self._answered
        status = _STATUS.match(self._head)
        return int(status[1]) if status and self._head.endswith(b"\r\n\r\n") else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is not a subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head or len(self._head) > RESPONSE_HEAD:
            self._settle()

    def connection_lost(self, error: Exception | None) -> None:
        self._settle()

    def _settle(self) -> None:
        if not self._answered.done():
            self._answered.set_result(None)


async def _dial(host: str, port: int) -> socket.socket:
    """A connected socket to the first address that answers (RFC 8305 §5, without its preference for IPv6)."""
    loop = asyncio.get_running_loop()
    addresses = _interleaved(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if len(addresses) == 1:
        return await _dial_one(addresses[0])
    running: set[asyncio.Task[socket.socket]] = set()
    failure: BaseException = OSError("the name has no address")
    try:
        while addresses or running:
            if addresses:
                running.add(loop.create_task(_dial_one(addresses.pop(0))))
            done, running = await asyncio.wait(
                running, timeout=HAPPY_EYEBALLS if addresses else None, return_when=asyncio.FIRST_COMPLETED
            )
            won = [task.result() for task in done if task.exception() is None]
            for late in won[1:]:
                late.close()
            if won:
                return won[0]
            for task in done:
                failure = task.exception() or failure
    finally:
        for task in running:
            task.add_done_callback(_close_result)
            task.cancel()
    try:
        raise failure
    finally:
        del failure  # it would hold this frame, which holds it


async def _dial_one(address: _Address) -> socket.socket:
    family, kind, number, _, where = address
    sock = socket.socket(family, kind, number)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _interleaved(addresses: Iterable[_Address]) -> list[_Address]:
    """The families in turn, beginning with the resolver's first (RFC 8305 §4)."""
    found = list(addresses)
    first = [address for address in found if address[0] == found[0][0]]
    other = [address for address in found if address[0] != found[0][0]]
    mixed: list[_Address] = []
    while first or other:
        mixed += first[:1] + other[:1]
        del first[:1], other[:1]
    return mixed


def tls_context() -> "ssl.SSLContext":
    """The verifying context for the certificates that the environment names now; loading them takes some 10 ms."""
    return _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=4)
def _tls_context(file: str | None, folder: str | None) -> "ssl.SSLContext":
    import ssl

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _split(url: str) -> SplitResult:
    if _UNFIT.search(url):
        raise ValueError("holds a space or a control character")
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError("is not a URL") from None


def _origin(parts: SplitResult) -> Origin:
    if parts.scheme == UNIX:
        return _unix_origin(unquote(parts.netloc))
    if parts.scheme not in _PORTS:
        raise ValueError("must begin with http:// or https://")
    try:
        host = (parts.hostname or "").encode("idna" if ":" not in (parts.hostname or "") else "ascii").decode()
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        raise ValueError("has a host or port that can't be one") from None
    if not host or re.search(r"[^A-Za-z0-9._~:%-]", host):
        raise ValueError("has no host, or one with characters that it can't have")
    return Origin(parts.scheme, host, port)


def _unix_origin(path: str) -> Origin:
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("is for a Unix socket, and Python has none on this system; use a port of 127.0.0.1 instead")
    if not path.startswith("/"):
        raise ValueError("must name the whole path of a socket as its host, like http+unix://%2Frun%2Fmcp.sock/mcp")
    return Origin(UNIX, path, 0)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_exempt(origin: Origin, listed: str) -> bool:
    """NO_PROXY as curl and Go read it: names with all that is below them, with or without port, addresses, networks."""
    from ipaddress import ip_address, ip_network

    for entry in listed.lower().split(","):
        name = entry.strip().lstrip(".").removeprefix("*.")
        host, _, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
        if name == "*" or (host and (not port or port == str(origin.port)) and f".{origin.host}".endswith(f".{host}")):
            return True
        try:
            if ip_address(origin.host) in ip_network(name.strip("[]"), strict=False):
                return True
        except ValueError:
            continue
    return False


def _explain(where: str, error: OSError | ValueError) -> str:
    """A sentence for what the operating system, the resolver or OpenSSL said."""
    distrust = getattr(error, "verify_message", None)
    if distrust:
        return (
            f"Could not connect to {where}: its certificate is not trusted ({str(distrust).rstrip('.')}); "
            "check the host name, or name the file of its CA in SSL_CERT_FILE."
        )
    why = getattr(error, "reason", None)
    if why:
        return f"Could not connect to {where}: TLS failed ({why}); check that it speaks TLS on this port."
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        said = os.strerror(error.errno)
    else:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"Could not connect to {where}: {said}; check that it is running and that its URL is right."
