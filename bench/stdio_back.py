"""A stdio MCP server without the SDK, in either era, that starts as fast as a Python can: run it with `-I -S`.

With `legacy` as its argument it knows no `server/discover`, with `modern` no `initialize`.
"""

from __future__ import annotations

import json
import sys

INFO = {"name": "bench", "version": "1"}
TOOL = {"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}
CACHE = {"ttlMs": 0, "cacheScope": "private"}
DONE = {"resultType": "complete"}
RESULTS: dict[str, dict[str, object]] = {
    "initialize": {"capabilities": {"tools": {}}, "serverInfo": INFO},
    "ping": {},
    "server/discover": {**DONE, **CACHE, "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}},
    "tools/list": {**DONE, **CACHE, "tools": [TOOL]},
    "tools/call": {**DONE, "content": [{"type": "text", "text": "ok"}]},
}


def main() -> None:
    unknown = {"legacy": "server/discover", "modern": "initialize"}
    for era in sys.argv[1:]:
        del RESULTS[unknown[era]]
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
        result = RESULTS.get(message["method"])
        if result is None:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        elif message["method"] == "initialize":
            answer["result"] = {"protocolVersion": message["params"]["protocolVersion"], **result}
        else:
            answer["result"] = result
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
