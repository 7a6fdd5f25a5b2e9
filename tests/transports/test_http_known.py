"""What a loop remembers of the responses of all its backs: it saves reading, and changes nothing."""

import asyncio

import pytest

from isthmus.errors import BackFault
from isthmus.limits import HEAD_LONGEST, HEAD_NAME_LONGEST, HEAD_NAMES
from isthmus.transports.http_stream import known_of
from tests.transports.http_peers import Runner, no_proxies, run, saying, serve, use

__all__ = ["no_proxies", "run"]


def plain(body: bytes, *lines: str) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: application/json", *lines, f"Content-Length: {len(body)}"])
    return head.encode() + b"\r\n\r\n" + body


def test_a_head_that_is_known_from_another_back_lets_no_more_through(run: Runner) -> None:
    async def scenario() -> None:
        answer = plain(b"x" * 3000)
        async with serve(saying(answer)) as peer, use(peer.url) as large, use(peer.url, result=2000) as small:
            for _ in range(2):
                assert len((await large.request("POST", b"", b"{}")).body) == 3000
            assert len(known_of(asyncio.get_running_loop()).heads) == 1
            with pytest.raises(BackFault, match="answered with more than 2000 bytes"):
                await small.request("POST", b"", b"{}")

    run(scenario)


def test_what_backs_can_make_up_is_not_remembered(run: Runner) -> None:
    """Heads and names of headers that are longer than any of use, and more names than are."""

    async def scenario() -> None:
        known = known_of(asyncio.get_running_loop())
        for lines in ([f"X-Long: {'x' * HEAD_LONGEST}"], [f"X-{'x' * HEAD_NAME_LONGEST}: 1"]):
            async with serve(saying(plain(b"{}", *lines))) as peer, use(peer.url) as client:
                name, value = lines[0].split(": ")
                for _ in range(2):
                    assert (await client.request("POST", b"", b"{}")).headers[name.lower()] == value
                    assert all(len(head) <= HEAD_LONGEST for head in known.heads)
                    assert all(len(name) <= HEAD_NAME_LONGEST for name in known.keys)
        many = [f"X-{number}: 1" for number in range(HEAD_NAMES + 10)]
        async with serve(saying(plain(b"{}", *many))) as peer, use(peer.url) as client:
            assert len((await client.request("POST", b"", b"{}")).headers) == len(many) + 2
            assert len(known.keys) <= HEAD_NAMES
        async with serve(saying(plain(b"{}", "X-Sound: 1"))) as peer, use(peer.url) as client:
            await client.request("POST", b"", b"{}")
            assert b"X-Sound" in known.keys  # one back leaves no other without

    run(scenario)
