"""A stdio back for the benches, in either era, made to cost next to nothing: run it with `-I -S`.

Its tools are `FORM_SIZE`, such as `json_100`: each answers with one text of SIZE bytes (FORM means nothing on stdio).
It looks for the two members it needs instead of parsing, and answers all requests of one read with one write. Its
condition is a load that has no other member named `id`.
"""

from __future__ import annotations

import json
import os
import re

ID = re.compile(rb'"id":\s*("[^"]*"|\d+)')
METHOD = re.compile(rb'"method":\s*"([^"]*)"')
TOOL = re.compile(rb'"name":\s*"[a-z]+_(\d+)"')
VERSION = re.compile(rb'"protocolVersion":\s*"([^"]*)"')
MODERN = b'"io.modelcontextprotocol/protocolVersion"'
SIZES = (100, 10_000, 1_000_000, 16_000_000)
CACHE = {"ttlMs": 0, "cacheScope": "private"}
TOOLS = [
    {"name": f"{form}_{size}", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}
    for form in ("json", "sse")
    for size in SIZES
]
RESULTS: dict[bytes, dict[str, object]] = {
    b"ping": {},
    b"server/discover": {**CACHE, "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}},
    b"tools/list": {**CACHE, "tools": TOOLS},
}
answers: dict[tuple[bytes, bool], bytes] = {}


def text(size: int) -> str:
    """What a tool answers: `size` letters that no JSON writer escapes."""
    return "x" * (size - 2) + "ok"


def result(key: bytes, modern: bool) -> bytes:
    """The rest of an answer after its id, kept for the next time."""
    known = answers.get((key, modern))
    if known is None:
        value = RESULTS.get(key)
        if value is None:
            value = {"content": [{"type": "text", "text": text(int(key))}]}
        value = {"resultType": "complete", **value} if modern else value
        known = answers[key, modern] = b',"result":' + json.dumps(value, separators=(",", ":")).encode() + b"}\n"
    return known


def answer(line: bytes) -> bytes:
    found = ID.search(line)
    if found is None:
        return b""
    head = b'{"jsonrpc":"2.0","id":' + found[1]
    tool = TOOL.search(line)
    if tool is not None:
        return head + result(tool[1], MODERN in line)
    named = METHOD.search(line)
    method = named[1] if named is not None else b""
    if method == b"initialize":
        asked = VERSION.search(line)
        version = asked[1] if asked is not None else b"2025-11-25"
        info = b'"capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}}\n'
        return head + b',"result":{"protocolVersion":"' + version + b'",' + info
    if method in RESULTS:
        return head + result(method, MODERN in line)
    return head + b',"error":{"code":-32601,"message":"Method not found"}}\n'


def main() -> None:
    rest = b""
    while piece := os.read(0, 1 << 20):
        *lines, rest = (rest + piece).split(b"\n")
        left = memoryview(b"".join([answer(line) for line in lines]))
        while left:
            left = left[os.write(1, left) :]


if __name__ == "__main__":
    main()
