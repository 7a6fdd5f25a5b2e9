"""What users name as the server behind a proxy, as members of a front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from isthmus.engine.member import Nested, Spec
from isthmus.engine.settings import Settings
from isthmus.errors import ConfigError
from isthmus.limits import Limits
from isthmus.many.plan import Plan
from isthmus.pool.policy import Isolation
from isthmus.protocol.forwarding import may_be_forwarded
from isthmus.transports.launch import Launch
from isthmus.transports.target import ChannelTarget, HttpTarget, Target, read_target, refuse_exposed

PROXIED: Final = "proxied"
"""The name of the one server behind a proxy, where nobody gave it another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How a proxy is to stand before its back; the arguments of `FastMCP.as_proxy`."""

    headers: tuple[tuple[str, str], ...] = ()
    env: dict[str, str] | None = None
    cwd: str | None = None
    isolation: Isolation | None = None
    forwards: bool | Sequence[str] = False
    insecure: bool = False
    limits: Limits = field(default_factory=Limits)
    name: str = "isthmus"


def specs_of(backend: Any, wishes: Wishes) -> tuple[Spec, ...]:
    """The servers that a backend means.

    Raises:
        ConfigError: it means none, or none that could be.
    """
    if hasattr(backend, "handlers") and hasattr(backend, "source"):
        return _of_client(backend, wishes)
    if hasattr(backend, "mcpServers"):
        backend = backend.to_dict() if hasattr(backend, "to_dict") else backend.model_dump(exclude_none=True)
    if isinstance(backend, Mapping):
        return _of_mapping(backend, wishes)
    if hasattr(backend, "source"):
        wishes = replace(wishes, isolation=wishes.isolation or _kept(backend))
        backend = backend.source
    return _of_source(_read(backend, wishes), wishes)


def _kept(transport: Any) -> Isolation | None:
    """What a transport says of its process: one that is told to keep it keeps it for its session."""
    return "session" if getattr(transport, "keep_alive", None) is True else None


def _of_source(source: Any, wishes: Wishes) -> tuple[Spec, ...]:
    """The servers of a client's or a transport's source."""
    if isinstance(source, Plan):
        return tuple(_settled(spec, wishes) for spec in source.specs)
    if hasattr(source, "nested"):
        source = source.nested()
    forwards = () if isinstance(source, Nested) else _forwards(wishes.forwards, source, wishes.isolation)
    if not isinstance(source, Nested) and not wishes.insecure:
        refuse_exposed(source, forwards, "insecure=True")
    return (Spec(name=PROXIED, target=source, settings=_settings(wishes, forwards)),)


def _of_client(client: Any, wishes: Wishes) -> tuple[Spec, ...]:
    """A client's servers, its handlers in the stead of those in front; the session of one that is connected."""
    from isthmus.server.standing import stand_of

    stand = client.stand() if hasattr(client, "stand") else stand_of(client.handlers, {}, is_proxy=False)
    if client.is_connected() and client.relay is not None:
        shared = replace(wishes, isolation="shared")
        return (Spec(name=PROXIED, target=_connected(client), settings=_settings(shared, ()), stand=stand),)
    isolation = wishes.isolation or getattr(client, "isolation", None) or _kept(client.transport)
    specs = _of_source(client.source, replace(wishes, isolation=isolation))
    return tuple(replace(spec, stand=stand) for spec in specs)


def _of_mapping(mapping: Mapping[str, Any], wishes: Wishes) -> tuple[Spec, ...]:
    from isthmus.config.load import from_mapping

    if "mcpServers" not in mapping and "servers" not in mapping:
        mapping = {"mcpServers": mapping}
    return tuple(_settled(spec, wishes) for spec in from_mapping(dict(mapping)).specs)


def _settled(spec: Spec, wishes: Wishes) -> Spec:
    """A configured server, as a proxy of Python's stands before it."""
    isolation = wishes.isolation or "request"
    return replace(spec, settings=replace(spec.settings, name=wishes.name, isolation=isolation))


def _settings(wishes: Wishes, forwards: tuple[str, ...] | None) -> Settings:
    return Settings(
        name=wishes.name, limits=wishes.limits, isolation=wishes.isolation or "request", forward_headers=forwards
    )


_relays: WeakKeyDictionary[Any, Nested] = WeakKeyDictionary()


class _Borrowed:
    """A connected client's relay, which is not ours to close (`engine.member.Inner`)."""

    def __init__(self, relay: Any) -> None:
        self._relay = relay

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    async def close(self) -> None:
        """The client closes it."""


def _connected(client: Any) -> Nested:
    """The session of a connected client; the same target each time, while it is the same connection."""
    relay = client.relay
    found = _relays.get(relay)
    if found is None:
        found = _relays[relay] = Nested(PROXIED, lambda settings: _Borrowed(relay))
    return found


def _forwards(said: bool | Sequence[str], target: Target, isolation: str | None) -> tuple[str, ...] | None:
    """The names of the headers that go on; None for all."""
    if said is False or (said is not True and not said):
        return ()
    if not isinstance(target, HttpTarget):
        raise ConfigError("forward_incoming_headers is for a URL; nothing else has headers. Leave it out.")
    if isolation == "shared":
        raise ConfigError('isolation="shared" would send one client\'s headers for all. Use "session" or "request".')
    if said is True:
        return None
    names = (said,) if isinstance(said, str) else tuple(said)
    for name in names:
        if not may_be_forwarded(name):
            raise ConfigError(f"The header {name!r} belongs to one connection or message. Leave it out.")
    return tuple(name.lower() for name in names)


def _read(backend: Any, wishes: Wishes) -> Any:
    """One server, as a target."""
    if isinstance(backend, str | Path | Sequence):
        said = str(backend) if isinstance(backend, Path) else backend
        return read_target(said, headers=wishes.headers, env=wishes.env, cwd=wishes.cwd)
    if type(backend).__name__ == "AnyUrl":
        return read_target(str(backend), headers=wishes.headers)
    if wishes.headers or wishes.env or wishes.cwd:
        raise ConfigError("headers=, env= and cwd= are for a URL or a command; what runs in this process has none.")
    if isinstance(backend, ChannelTarget | HttpTarget | Launch | Plan) or hasattr(backend, "nested"):
        return backend
    from isthmus.transports.memory import target_of

    return target_of(backend)
