"""Clients: the SDK's in memory before a relay of ours, with handlers and results as FastMCP's.

The SDK is loaded when a client connects. What only holds its settings does without: `client`, `handlers`, `transports`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isthmus.client.auth import BearerAuth as BearerAuth
    from isthmus.client.auth import OAuth as OAuth
    from isthmus.client.client import Client as Client
    from isthmus.client.transports import ClientTransport as ClientTransport
    from isthmus.client.transports import FastMCPTransport as FastMCPTransport
    from isthmus.client.transports import MCPConfigTransport as MCPConfigTransport
    from isthmus.client.transports import NodeStdioTransport as NodeStdioTransport
    from isthmus.client.transports import NpxStdioTransport as NpxStdioTransport
    from isthmus.client.transports import PythonStdioTransport as PythonStdioTransport
    from isthmus.client.transports import SSETransport as SSETransport
    from isthmus.client.transports import StdioTransport as StdioTransport
    from isthmus.client.transports import StreamableHttpTransport as StreamableHttpTransport
    from isthmus.client.transports import UvStdioTransport as UvStdioTransport
    from isthmus.client.transports import UvxStdioTransport as UvxStdioTransport
    from isthmus.client.transports import WSTransport as WSTransport

_TRANSPORTS = (
    "ClientTransport",
    "FastMCPTransport",
    "MCPConfigTransport",
    "NodeStdioTransport",
    "NpxStdioTransport",
    "PythonStdioTransport",
    "SSETransport",
    "StdioTransport",
    "StreamableHttpTransport",
    "UvStdioTransport",
    "UvxStdioTransport",
    "WSTransport",
)


def __getattr__(name: str) -> object:
    if name == "Client":
        from isthmus.client.client import Client

        return Client
    if name in ("BearerAuth", "OAuth"):
        from isthmus.client import auth

        return getattr(auth, name)
    if name in _TRANSPORTS:
        from isthmus.client import transports

        return getattr(transports, name)
    raise AttributeError(f"module 'isthmus.client' has no attribute {name!r}")
