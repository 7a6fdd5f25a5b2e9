"""Small writes of one turn of the loop go out together, in their order."""

import asyncio

from isthmus.limits import TOGETHER
from isthmus.transports.cork import LineWriter


class Pipe(asyncio.WriteTransport):
    """Remembers what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed


def test_lines_of_one_turn_go_out_together() -> None:
    async def scenario() -> None:
        pipe = Pipe()
        lines = LineWriter(pipe)
        lines.write(b"a")
        lines.write(b"b")
        assert (pipe.writes, lines.waiting) == ([], 4)
        await asyncio.sleep(0)
        assert (pipe.writes, lines.waiting) == ([b"a\nb\n"], 0)
        lines.write(b"c")
        lines.uncork()
        lines.write(b"d")
        await asyncio.sleep(0)
        assert pipe.writes[1:] == [b"c\n", b"d\n"]

    asyncio.run(scenario())


def test_large_lines_keep_their_place_and_are_not_copied() -> None:
    async def scenario() -> None:
        pipe, large = Pipe(), b"x" * TOGETHER
        lines = LineWriter(pipe)
        lines.write(b"a")
        lines.write(large)
        lines.write(b"b")
        assert pipe.writes == [b"a\n", large, b"\n"]
        for _ in range(TOGETHER):  # much that is small does not wait for the end of a turn that may never come
            lines.write(b"c")
        assert max(map(len, pipe.writes)) <= TOGETHER and lines.waiting < TOGETHER
        pipe.is_closed = True
        lines.write(b"d")
        lines.uncork()
        assert b"d" not in b"".join(pipe.writes)

    asyncio.run(scenario())
