"""Names that the protocol gives: keys of `_meta`, notifications, header names, error codes."""

from typing import Final

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION_KEY: Final = "io.modelcontextprotocol/subscriptionId"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
PROGRESS_KEY: Final = "progressToken"
HEADERS_KEY: Final = "isthmus/headers"
"""The key of `_meta` under which functions of this process are told the HTTP headers of a request; none leaves it."""
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
MISSING_KEY: Final = "isthmus/unavailable"
"""The key of a result's `_meta` that names the servers that took no part, each with the reason."""

CANCELLED: Final = "notifications/cancelled"
INITIALIZED: Final = "notifications/initialized"
PROGRESS: Final = "notifications/progress"
MESSAGE: Final = "notifications/message"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
MODERN_CODES: Final = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION})
"""Codes that only a modern server gives: "a recognized modern JSON-RPC error" (2026-07-28 basic/transports/stdio)."""

STATUS_OF_CODE: Final = {
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
    -32601: 404,
    -32700: 400,
    -32600: 400,
}
"""The HTTP status of a modern error response; 200 for every other code (basic/transports/streamable-http)."""
