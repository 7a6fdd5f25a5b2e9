"""A whole proxy with HTTP+SSE in front of a process: what becomes of a client when either ends."""

import signal

from .backs import isthmus
from .raw import connected, initialize
from .shells import run
from .test_sse import INITIALIZED, Client, tool


def test_a_server_that_dies_fails_the_call_and_is_there_for_the_next() -> None:
    async def scenario() -> None:
        async with isthmus("--http", "0", "--sse") as running, connected(running.port) as stream:
            client = await Client.open(stream, running.port)
            assert (await client.ask(initialize("2024-11-05")))["result"]["serverInfo"]["name"] == "isthmus"
            await client.tell(INITIALIZED)
            died = await client.ask(tool("die", 1))
            assert (died["id"], died["error"]["code"]) == (1, -32603)
            assert "exit status 3" in died["error"]["message"]
            assert (await client.ask(tool("echo", 2, text="x")))["result"]["said"] == {"text": "x"}

    run(scenario)


def test_the_end_of_the_proxy_waits_for_a_call() -> None:
    async def scenario() -> None:
        async with isthmus("--http", "0", "--sse") as running, connected(running.port) as stream:
            client = await Client.open(stream, running.port)
            await client.ask(initialize("2024-11-05"))
            await client.tell(tool("sleep", 1, seconds=1))
            assert (await client.ask(tool("echo", 2)))["id"] == 2
            running.process.send_signal(signal.SIGTERM)
            assert (await stream.event())["id"] == 1
            assert await stream.event() is None
            code, _, _ = await running.end()
            assert code == 0

    run(scenario)
