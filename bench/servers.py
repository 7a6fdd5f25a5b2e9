"""Both nginx: a back that answers MCP calls with the help of its Lua module, and the reverse proxy to compare with."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

from harness import MODULES, BenchError, Stage

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

COMMON = """\
daemon off;
worker_processes 1;
pcre_jit on;
pid {folder}/{name}.pid;
error_log {folder}/{name}.err warn;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {folder}/{name}.body;
  proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.fastcgi;
  uwsgi_temp_path {folder}/{name}.uwsgi;
  scgi_temp_path {folder}/{name}.scgi;
"""

RESULTS = {
    "tools/call": {"resultType": "complete", "content": [{"type": "text", "text": "ok"}]},
    "tools/list": {
        "resultType": "complete",
        "tools": [{"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}],
        "ttlMs": 0,
        "cacheScope": "private",
    },
    "server/discover": {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "ttlMs": 0,
        "cacheScope": "private",
    },
}

# Lua only has the body read, before the rewrite phase: the id is then a variable like another and the answer a
# `return`. A `content_by_lua_block` that builds the answer costs about 2 µs a call more: enough that load and back,
# which share a core, are full before nginx as proxy has filled its own.
BACK = r"""
  lua_code_cache on;
  map $request_body $rpc_id { default null; "~\"id\":\s*([^\s,}]+)" $1; }
  map $http_mcp_method $rpc_result {
    default "";
@RESULTS@
  }
  server {
    listen 127.0.0.1:@PORT@ backlog=1024;
    default_type application/json;
    server_rewrite_by_lua_block { ngx.req.read_body() }
    location = /status { stub_status; }
    location = /mcp {
      if ($rpc_result = "") { return 404 '{"jsonrpc":"2.0","id":$rpc_id,"error":@UNKNOWN@}'; }
      return 200 '{"jsonrpc":"2.0","id":$rpc_id,"result":$rpc_result}';
    }
  }
}
"""

PROXY = r"""
  upstream back { server 127.0.0.1:@BACK@; keepalive 128; keepalive_requests 1000000000; keepalive_time 1h; }
  server {
    listen 127.0.0.1:@PORT@ backlog=1024;
    location / { proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
"""

HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "echo",
}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def call_body(identifier: int) -> bytes:
    params = {"name": "echo", "arguments": {"text": "hello"}, "_meta": META}
    request = {"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": params}
    return _compact(request).encode()


def nginx_command(folder: Path, name: str, text: str) -> list[str]:
    path = folder / f"{name}.conf"
    path.write_text(text)
    return ["nginx", "-p", str(folder), "-e", str(folder / f"{name}.err"), "-c", str(path)]


def lua_modules() -> str:
    return "".join(f"load_module {MODULES / name};\n" for name in ("ndk_http_module.so", "ngx_http_lua_module.so"))


def start_back(stage: Stage, port: int, core: int) -> subprocess.Popen[bytes]:
    common = COMMON.format(folder=stage.folder, name="back")
    results = "\n".join(f"    {method} '{_compact(result)}';" for method, result in RESULTS.items())
    back = BACK.replace("@PORT@", str(port)).replace("@RESULTS@", results)
    text = lua_modules() + common + back.replace("@UNKNOWN@", _compact({"code": -32601, "message": "Method not found"}))
    return stage.start("back", nginx_command(stage.folder, "back", text), core)


def start_nginx(stage: Stage, port: int, back_port: int, core: int) -> subprocess.Popen[bytes]:
    common = COMMON.format(folder=stage.folder, name="nginx")
    text = common + PROXY.replace("@PORT@", str(port)).replace("@BACK@", str(back_port))
    return stage.start("nginx", nginx_command(stage.folder, "nginx", text), core)


def _messages(kind: str, body: bytes) -> list[Any]:
    """The JSON messages of an answer, whether it is one JSON value or an event stream."""
    if kind.startswith("text/event-stream"):
        lines = body.decode().splitlines()
        return [json.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip()]
    return [json.loads(body)]


def check_call(port: int, identifier: int) -> None:
    """One call through `port` must be answered in full, and correctly."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/mcp", call_body(identifier), HEADERS)
        response = connection.getresponse()
        body = response.read()
        kind = response.getheader("Content-Type", "")
    finally:
        connection.close()
    if response.status != 200:
        raise BenchError(f"a call was answered with status {response.status}: {body[:500]!r}")
    try:
        last = _messages(kind, body)[-1]
        good = last["id"] == identifier and last["result"]["content"] == [{"type": "text", "text": "ok"}]
    except (ValueError, LookupError, TypeError):
        good = False
    if not good:
        raise BenchError(f"a call with id {identifier} was answered with {body[:500]!r}")


def wait_ready(stage: Stage, name: str, process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server accepts connections, then demand one correct answer of it."""
    deadline = time.monotonic() + 15
    while True:
        if process.poll() is not None:
            raise BenchError(f"{name} ended with status {process.returncode} at its start: {stage.log(name)}")
        try:
            return check_call(port, 1)
        except ConnectionError as error:
            if time.monotonic() > deadline:
                raise BenchError(f"{name} was not ready after 15 s: {stage.log(name)}") from error
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"{name} did not answer its first call: {error!r}; {stage.log(name)}") from error
        except BenchError as error:
            raise BenchError(f"{name}: {error}; {stage.log(name)}") from error
        time.sleep(0.05)


def back_requests(port: int) -> int:
    """How many requests the back has had so far, the asking one included."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/status")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    return int(lines[2].split()[2])
