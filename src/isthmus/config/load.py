"""From a file or a mapping to what the engine takes: checked, variables put in, defaults merged."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from isthmus.config.choices import choice_of
from isthmus.config.document import Node, of_mapping, parse
from isthmus.config.keys import ELSEWHERE, SERVER, TOP
from isthmus.config.kinds import Record, check
from isthmus.config.targets import forwarded, target_of
from isthmus.config.variables import Ask, Variables, inputs_of
from isthmus.engine.member import Spec
from isthmus.engine.settings import Settings
from isthmus.errors import ConfigError
from isthmus.limits import CONFIG_BYTES, NAME_LONGEST, Limits
from isthmus.routing.face import Face
from isthmus.routing.namespace import clash, fault_of, prefix_of
from isthmus.transports.target import Target, refuse_exposed

_log: Final = logging.getLogger("isthmus.config")
_EDITORS: Final = (".vscode", ".cursor")
"""Folders that editors keep their settings in; what is relative there is so to the folder around them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server as it was said: its node, with variables put in unless it is disabled; and its own settings, merged."""

    node: Node
    own: Mapping[str, Node]
    is_disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration that can work.

    `path`: what it is called in errors. `settings`: of the proxy itself. `specs`: the servers that are not disabled, in
    their order. `servers`: how each was said, disabled ones too. `files`: what was read.
    """

    path: str
    settings: Settings
    specs: tuple[Spec, ...]
    longest: int = NAME_LONGEST
    servers: Mapping[str, Server] = field(default_factory=dict, repr=False)
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the proxy calls itself."""
        return self.settings.name


def load(path: str | Path, *, environ: Mapping[str, str] | None = None, ask: Ask | None = None) -> Config:
    """Read a file.

    Args:
        path: where it is; errors call it so.
        environ: the variables; those of this process if not given.
        ask: asks somebody for an input of VS Code; nobody can be asked if not given.

    Raises:
        ConfigError: it can't be read or can't work; the sentence begins with `path:LINE`.
    """
    top = read_file(path)
    where = Variables(os.environ if environ is None else environ, str(folder_of(path)), ask=ask)
    config = _config(top, str(path), where)
    return replace(config, files=(str(path), *config.files))


def folder_of(path: str | Path) -> Path:
    """The folder that relative paths in a file are relative to."""
    folder = Path(os.path.abspath(path)).parent
    return folder.parent if folder.name in _EDITORS else folder


def read_file(path: str | Path) -> Node:
    """The document in a file, not yet checked.

    Raises:
        ConfigError: it can't be read, or is no JSON.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: The file can't be read: {error.strerror}.") from None
    except ValueError:
        raise ConfigError(f"{str(path)!r} is no path of a file.") from None
    return parse(raw, str(path))


def from_mapping(
    mapping: Mapping[str, Any], *, environ: Mapping[str, str] | None = None, ask: Ask | None = None
) -> Config:
    """The same for a mapping of Python; errors name the path of keys.

    Raises:
        ConfigError: it can't work.
    """
    where = Variables(os.environ if environ is None else environ, os.getcwd(), ask=ask)
    return _config(of_mapping(mapping), "the configuration", where)


def _config(top: Node, path: str, variables: Variables) -> Config:
    _refuse_bare(top)
    check(top, TOP, "" if isinstance(top.value, dict) else "The configuration", ELSEWHERE)
    said = _servers(top)
    variables = replace(variables, inputs=inputs_of(top.value.get("inputs")))
    own_top: dict[str, Node] = dict(top.value["isthmus"].value) if "isthmus" in top.value else {}
    name = own_top.pop("name").value if "name" in own_top else "isthmus"
    longest = int(own_top.pop("longest").value) if "longest" in own_top else NAME_LONGEST
    servers = {each: _server(node, own_top, variables) for each, node in said.items()}
    enabled = {each: server for each, server in servers.items() if not server.is_disabled}
    if not enabled:
        raise top.wrong("All servers are disabled. Take 'disabled' out of one of them.")
    prefixes = _prefixes(enabled, len(said), longest)
    settings = Settings(name=name, limits=_limits(own_top), isolation=_plain(own_top, "isolation", "session"))
    specs = [
        _spec(each, server, settings, Face(prefixes[each], choice_of(server.own), longest), variables)
        for each, server in enabled.items()
    ]
    _refuse_identities(enabled)
    _tell_foreign(top, TOP)
    more = [server.node.value["envFile"].value for server in enabled.values() if "envFile" in server.node.value]
    return Config(
        path=path,
        settings=settings,
        specs=tuple(specs),
        longest=longest,
        servers=servers,
        files=tuple(os.path.join(variables.folder, each) for each in more),
    )


def _refuse_bare(top: Node) -> None:
    """Servers that stand at the top, where FastMCP takes them, too."""
    for name, node in top.value.items() if isinstance(top.value, dict) else ():
        if name not in TOP.keys and isinstance(node.value, dict) and node.value.keys() & {"command", "url"}:
            raise node.wrong_key(f"{name!r} seems to be a server. Servers stand under 'mcpServers'.")


def _servers(top: Node) -> dict[str, Node]:
    """The servers by their names."""
    both = [top.value[key] for key in ("mcpServers", "servers") if key in top.value]
    if len(both) == 2:
        raise both[1].wrong_key(
            f"'mcpServers' and 'servers' are the same, and 'mcpServers' is at {both[0].key_at}. Join them."
        )
    found: dict[str, Node] = both[0].value if both else {}
    if not found:
        raise (both[0] if both else top).wrong('There is no server. Write {"mcpServers": {"NAME": {"command": "…"}}}.')
    for name, node in found.items():
        if not name.strip() or not name.isprintable():
            raise node.wrong_key(f"{name!r} is no name for a server. Give it one that can be read.")
    return found


def _server(node: Node, own_top: Mapping[str, Node], variables: Variables) -> Server:
    is_disabled = "disabled" in node.value and node.value["disabled"].value
    _tell_foreign(node, SERVER)
    if not is_disabled:
        node = variables.fill(node, SERVER)
    said: Mapping[str, Node] = node.value["isthmus"].value if "isthmus" in node.value else {}
    own = {**own_top, **said}
    if "limits" in said and "limits" in own_top:
        own["limits"] = replace(said["limits"], value={**own_top["limits"].value, **said["limits"].value})
    return Server(node=node, own=own, is_disabled=is_disabled)


def _prefixes(servers: Mapping[str, Server], count: int, longest: int) -> dict[str, str | None]:
    """The prefix of each; `count`: how many there are with the disabled ones, so that disabling renames nothing."""
    found: dict[str, str | None] = {}
    for name, server in servers.items():
        said = server.own.get("prefix")
        if said is None:
            found[name] = prefix_of(name, longest) if count > 1 else None
            continue
        why = fault_of(said.value, longest) if said.value else None
        if why is not None:
            raise said.wrong(why)
        if not said.value and len(servers) > 1:
            raise said.wrong(
                f"The prefix of {name!r} is empty, and there are {len(servers)} servers: nobody could tell whose a "
                f"name without a prefix is. Write {prefix_of(name, longest)!r}, or leave 'prefix' out."
            )
        found[name] = said.value or None
    _refuse_clash(servers, found)
    return found


def _refuse_clash(servers: Mapping[str, Server], prefixes: Mapping[str, str | None]) -> None:
    ordered = [(name, prefix) for name, prefix in prefixes.items() if prefix is not None]
    found = clash([prefix for _, prefix in ordered])
    if found is None:
        return
    first = next(name for name, prefix in ordered if prefix == found[0])
    second = next(name for name, prefix in ordered if prefix == found[1] and name != first)
    why = "are the same" if found[0].lower() == found[1].lower() else "begin alike"
    raise ConfigError(
        f"{_prefix_at(servers[second])}: The prefixes {found[0]!r} of {first!r} ({_prefix_at(servers[first])}) and "
        f"{found[1]!r} of {second!r} {why}: nobody could tell whose a name is. "
        f'Write "isthmus": {{"prefix": "{found[2]}"}} into {second!r}.'
    )


def _prefix_at(server: Server) -> str:
    return server.own["prefix"].at if "prefix" in server.own else server.node.key_at


def _spec(name: str, server: Server, settings: Settings, face: Face, variables: Variables) -> Spec:
    own = server.own
    target = target_of(name, server.node, variables)
    more: dict[str, Any] = {each: _plain(own, each) for each in ("ttl", "deadline", "required") if each in own}
    return Spec(
        name=name,
        target=target,
        settings=replace(
            settings,
            limits=_limits(own, server.node.value.get("timeout")),
            isolation=_plain(own, "isolation", "session"),
            keeps_identity=_plain(own, "identity", False),
            forward_headers=_forwarded(name, server, target),
        ),
        face=face,
        **more,
    )


def _forwarded(name: str, server: Server, target: Target) -> tuple[str, ...]:
    """The headers of clients that go on to a server, which must not share one session among all clients then."""
    node, isolation = server.own.get("forward_headers"), server.own.get("isolation")
    names = forwarded(server.node, node)
    if not _plain(server.own, "insecure", False):
        try:
            refuse_exposed(target, names, '"isthmus": {"insecure": true}')
        except ConfigError as error:
            raise server.node.value["url"].wrong(str(error)) from None
    if names and isolation is not None and isolation.value == "shared":
        raise isolation.wrong(
            f"{name!r} has 'forward_headers', and 'shared' would send one client's to it for all. Write 'session'."
        )
    return names


def _plain(own: Mapping[str, Node], key: str, default: Any = None) -> Any:
    return own[key].plain() if key in own else default


def _limits(own: Mapping[str, Node], timeout: Node | None = None) -> Limits:
    """The limits; `timeout`: milliseconds for a call, unless the own settings say it."""
    said: dict[str, Any] = {"call": timeout.value / 1000} if timeout is not None else {}
    said |= _plain(own, "limits", {})
    if "warm" in own:
        said["warm"] = int(own["warm"].value)
    if "call" in said and "call_most" not in said:
        said["call_most"] = max(said["call"], Limits().call_most)
    return Limits(**said)


def _refuse_identities(servers: Mapping[str, Server]) -> None:
    for name, server in servers.items():
        node = server.own.get("identity")
        if node is not None and node.value and len(servers) > 1:
            raise node.wrong_key(f"{name!r} can't lend its name to the proxy: there are {len(servers)} servers.")


def _tell_foreign(node: Node, record: Record) -> None:
    """A line in the log for each key of others whose being ignored matters."""
    for name, each in node.value.items():
        if name in record.foreign and name not in record.keys and record.foreign[name].warning and each.value:
            foreign = record.foreign[name]
            _log.warning(
                "%s: %r is of %s and has no effect here: %s.", each.key_at, name, foreign.whose, foreign.warning
            )
