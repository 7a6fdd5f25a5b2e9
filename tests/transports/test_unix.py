"""Unix sockets, listened on and connected to."""

import asyncio
import json
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from isthmus.errors import BackFault, BackUnavailable, ConfigError
from isthmus.limits import Limits
from isthmus.run import HttpPlace
from isthmus.transports.http_client import HttpClient
from isthmus.transports.http_connect import find_proxy, split_url
from isthmus.transports.http_front.serve import bind
from isthmus.transports.target import HttpTarget, read_target
from tests.fronts.backs import BACK, ISTHMUS
from tests.fronts.raw import Peer as Client
from tests.fronts.raw import call, http, initialize, modern_post, post

from .http_peers import OK, Peer, Reader, Runner, Script, Writer, no_proxies, run, saying

__all__ = ["no_proxies", "run"]


def url_of(path: Path, target: str = "/mcp") -> str:
    return f"http+unix://{quote(str(path), safe='')}{target}"


@asynccontextmanager
async def serve_at(path: Path, script: Script) -> AsyncIterator[Peer]:
    peer = Peer(script)
    server = await asyncio.start_unix_server(peer.handle, path)
    try:
        yield peer
    finally:
        server.close()
        await peer.stop()


# -- the back ---------------------------------------------------------------------------------------------------------


def test_a_request_goes_to_the_socket(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    async def scenario() -> None:
        path = tmp_path / "a b%.sock"
        async with serve_at(path, saying(OK)) as peer:
            client = HttpClient(url_of(path, "/x/mcp?y=1"), name="notes", limits=Limits())
            for _ in range(2):
                assert (await client.request("POST", b"", b"{}")).body == b"{}"
            assert peer.heads[0].startswith("POST /x/mcp?y=1 HTTP/1.1\r\n")
            assert "Host: localhost\r\n" in peer.heads[0]
            assert peer.connections == 1
            await client.close()

    run(scenario)


@pytest.mark.parametrize("location", ["/there", "there", "http://localhost/there"])
def test_a_redirect_stays_on_the_socket(run: Runner, tmp_path: Path, location: str) -> None:
    async def script(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            head = f"HTTP/1.1 307 Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
            writer.write(OK if " /there " in peer.heads[-1] else head)

    async def scenario() -> None:
        async with serve_at(tmp_path / "s", script):
            client = HttpClient(url_of(tmp_path / "s"), name="notes", limits=Limits())
            assert (await client.request("POST", b"", b"{}")).body == b"{}"
            await client.close()

    run(scenario)


def test_a_redirect_to_a_host_is_not_followed(run: Runner, tmp_path: Path) -> None:
    answer = b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1/mcp\r\nContent-Length: 0\r\n\r\n"

    async def scenario() -> None:
        async with serve_at(tmp_path / "s", saying(answer)):
            client = HttpClient(url_of(tmp_path / "s"), name="notes", limits=Limits())
            with pytest.raises(BackFault, match=r"another origin, http://127\.0\.0\.1, and nothing was sent there"):
                await client.request("POST", b"", b"{}")
            await client.close()

    run(scenario)


def test_a_socket_without_a_server_is_told(run: Runner, tmp_path: Path) -> None:
    async def scenario() -> None:
        for path, says in ((tmp_path / "none", "No such file"), (_stale(tmp_path / "stale"), "Connection refused")):
            client = HttpClient(url_of(path), name="notes", limits=Limits())
            with pytest.raises(BackUnavailable, match=f"Could not connect to notes at http\\+unix://.*: {says}"):
                await client.request("POST", b"", b"{}")
            await client.close()

    run(scenario)


def test_what_a_url_means() -> None:
    origin, target = split_url("http+unix://%2Frun%2FMCP.sock/mcp")
    assert (origin.scheme, origin.host, origin.authority, target) == ("http+unix", "/run/MCP.sock", "localhost", "/mcp")
    assert str(origin) == "http+unix://%2Frun%2FMCP.sock"
    assert find_proxy(origin) is None
    with pytest.raises(ValueError, match="must name the whole path"):
        split_url("http+unix://run.sock/mcp")
    assert read_target("http+unix://%2Frun%2FMCP.sock/x") == HttpTarget("MCP.sock", "http+unix://%2Frun%2FMCP.sock/x")
    assert read_target("unix:/run/MCP.sock") == HttpTarget("MCP.sock", "http+unix://%2Frun%2FMCP.sock/mcp")


def test_a_system_without_unix_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(ConfigError, match="Python has no Unix sockets on this system"):
        bind(f"unix:{tmp_path / 's'}", 0)
    with pytest.raises(ConfigError, match="is for a Unix socket, and Python has none on this system"):
        HttpClient(url_of(tmp_path / "s"), name="notes", limits=Limits())


# -- the front --------------------------------------------------------------------------------------------------------


def _stale(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    return path


def test_the_socket_is_the_users_alone(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        with bind(f"unix:{tmp_path / 's'}", 0):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(mask)


def test_what_is_left_of_a_socket_is_replaced(tmp_path: Path) -> None:
    with bind(f"unix:{_stale(tmp_path / 's')}", 0), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))


def test_a_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with bind(f"unix:{path}", 0):
        with pytest.raises(ConfigError, match="Somebody listens on the Unix socket"):
            bind(f"unix:{path}", 0)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_addresses_that_can_not_be_had(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for path, says in (
        (str(file), "it is a file of another kind"),
        ("", "needs a path"),
        (str(tmp_path / "no" / "s"), "No such file or directory"),
        (str(tmp_path / ("x" * 200)), "too long"),
    ):
        with pytest.raises(ConfigError, match=says):
            bind(f"unix:{path}", 0)
    assert file.read_text() == "kept"


def test_no_host_has_to_be_allowed(tmp_path: Path) -> None:
    HttpPlace(f"unix:{tmp_path / 's'}").check()


# -- the command, both ways -------------------------------------------------------------------------------------------


@asynccontextmanager
async def isthmus(path: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`isthmus run --http unix:PATH …`, when it listens."""
    command = [ISTHMUS, "run", "--http", f"unix:{path}", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        said = await asyncio.wait_for(process.stderr.readline(), 10)
        assert url_of(path).encode() in said, said
        yield process
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert not os.access(path, os.F_OK)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await process.stderr.read()


async def ask(path: Path, message: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        response = await Client(reader, writer).ask(message)
    finally:
        writer.close()
    return response.status, response.body


def test_from_socket_to_socket(tmp_path: Path) -> None:
    first, second = tmp_path / "first.sock", tmp_path / "second.sock"

    async def scenario() -> None:
        async with (
            asyncio.timeout(30),
            isthmus(first, "--", sys.executable, "-c", BACK),
            isthmus(second, "--sse", url_of(first)),
        ):
            for host in ("localhost", "anything.example"):
                status, body = await ask(second, modern_post(call("echo", 3, text="x"), Host=host))
                assert (status, json.loads(body)["result"]["said"]) == (200, {"text": "x"})
            status, body = await ask(second, post(initialize()))
            assert (status, json.loads(body)["result"]["serverInfo"]["name"]) == (200, "isthmus")
            status, _ = await ask(second, modern_post(call("echo"), Origin="https://evil.example"))
            assert status == 403
            reader, writer = await asyncio.open_unix_connection(second)
            stream = Client(reader, writer)
            stream.send(http("GET", path="/sse"))
            assert (await stream.head())[0] == 200
            assert (await stream.chunk()).startswith(b"event: endpoint\n")
            writer.close()
            check = [ISTHMUS, "check", url_of(second, "/sse")]
            process = await asyncio.create_subprocess_exec(*check, stdout=asyncio.subprocess.PIPE)
            out, _ = await process.communicate()
            assert b"over HTTP+SSE" in out, out

    asyncio.run(scenario())


def test_a_socket_that_another_took_over_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def scenario() -> None:
        async with asyncio.timeout(30):
            command = [ISTHMUS, "run", "--http", f"unix:{path}", "--", sys.executable, "-c", BACK]
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            assert process.stderr is not None
            await process.stderr.readline()
            assert (await ask(path, modern_post(call("echo"))))[0] == 200
            path.unlink()
            path.write_text("another's")
            process.terminate()
            await process.communicate()
            assert path.read_text() == "another's"

    asyncio.run(scenario())
