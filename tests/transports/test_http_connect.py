"""How the HTTP client gets to a server: URLs, addresses, TLS, proxies."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.errors import BackUnavailable, ConfigError
from isthmus.limits import MIB, Limits
from isthmus.transports import http_connect
from isthmus.transports.http_client import HttpClient
from isthmus.transports.http_connect import Origin
from tests.transports.http_peers import OK, Peer, Reader, Runner, Writer, no_proxies, run, saying, serve, use

__all__ = ["no_proxies", "run"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/", "http:// or https://"),
        ("host:80/mcp", "http:// or https://"),
        ("http:///mcp", "no host"),
        ("http://host:99999/", "host or port"),
        ("http://host:x/", "host or port"),
        ("http://[::1/", "is not a URL"),
        ("http://ho st/", "space"),
        ("http://host/a\r\nX: y", "control"),
        ("http://user:secret@host/", "Authorization header"),
        ("http://ho<st/", "characters"),
    ],
)
def test_url_that_cannot_be_used(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        HttpClient(url, name="notes", limits=Limits())
    assert "notes" in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://Example.com", "example.com", "/"),
        ("http://example.com:80/a b".replace(" ", "%20"), "example.com", "/a%20b"),
        ("https://example.com:443/ü?q=ü", "example.com", "/%C3%BC?q=%C3%BC"),
        ("https://bücher.example:444/x?y", "xn--bcher-kva.example:444", "/x?y"),
        ("http://[::1]:8000/mcp", "[::1]:8000", "/mcp"),
    ],
)
def test_url_is_split(url: str, authority: str, target: str) -> None:
    origin, found = http_connect.split_url(url)
    assert (origin.authority, found) == (authority, target)


# Names with several addresses


def test_a_dead_address_does_not_hold_the_others_up(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serve(saying(OK)) as peer:
            await _answers_despite(peer, [("127.0.0.1", 1)], monkeypatch)
            with socket.socket() as full:  # a backlog that is full: the connection hangs as in a black hole
                full.bind(("127.0.0.1", 0))
                full.listen(0)
                address = full.getsockname()
                plugs = [socket.socket() for _ in range(3)]
                for plug in plugs:
                    plug.setblocking(False)
                    plug.connect_ex(address)
                await _answers_despite(peer, [address, address], monkeypatch)
                for plug in plugs:
                    plug.close()

    run(scenario)


async def _answers_despite(peer: Peer, dead: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(addresses: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in [*dead, ("127.0.0.1", peer.port)]]

    monkeypatch.setattr(http_connect, "_interleaved", mixed)
    async with use(peer.url) as client, asyncio.timeout(2):
        assert (await client.request("POST", b"", b"{}")).status == 200


def test_families_take_turns() -> None:
    four = [(socket.AF_INET, 1, 6, "", (str(n), 1)) for n in range(3)]
    six = [(socket.AF_INET6, 1, 6, "", (str(n), 1)) for n in range(2)]
    mixed = http_connect._interleaved([*six, *four])
    assert mixed == [six[0], four[0], six[1], four[1], four[2]]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out cert -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:back.example,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True, timeout=20)
    return folder


def tls_server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    return context


def test_tls(run: Runner, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            size = len(peer.bodies[-1])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + peer.bodies[-1])

    async def scenario() -> None:
        async with (
            serve(handler, ssl=tls_server(certificate), limit=1 << 24) as peer,
            use(f"https://localhost:{peer.port}/mcp", result=8 * MIB) as client,
        ):
            for size in (2, 5 * MIB, 2):
                assert (await client.request("POST", b"", bytes(size))).body == bytes(size)
            assert client.statistics() == (1, 0, 1, 2)
            assert f"Host: localhost:{peer.port}\r\n" in peer.heads[0]

    run(scenario)


def test_tls_body_until_close(run: Runner, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))

    async def scenario() -> None:
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000
        async with (
            serve(saying(answer, close=True), ssl=tls_server(certificate)) as peer,
            use(f"https://localhost:{peer.port}/mcp") as client,
        ):
            assert len((await client.request("POST", b"", b"{}")).body) == 100_000

    run(scenario)


def test_certificates_are_verified(run: Runner, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serve(saying(OK), ssl=tls_server(certificate)) as peer:
            async with use(f"https://localhost:{peer.port}/mcp") as client:
                with pytest.raises(
                    BackUnavailable, match=r"notes at https://localhost:\d+: its certificate is not tru"
                ):
                    await client.request("POST", b"", b"{}")
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))
            async with use(f"https://127.0.0.2:{peer.port}/mcp") as client:
                with pytest.raises(BackUnavailable):
                    await client.request("POST", b"", b"{}")
            assert peer.heads == []

    run(scenario)


def test_tls_to_a_server_without(run: Runner) -> None:
    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def scenario() -> None:
        async with serve(handler) as peer, use(f"https://127.0.0.1:{peer.port}/") as client:
            with pytest.raises(BackUnavailable, match="TLS failed"):
                await client.request("POST", b"", b"{}")

    run(scenario)


# Proxies


def test_a_proxy_for_http_gets_the_absolute_form(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with serve(saying(OK)) as peer:
            monkeypatch.setenv("http_proxy", f"http://me:pa%40ss@127.0.0.1:{peer.port}")
            async with use("http://back.example:8080/mcp?x=1") as client:
                assert (await client.request("POST", b"", b"{}")).status == 200
                assert peer.heads[0].startswith("POST http://back.example:8080/mcp?x=1 HTTP/1.1\r\n")
                assert "Host: back.example:8080\r\n" in peer.heads[0]
                assert "Proxy-Authorization: Basic bWU6cGFAc3M=\r\n" in peer.heads[0]

    run(scenario)


@pytest.mark.parametrize("reply", ["HTTP/1.1 200 Connection established\r\nVia: x", "HTTP/1.0 407 Who", "nonsense", ""])
def test_a_proxy_for_https_is_asked_for_a_tunnel(
    reply: str, run: Runner, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))

    async def scenario() -> None:
        async with serve(saying(OK), ssl=tls_server(certificate)) as back:

            async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
                await peer.read(reader)
                if reply:
                    writer.write(f"{reply}\r\n\r\n".encode())
                if "200" in reply:
                    await tunnel(reader, writer, back.port)

            async with serve(handler) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", f"me:secret@127.0.0.1:{proxy.port}")
                async with use("https://back.example/mcp") as client:
                    if "200" in reply:
                        for _ in range(2):
                            assert (await client.request("POST", b"", b"{}")).status == 200
                        assert back.heads[0].startswith("POST /mcp HTTP/1.1\r\nHost: back.example\r\n")
                        assert "roxy" not in back.heads[0] and back.connections == 1
                    else:
                        with pytest.raises(BackUnavailable, match=r"would not connect to notes.*HTTPS_PROXY") as caught:
                            await client.request("POST", b"", b"{}")
                        assert "secret" not in caught.value.why and (" 407" in caught.value.why) == (" 407" in reply)
                    start = "CONNECT back.example:443 HTTP/1.1\r\nHost: back.example:443\r\nProxy-Authorization: Basic "
                    assert proxy.heads[0].startswith(start)

    run(scenario)


async def tunnel(reader: Reader, writer: Writer, port: int) -> None:
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)

    async def copy(source: Reader, sink: Writer) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
        sink.transport.abort()

    try:
        await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))
    finally:
        other_writer.transport.abort()


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, "http://back.example/", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://back.example/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://back.example/", None),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://back.example/", None),
        ({"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "http://back.example/", "http://p:1"),
        ({"HTTPS_PROXY": "https://p"}, "https://back.example/", "https://p"),
        ({"all_proxy": "p:3128"}, "https://back.example/", "http://p:3128"),
        ({"ALL_PROXY": "p:3128"}, "http://127.9.9.9/", None),
        ({"ALL_PROXY": "p:3128"}, "http://[::1]/", None),
        ({"ALL_PROXY": "p:3128"}, "http://localhost/", None),
        ({"ALL_PROXY": "p:3128"}, "http://a.localhost/", None),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "*"}, "http://back.example/", None),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "x, .Example"}, "http://back.example/", None),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "back.example"}, "http://a.back.example/", None),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "ack.example"}, "http://back.example/", "http://p:3128"),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "back.example:81"}, "http://back.example/", "http://p:3128"),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "back.example:81"}, "http://back.example:81/", None),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "10.0.0.0/8,,"}, "http://10.1.2.3/", None),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "10.0.0.0/8"}, "http://11.1.2.3/", "http://p:3128"),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": ""}, "http://11.1.2.3/", "http://p:3128"),
    ],
)
def test_which_proxy(
    environment: dict[str, str], url: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = http_connect.find_proxy(http_connect.split_url(url)[0])
    assert (proxy and str(proxy.origin)) == expected


@pytest.mark.parametrize("url", ["socks5://p:1", "http://p:x", "http://"])
def test_a_proxy_that_cannot_be_used(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", url)
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        http_connect.find_proxy(Origin("http", "back.example", 80))


def test_ssl_is_not_imported_for_http() -> None:
    code = "from isthmus.transports import http_client, http_connect as c; raise SystemExit(hasattr(c, 'ssl'))"
    assert subprocess.run([sys.executable, "-c", code], timeout=20, check=False).returncode == 0
