"""What is done to a server when those whom it served are gone."""

from isthmus import Client, FastMCP
from tests.library.ways import play


def test_a_server_is_changed_after_its_loop_has_ended() -> None:
    server = FastMCP("server")

    @server.tool
    def early() -> int:
        return 1

    async def names() -> None:
        async with Client(server) as client:
            heard.append([tool.name for tool in await client.list_tools()])

    heard: list[list[str]] = []
    play(names())

    @server.tool
    def late() -> int:
        return 2

    play(names())
    assert heard == [["early"], ["early", "late"]]
