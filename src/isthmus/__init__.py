"""One MCP server in front of another: any transport to any transport, without losing anything.

`FastMCP.as_proxy(target)` gives a proxy; `.run()` serves it. Nothing heavy is imported before it is used.
"""

from typing import TYPE_CHECKING

from isthmus.version import __version__ as __version__

if TYPE_CHECKING:
    from isthmus.client.client import Client as Client
    from isthmus.server import FastMCP as FastMCP
    from isthmus.transports.http_front.access import Access as Access

__all__ = ["Access", "Client", "FastMCP", "__version__"]


def __getattr__(name: str) -> object:
    if name == "FastMCP":
        from isthmus.server import FastMCP

        return FastMCP
    if name == "Client":
        from isthmus.client.client import Client

        return Client
    if name == "Access":
        from isthmus.transports.http_front.access import Access

        return Access
    raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
