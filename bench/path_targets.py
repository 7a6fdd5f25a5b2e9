"""The paths, who is measured on each, and how each is started: backs, isthmus, nginx and the peers."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from environments import node_environment, python_environment, python_version
from harness import BENCH, ISTHMUS, BenchError, Stage
from servers import COMMON, lua_modules, nginx_command

if TYPE_CHECKING:
    from collections.abc import Sequence

BACK = r"""
  lua_package_path "@BENCH@/?.lua;;";
  init_by_lua_block { back = require "path_back" }
  client_max_body_size 8m;
  server {
    listen 127.0.0.1:@PORT@ backlog=1024;
    location = /status { stub_status; }
    location = /mcp { content_by_lua_block { back.answer() } }
    location /fresh/ { content_by_lua_block { back.answer(back.fresh) } }
    location /stale/ { content_by_lua_block { back.answer(back.stale) } }
  }
}
"""


@dataclass(frozen=True)
class Way:
    """A way through a proxy: the transports of its two sides, the era, and the form of the back's answers."""

    key: str
    title: str
    front: str
    back: str
    era: str
    form: str = "json"
    sessions: int = 1

    @property
    def needs(self) -> tuple[str, str, str]:
        return (self.front, self.back, self.era)


WAYS = (
    Way("json", "HTTP → HTTP, modern, JSON answers", "http", "http", "modern"),
    Way("sse", "HTTP → HTTP, modern, SSE answers", "http", "http", "modern", "sse"),
    Way("legacy", "HTTP → HTTP, legacy, 8 sessions", "http", "http", "legacy", sessions=8),
    Way("http-stdio", "HTTP → stdio, modern", "http", "stdio", "modern"),
    Way("http-stdio-legacy", "HTTP → stdio, legacy, one session", "http", "stdio", "legacy"),
    Way("stdio-http", "stdio → HTTP, modern", "stdio", "http", "modern"),
    Way("stdio-http-legacy", "stdio → HTTP, legacy", "stdio", "http", "legacy"),
)

HTTP_HTTP = {("http", "http", "modern"), ("http", "http", "legacy")}
HTTP_STDIO = {("http", "stdio", "modern"), ("http", "stdio", "legacy")}
STDIO_HTTP = {("stdio", "http", "modern"), ("stdio", "http", "legacy")}
OWN = {"direct", "nginx", "isthmus"}
"""Not peers: the bound of what is possible, a proxy in C that knows nothing of MCP, and ourselves."""
HAS: dict[str, set[tuple[str, str, str]]] = {
    "direct": HTTP_HTTP,
    "nginx": HTTP_HTTP,
    "isthmus": HTTP_HTTP | HTTP_STDIO | STDIO_HTTP,
    "FastMCP": HTTP_HTTP | HTTP_STDIO | STDIO_HTTP,
    "FastMCP, reusing": HTTP_HTTP | HTTP_STDIO | STDIO_HTTP,
    "mcp-proxy": {("http", "stdio", "legacy"), ("stdio", "http", "legacy")},
    "supergateway": HTTP_STDIO | {("stdio", "http", "legacy")},
    "supergateway, stateful": {("http", "stdio", "legacy")},
}
"""The paths that each says it has."""


class Environments:
    """Where the peers' programs are; made when first asked for, remembered with their failure."""

    def __init__(self) -> None:
        self._known: dict[str, Path | BenchError] = {}

    def get(self, name: str) -> Path:
        """The folder of executables; raises `BenchError` when the environment cannot be made."""
        if name not in self._known:
            try:
                self._known[name] = node_environment() if name == "node" else python_environment(name)
            except (BenchError, OSError, subprocess.TimeoutExpired) as error:
                self._known[name] = BenchError(str(error))
        found = self._known[name]
        if isinstance(found, BenchError):
            raise found
        return found

    def versions(self) -> dict[str, str]:
        """What is compared, each with its version and what it runs on."""
        ours = _said([str(ISTHMUS), "--version"]).removeprefix("isthmus ")
        told = {"isthmus": ours, "nginx": _said(["nginx", "-v"]).rpartition("/")[2]}
        for name, beside in (("fastmcp", "mcp"), ("mcp-proxy", "mcp")):
            try:
                folder = self.get(name)
                told[name] = f"{python_version(folder, name)} (mcp {python_version(folder, beside)})"
            except BenchError as error:
                told[name] = f"not installed: {error}"
        try:
            folder = self.get("node")
            told["supergateway"] = _said([node(), str(folder / "supergateway"), "--version"])
        except BenchError as error:
            told["supergateway"] = f"not installed: {error}"
        told["Node"] = _said([node(), "--version"])
        told["wrk"] = _said(["wrk", "--version"]).split(" [", 1)[0].removeprefix("wrk ")
        return told


def _said(command: Sequence[str]) -> str:
    """The first line that a program prints, on whichever stream."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return f"unknown ({error})"
    return ((done.stdout or done.stderr).strip().splitlines() or ["unknown"])[0]


def node() -> str:
    """The Node beside this interpreter, or else the one on the path."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which("node", path=search) or "node"


def line_back(core: int) -> list[str]:
    """The command of the stdio back, pinned to its own core: what a proxy starts inherits the proxy's."""
    return ["taskset", "-c", str(core), sys.executable, "-I", "-S", str(BENCH / "line_back.py")]


def start_path_back(stage: Stage, port: int, core: int) -> subprocess.Popen[bytes]:
    common = COMMON.format(folder=stage.folder, name="path-back")
    back = BACK.replace("@PORT@", str(port)).replace("@BENCH@", str(BENCH))
    text = lua_modules() + common + back
    return stage.start("path-back", nginx_command(stage.folder, "path-back", text), core)


def command(name: str, way: Way, port: int, back: Sequence[str], environments: Environments) -> list[str]:
    """How `name` is started as this path's proxy: on `port` when its front is HTTP, with a URL or command as back.

    Raises `BenchError` when its environment cannot be made.
    """
    http_front = way.front == "http"
    if name == "isthmus":
        front = ["--http", str(port)] if http_front else []
        target = list(back) if way.back == "http" else ["--", *back]
        return [str(ISTHMUS), "run", *front, *target]
    if name.startswith("FastMCP"):
        python = environments.get("fastmcp") / "python"
        mode = "reuse" if "reusing" in name else "default"
        return [
            str(python),
            str(BENCH / "fastmcp_proxy.py"),
            mode,
            way.era,
            f"http:{port}" if http_front else "stdio",
            *back,
        ]
    if name == "mcp-proxy":
        program = str(environments.get("mcp-proxy") / "mcp-proxy")
        if http_front:
            return [program, "--log-level", "ERROR", "--port", str(port), "--", *back]
        return [program, "--log-level", "ERROR", "--transport", "streamablehttp", *back]
    program = str(environments.get("node") / "supergateway")
    quiet = [node(), program, "--logLevel", "none"]
    if http_front:
        shape = ["--outputTransport", "streamableHttp", "--port", str(port)]
        return [*quiet, "--stdio", shlex.join(back), *shape, *(["--stateful"] if "stateful" in name else [])]
    return [*quiet, "--streamableHttp", *back]
