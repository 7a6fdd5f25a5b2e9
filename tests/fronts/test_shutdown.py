"""How an HTTP endpoint stops: in this process, and as a command that gets a signal."""

import asyncio
import os
import signal

import pytest

from isthmus.limits import Limits

from .backs import children_of, isthmus
from .raw import call, connected, http, legacy, modern_post, open_session, post, request
from .shells import run, shell, until


def test_calls_in_flight_are_answered() -> None:
    """Streams without end are ended, and whoever comes now is sent away."""

    async def scenario() -> None:
        async with shell("protocol") as served:
            async with (
                connected(served.port) as busy,
                connected(served.port) as old,
                connected(served.port) as listener,
                connected(served.port) as idle,
            ):
                old.send(http("GET", Mcp_Session_Id=await open_session(served.port)))
                busy.send(modern_post(call("hang", 1)) + modern_post(call("echo", 2)))
                listener.send(modern_post(request("subscriptions/listen", 3)))
                await old.head()
                await listener.head()
                await until(lambda: len(served.relay.began) == 2)
                served.stop()
                assert await old.event() is None
                assert [(await listener.event()).get("id") for _ in range(2)] == [None, 3]
                assert await idle.ended() == b""
                with pytest.raises(ConnectionError):
                    await asyncio.open_connection("127.0.0.1", served.port)
                served.relay.release.set()
                response = await busy.response()
                assert (response.json["id"], response.headers["connection"]) == (1, "close")
                assert await busy.ended() == b""
            async with asyncio.timeout(2):
                await served.serving

    run(scenario)


def test_what_is_not_answered_in_time_is_refused() -> None:
    async def scenario() -> None:
        async with shell("protocol", Limits(drain=0.5)) as served, connected(served.port) as peer:
            peer.send(modern_post(call("hang")))
            await until(lambda: served.relay.began)
            served.stop()
            response = await peer.response()
            assert (response.status, response.headers["connection"]) == (503, "close")
            await until(lambda: served.relay.cancelled == ["hang"])
            async with asyncio.timeout(2):
                await served.serving

    run(scenario)


def test_a_second_signal_does_not_wait() -> None:
    async def scenario() -> None:
        async with shell("protocol") as served, connected(served.port) as peer:
            peer.send(modern_post(call("hang")))
            await until(lambda: served.relay.began)
            served.stop()
            await asyncio.sleep(0)
            served.stop()
            async with asyncio.timeout(1):
                await served.serving
            assert (await peer.response()).status == 503

    run(scenario)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_stop(number: int) -> None:
    """Row F23: a call of 3 s is answered, then nothing is left."""

    async def scenario() -> None:
        async with isthmus("--http", "0") as proxy:
            pid = proxy.process.pid
            session = await open_session(proxy.port)
            async with connected(proxy.port) as modern, connected(proxy.port) as old, connected(proxy.port) as stream:
                message = legacy("tools/call", 2, name="sleep", arguments={"seconds": 3})
                old.send(post(message, Mcp_Session_Id=session, Accept="application/json"))
                stream.send(http("GET", Mcp_Session_Id=session))
                modern.send(modern_post(call("sleep", 1, seconds=3)))
                await stream.head()
                await asyncio.sleep(1)  # so that both are under way: the back says nothing before its answer
                left = children_of(pid)
                assert len(left) >= 2
                os.kill(pid, number)
                assert await stream.event() is None
                for peer, id in ((modern, 1), (old, 2)):
                    response = await peer.response()
                    assert (response.status, response.json["id"]) == (200, id)
            assert await proxy.end() == (0, "", "")
            await until(lambda: not any(os.path.exists(f"/proc/{each}") for each in left))

    run(scenario)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_command_stops_at_once(number: int) -> None:
    async def scenario() -> None:
        async with isthmus("--http", "0") as proxy:
            await open_session(proxy.port)
            os.kill(proxy.process.pid, number)
            assert await proxy.end(2) == (0, "", "")

    run(scenario)


def test_a_listener_of_a_real_back() -> None:
    """Its stream ends with a result, and the process with it."""

    async def scenario() -> None:
        async with isthmus("--http", "0") as proxy, connected(proxy.port) as peer:
            peer.send(modern_post(request("subscriptions/listen", "mine")))
            await peer.head()
            key = "io.modelcontextprotocol/subscriptionId"
            assert (await peer.event())["params"]["_meta"] == {key: "mine"}
            os.kill(proxy.process.pid, signal.SIGTERM)
            ended = await peer.event()
            assert (ended["id"], ended["result"]["_meta"]) == ("mine", {key: "mine"})
            assert await peer.event() is None
            assert await proxy.end(3) == (0, "", "")

    run(scenario)


def test_headers_that_mirror_arguments() -> None:
    """Row 55, with a tool whose schema is known."""

    async def scenario() -> None:
        async with isthmus("--http", "0") as proxy, connected(proxy.port) as peer:
            assert (await peer.ask(modern_post(request("tools/list")))).status == 200
            message = call("echo", 5, place="Köln")
            right = "=?base64?S8O2bG4=?="
            assert (await peer.ask(modern_post(message, Mcp_Param_Place=right))).status == 200
            for wrong in (None, "Bonn", "K\xf6ln", "=?base64?S8O2bG4?="):
                response = await peer.ask(modern_post(message, Mcp_Param_Place=wrong))
                assert (response.status, response.json["error"]["code"], response.json["id"]) == (400, -32020, 5)
            unknown = await peer.ask(modern_post(request("what/ever", 6)))
            assert (unknown.status, unknown.json["error"]["code"], unknown.json["id"]) == (404, -32601, 6)

    run(scenario)
