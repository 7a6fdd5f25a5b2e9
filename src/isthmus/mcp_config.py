"""Configurations of servers as objects, under FastMCP's names. `isthmus.config` checks them when they are used."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from isthmus.client.transports import infer_transport_type_from_url as infer_transport_type_from_url

if TYPE_CHECKING:
    from isthmus.client.transports import (
        MCPConfigTransport,
        SSETransport,
        StdioTransport,
        StreamableHttpTransport,
    )

__all__ = [
    "ArgTransformConfig",
    "CanonicalMCPConfig",
    "CanonicalMCPServerTypes",
    "MCPConfig",
    "MCPServerTypes",
    "RemoteMCPServer",
    "StdioMCPServer",
    "ToolTransformConfig",
    "TransformingMCPServerTypes",
    "TransformingRemoteMCPServer",
    "TransformingStdioMCPServer",
    "infer_transport_type_from_url",
    "update_config_file",
]


class ArgTransformConfig(BaseModel):
    """What is changed of an argument: it can be hidden (`hide`), with `default` as the value that is sent, or without.

    `name`, `description`, `required` and `examples` are FastMCP's; here they are refused when they are used.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    description: str | None = None
    default: str | int | float | bool | None = None
    hide: bool = False
    required: Literal[True] | None = None
    examples: Any | None = None


class ToolTransformConfig(BaseModel):
    """What is changed of a tool: its name and description, whether it is there (`enabled`), its arguments.

    `title`, `tags` and `meta` are FastMCP's; here they are refused when they are used.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    title: str | None = None
    description: str | None = None
    tags: Annotated[set[str], BeforeValidator(lambda said: said or set())] = Field(default_factory=set)
    meta: dict[str, Any] | None = None
    enabled: bool = True
    arguments: dict[str, ArgTransformConfig] = Field(default_factory=dict)


class _Server(BaseModel):
    """What all servers may have; keys of others are kept. `description`, `icon` and `authentication` do nothing."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)

    timeout: int | None = None
    """Milliseconds for a call."""
    description: str | None = None
    icon: str | None = None
    authentication: dict[str, Any] | None = None


class StdioMCPServer(_Server):
    """A server that is started with a command.

    `command` with its `args` is what is run, in the folder `cwd`, with the variables `env` beyond the few it inherits.
    `transport` and `type` can say no more than that.
    """

    command: str
    args: list[str] = Field(default_factory=list)
    env: dict[str, Any] = Field(default_factory=dict)
    transport: Literal["stdio"] = "stdio"
    type: Literal["stdio"] | None = None
    cwd: str | None = None

    def to_transport(self) -> "StdioTransport | MCPConfigTransport":
        """The transport of this server alone."""
        from isthmus.client.transports import StdioTransport

        return StdioTransport(self.command, self.args, {key: str(each) for key, each in self.env.items()}, self.cwd)


class RemoteMCPServer(_Server):
    """A server that listens at `url`.

    `transport` says how, where the URL doesn't: a path with a part `sse` is HTTP+SSE. `headers` go with every request.
    `sse_read_timeout` is kept, and without effect.
    """

    url: str
    transport: Literal["http", "streamable-http", "sse"] | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    auth: Any = None
    """A token, `"oauth"`, or an auth object of httpx2."""
    sse_read_timeout: datetime.timedelta | int | float | None = None

    def to_transport(self) -> "StreamableHttpTransport | SSETransport | MCPConfigTransport":
        """The transport of this server alone."""
        from isthmus.client.transports import SSETransport, StreamableHttpTransport

        kind = self.transport or infer_transport_type_from_url(self.url)
        made = SSETransport if kind == "sse" else StreamableHttpTransport
        return made(self.url, self.headers, self.auth, self.sse_read_timeout)


class _Transforming(BaseModel):
    """Changes of a server's tools, by the tool's name. `include_tags` and `exclude_tags` are refused."""

    tools: dict[str, ToolTransformConfig]
    include_tags: set[str] | None = None
    exclude_tags: set[str] | None = None

    def to_transport(self) -> "MCPConfigTransport":
        """The transport of this server alone, its tools changed.

        Raises:
            ConfigError: they can't be changed so.
        """
        from isthmus.client.transports import MCPConfigTransport

        return MCPConfigTransport({"mcpServers": {"server": self.model_dump(exclude_none=True)}})


class TransformingStdioMCPServer(_Transforming, StdioMCPServer):
    """A server that is started with a command, and whose tools are changed."""


class TransformingRemoteMCPServer(_Transforming, RemoteMCPServer):
    """A server that listens, and whose tools are changed."""


TransformingMCPServerTypes = TransformingStdioMCPServer | TransformingRemoteMCPServer
"""Servers with changes of their tools."""
CanonicalMCPServerTypes = StdioMCPServer | RemoteMCPServer
"""Servers as they are."""
MCPServerTypes = TransformingMCPServerTypes | CanonicalMCPServerTypes
"""All kinds of servers."""


class MCPConfig(BaseModel):
    """Servers by their names. Other keys are kept.

    Raises:
        pydantic.ValidationError: a server is none; the `mcpServers` may be left out around them.
    """

    model_config = ConfigDict(extra="allow")

    mcpServers: dict[str, MCPServerTypes]

    @model_validator(mode="before")
    @classmethod
    def _wrap(cls, said: Any) -> Any:
        if not isinstance(said, dict):
            raise ValueError("A configuration is an object of servers by their names.")
        return said if "mcpServers" in said else {"mcpServers": said}

    def add_server(self, name: str, server: MCPServerTypes) -> None:
        """Add a server under a name, or put another in its place."""
        self.mcpServers[name] = server

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Self:
        """The same out of a dict, `config`."""
        return cls.model_validate(config)

    def to_dict(self) -> dict[str, Any]:
        """The same as a dict, with all keys that have a value."""
        return self.model_dump(exclude_none=True)

    def write_to_file(self, file_path: Path) -> None:
        """Write it to `file_path` as JSON; folders are made where they are missing."""
        file_path.parent.mkdir(parents=True, exist_ok=True)
        file_path.write_text(self.model_dump_json(indent=2), encoding="utf-8")

    @classmethod
    def from_file(cls, file_path: Path) -> Self:
        """Read it from the JSON in `file_path`.

        Raises:
            ValueError: there is no such file, or no server in it.
        """
        text = file_path.read_text(encoding="utf-8").strip() if file_path.exists() else ""
        if not text:
            raise ValueError(f"{file_path} does not exist or is empty. Write the servers into it.")
        return cls.model_validate_json(text)


class CanonicalMCPConfig(MCPConfig):
    """The same without changes of tools."""

    mcpServers: dict[str, CanonicalMCPServerTypes]


def update_config_file(file_path: Path, server_name: str, server_config: CanonicalMCPServerTypes) -> None:
    """Put a server into a file, over what the file says of it already.

    Args:
        file_path: the file.
        server_name: the server's name in it.
        server_config: the server.

    Raises:
        ValueError: there is no such file.
    """
    config = MCPConfig.from_file(file_path)
    there = config.mcpServers.get(server_name)
    if there is not None:
        said = {**there.model_dump(), **server_config.model_dump(exclude_none=True)}
        server_config = type(server_config).model_validate(said)
    config.add_server(server_name, server_config)
    config.write_to_file(file_path)
