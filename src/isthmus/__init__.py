"""One MCP server in front of another: any transport to any transport, without losing anything.

`FastMCP.as_proxy(target)` gives a proxy; `.run()` serves it. `Client(target)` is a client, `FastMCP()` a server of your
own. Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from isthmus.version import __version__ as __version__

if TYPE_CHECKING:
    from isthmus.client.client import Client as Client
    from isthmus.components.context import Context as Context
    from isthmus.components.context import get_context as get_context
    from isthmus.components.context import get_http_headers as get_http_headers
    from isthmus.exceptions import McpError as McpError
    from isthmus.exceptions import NotFoundError as NotFoundError
    from isthmus.exceptions import PromptError as PromptError
    from isthmus.exceptions import ResourceError as ResourceError
    from isthmus.exceptions import ToolError as ToolError
    from isthmus.limits import Limits as Limits
    from isthmus.mcp_config import MCPConfig as MCPConfig
    from isthmus.server import FastMCP as FastMCP
    from isthmus.server.proxy import FastMCPProxy as FastMCPProxy
    from isthmus.server.proxy import ProxyClient as ProxyClient
    from isthmus.server.proxy import StatefulProxyClient as StatefulProxyClient
    from isthmus.server.proxy import create_proxy as create_proxy
    from isthmus.transports.http_front.access import Access as Access

_HOMES: Final = {
    "Access": "transports.http_front.access",
    "Client": "client.client",
    "Context": "components.context",
    "FastMCP": "server",
    "FastMCPProxy": "server.proxy",
    "Limits": "limits",
    "MCPConfig": "mcp_config",
    "McpError": "exceptions",
    "NotFoundError": "exceptions",
    "PromptError": "exceptions",
    "ProxyClient": "server.proxy",
    "ResourceError": "exceptions",
    "StatefulProxyClient": "server.proxy",
    "ToolError": "exceptions",
    "create_proxy": "server.proxy",
    "get_context": "components.context",
    "get_http_headers": "components.context",
}
"""The module below this one that each public name is loaded from when it is first used."""

__all__ = [
    "Access",
    "Client",
    "Context",
    "FastMCP",
    "FastMCPProxy",
    "Limits",
    "MCPConfig",
    "McpError",
    "NotFoundError",
    "PromptError",
    "ProxyClient",
    "ResourceError",
    "StatefulProxyClient",
    "ToolError",
    "__version__",
    "create_proxy",
    "get_context",
    "get_http_headers",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    value: object = getattr(import_module(f"isthmus.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
