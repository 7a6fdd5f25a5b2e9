"""What this library raises to its users, under the names that FastMCP gave them.

Settings that can't work raise `isthmus.errors.ConfigError`; what a server answers with an error is a `McpError`, the
SDK's own, which is loaded when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp.shared.exceptions import MCPError as McpError

__all__ = [
    "ClientError",
    "DisabledError",
    "FastMCPError",
    "InvalidSignature",
    "McpError",
    "NotFoundError",
    "PromptError",
    "ResourceError",
    "ToolError",
    "ValidationError",
]


class FastMCPError(Exception):
    """What errors about tools, resources and prompts have in common."""


class ValidationError(FastMCPError):
    """Arguments, or a result, are not what was declared."""


class ResourceError(FastMCPError):
    """A resource could not be read."""


class ToolError(FastMCPError):
    """A tool failed; the text is what it said of that."""


class PromptError(FastMCPError):
    """A prompt could not be made."""


class InvalidSignature(Exception):
    """A function has a signature that no component can have."""


class ClientError(Exception):
    """A client can't do what it was asked to."""


class NotFoundError(Exception):
    """There is no such tool, resource or prompt."""


class DisabledError(Exception):
    """The tool, resource or prompt is there, but switched off."""


def __getattr__(name: str) -> object:
    if name == "McpError":
        from mcp.shared.exceptions import MCPError

        return MCPError
    raise AttributeError(f"module 'isthmus.exceptions' has no attribute {name!r}")
