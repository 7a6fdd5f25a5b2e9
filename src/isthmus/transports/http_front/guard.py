"""Who may talk to us: Host against DNS rebinding, Origin against foreign web pages, and what is said of it (CORS).

"Servers MUST validate the `Origin` header on all incoming connections to prevent DNS rebinding attacks"
(2026-07-28 basic/transports/streamable-http, *Security & Endpoint*).
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_REMEMBERED: Final = 512


def is_loopback(host: str) -> bool:
    """Whether a bind address or host name is this machine alone."""
    return host in _LOOPBACK or host.startswith("127.") or host.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request may not come in."""

    status: int
    why: str


class Guard:
    """Judges Host and Origin.

    Args:
        hosts: host names beyond loopback that clients may use, with or without a port; `*` for any.
        origins: web origins (`https://app.example`) whose pages may talk to us; `*` for any.
    """

    def __init__(self, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._judged: dict[tuple[str | None, str | None], Refused | None] = {}

    def judge(self, host: str | None, origin: str | None) -> Refused | None:
        """None where the request may come in."""
        key = (host, origin)
        if key in self._judged:
            return self._judged[key]
        verdict = self._judge(host, origin)
        if len(self._judged) < _REMEMBERED:
            self._judged[key] = verdict
        return verdict

    def cors(self, origin: str | None) -> bytes:
        """The header lines that let a page of this origin read the response; none for origins not allowed by name."""
        if origin is None or not self._is_listed(origin):
            return b""
        return (
            b"Access-Control-Allow-Origin: " + origin.encode("latin-1") + b"\r\n"
            b"Access-Control-Expose-Headers: Mcp-Session-Id, WWW-Authenticate\r\nVary: Origin\r\n"
        )

    def preflight(self, origin: str | None, wanted: str) -> bytes:
        """The header lines that answer a preflight."""
        return (
            self.cors(origin) + b"Access-Control-Allow-Methods: GET, POST, DELETE\r\n"
            b"Access-Control-Allow-Headers: " + wanted.encode("latin-1") + b"\r\nAccess-Control-Max-Age: 600\r\n"
        )

    def _judge(self, host: str | None, origin: str | None) -> Refused | None:
        if not self._is_host(host):
            return Refused(421, f"The Host {host!r} is not served here. Allow it with --allow-host if it should be.")
        if origin is not None and not self._is_listed(origin) and not self._is_local(origin):
            return Refused(403, f"The Origin {origin!r} may not talk to this server. Allow it with --allow-origin.")
        return None

    def _is_host(self, host: str | None) -> bool:
        if host is None:
            return False
        if "*" in self._hosts or host.lower() in self._hosts:
            return True
        name = _hostname(f"//{host}")
        return name is not None and (name in self._hosts or name in _LOOPBACK)

    def _is_listed(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins

    def _is_local(self, origin: str) -> bool:
        return origin.startswith(("http://", "https://")) and _hostname(origin) in _LOOPBACK


def _hostname(url: str) -> str | None:
    """The host of `scheme://host:port`, None where it is anything else."""
    try:
        parts = urlsplit(url)
        port_is_sane = parts.port is None or parts.port >= 0
    except ValueError:
        return None
    is_bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return parts.hostname if port_is_sane and is_bare else None
