"""An MCP server with every feature of the protocol, in both of its eras; `examples/everything.py` starts it."""
