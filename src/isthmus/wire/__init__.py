"""JSON-RPC and bytes: envelopes, the two framings (lines, server-sent events), header values.

What may not enter: anything of MCP's meaning (methods, sessions, eras), any I/O, any `async def`.
Its nouns are *envelope* (one JSON-RPC message, its members as raw text) and *members* (an opened JSON object).
"""
