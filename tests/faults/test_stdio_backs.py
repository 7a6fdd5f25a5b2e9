"""Faults of backs that are processes: rows F1, F2, F3, F9, F13, F14 and F16 of the hardening tables."""

import asyncio
from pathlib import Path

import pytest

from isthmus.engine.gateway import Gateway
from isthmus.transports.process import Process
from tests.engine.clients import LegacyClient, ModernClient, gateway, heard, processes, run, script, stdio, until


async def others_are_served(proxy: Gateway, era: str) -> None:
    """After every row: a second client is served."""
    if era == "modern":
        exchange = ModernClient(proxy).call(1, "echo", who="second")
    else:
        exchange = (await LegacyClient.open(proxy)).call(1, "echo", who="second")
    assert (await exchange.result(2))["echo"] == {"who": "second"}


def test_f1_legacy_back_dies_in_the_middle_of_two_calls(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio("legacy", log)) as proxy:
            client = await LegacyClient.open(proxy)
            await client.request(1, "logging/setLevel", level="debug").result()
            await client.request(2, "resources/subscribe", uri="a://b").result()
            await client.request(3, "resources/subscribe", uri="c://d").result()
            await client.request(4, "resources/unsubscribe", uri="a://b").result()
            waiting = client.call(5, "hang")
            dying = client.call(6, "die")
            for exchange in (waiting, dying):
                error = await exchange.error(1)
                assert "exit status 3" in error["message"] and "out of luck" in error["message"]
            again = client.call(7, "echo", n=1)
            assert (await again.result(2))["echo"] == {"n": 1}
            first, second = processes(log)
            said = [(message["method"], message.get("params")) for message in heard(log, second)]
            assert [method for method, _ in said] == [
                "initialize",
                "notifications/initialized",
                "logging/setLevel",
                "resources/subscribe",
                "tools/call",
            ]
            assert said[0][1] == heard(log, first)[0]["params"]
            assert said[2][1] == {"level": "debug"}
            assert said[3][1] == {"uri": "c://d"}
            await others_are_served(proxy, "legacy")

    run(scenario)


def test_f1_modern_back_dies_in_the_middle_of_two_calls(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio("modern", tmp_path / "log")) as proxy:
            client, other = ModernClient(proxy), ModernClient(proxy)
            await client.call(0, "echo").result()
            waiting = other.call(1, "hang")
            listening = other.request(2, "subscriptions/listen", notifications={"toolsListChanged": True})
            await listening.box.first("notifications/subscriptions/acknowledged")
            dying = client.call(1, "die")
            for exchange in (waiting, dying, listening):
                assert "exit status 3" in (await exchange.error(1))["message"]
            assert (await client.call(2, "echo", n=1).result(2))["echo"] == {"n": 1}
            await others_are_served(proxy, "modern")

    run(scenario)


def test_f1_what_dies_in_all_sessions_at_once_is_one_crash(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio("legacy", tmp_path / "log")) as proxy:
            clients = await asyncio.gather(*(LegacyClient.open(proxy) for _ in range(8)))
            dying = [client.call(1, "die") for client in clients]
            await asyncio.gather(*(each.error(2) for each in dying))
            again = [client.call(2, "echo") for client in clients]
            await asyncio.gather(*(each.result(2) for each in again))

    run(scenario)


def test_a_restart_that_hangs_leaves_no_half_opened_session(tmp_path: Path) -> None:
    """A process that does not take again what the first had been told is not used; the next one is."""
    text = """
import json, os, sys
count = len(open(sys.argv[1], "a+").write("") or "") or open(sys.argv[1]).read().count("x")
open(sys.argv[1], "a").write("x")
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "logging/setLevel" and count == 1:
        continue
    if m.get("method") == "tools/call" and m["params"]["name"] == "die":
        os._exit(1)
    if "id" in m:
        r = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "b", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": {**r, "process": count}}), flush=True)
"""

    async def scenario() -> None:
        async with gateway(script(text, str(tmp_path / "starts")), call=0.5) as proxy:
            client = await LegacyClient.open(proxy)
            await client.request(1, "logging/setLevel", level="debug").result()
            await client.call(2, "die").error(1)
            assert "within" in (await client.call(3, "echo").error(1.5))["message"]
            assert (await client.call(4, "echo").result(2))["process"] == 2

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_f2_hang_ends_at_the_deadline_and_the_back_hears_of_it(era: str, tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio(era, log), call=0.4) as proxy:
            client = ModernClient(proxy) if era == "modern" else await LegacyClient.open(proxy)
            await client.call(1, "echo").result()
            hanging = client.call("mine", "hang")
            assert "0 s" in (await hanging.error())["message"]
            assert 0.35 < hanging.took < 0.9
            await client.call(3, "echo").result()
            sent = next(m for m in heard(log) if m.get("params", {}).get("name") == "hang")
            (cancelled,) = [m for m in heard(log) if m["method"] == "notifications/cancelled"]
            assert cancelled["params"]["requestId"] == sent["id"]
            await others_are_served(proxy, era)

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_f2_back_that_never_answers_its_opening(era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes at the deadline, not when the process has been ended."""
    for name in ("STOP_EOF", "STOP_TERM"):
        monkeypatch.setattr(f"isthmus.transports.process.{name}", 0.6)
    text = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"

    async def scenario() -> None:
        async with gateway(script(text), call=0.4) as proxy:
            began = asyncio.get_running_loop().time()
            if era == "modern":
                exchange = ModernClient(proxy).call(1, "echo")
                await exchange.error(1)
            else:
                with pytest.raises(Exception, match="did not answer initialize in time"):
                    await LegacyClient.open(proxy)
            assert asyncio.get_running_loop().time() - began < 0.9

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_f3_progress_extends_the_idle_deadline_but_not_the_absolute_one(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio(era, tmp_path / "log"), call=0.4, call_most=1.0) as proxy:
            client = ModernClient(proxy) if era == "modern" else await LegacyClient.open(proxy)
            await client.call(1, "echo").result()
            ticking = client.call(2, "tick", meta={"progressToken": "t"}, each=0.1, times=100)
            await ticking.error()
            assert 0.9 < ticking.took < 1.4
            assert {each["params"]["progressToken"] for each in ticking.box.messages if "method" in each} == {"t"}
            await others_are_served(proxy, era)

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_f9_wrong_id_is_dropped_and_the_caller_errs_at_the_deadline(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio(era, tmp_path / "log"), call=0.4) as proxy:
            client = ModernClient(proxy) if era == "modern" else await LegacyClient.open(proxy)
            await client.call(1, "echo").result()
            wrong = client.call(2, "wrong")
            await wrong.error()
            assert 0.35 < wrong.took < 0.9
            assert all("stolen" not in str(message) for message in wrong.box.messages)
            await others_are_served(proxy, era)

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_f12_an_answer_in_a_line_that_is_too_long_fails_its_call_at_once(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio(era, tmp_path / "log"), line=5000) as proxy:
            client = ModernClient(proxy) if era == "modern" else await LegacyClient.open(proxy)
            hanging = client.call(1, "hang")
            large = client.call(2, "echo", text="x" * 5000)
            error = await large.error()
            assert error["code"] == -32603 and "back answered with more than 5000 bytes" in error["message"]
            assert not hanging.box.answers
            await hanging.cancel()
            await others_are_served(proxy, era)

    run(scenario)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("tool", ["noise", "stderr"])
def test_f8_f13_f14_noise_and_a_flood_of_stderr(tool: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with gateway(stdio(era, tmp_path / "log"), call=5) as proxy:
            client = ModernClient(proxy) if era == "modern" else await LegacyClient.open(proxy)
            result = await client.call(1, tool).result()
            assert result.get("loud") or result.get("wrote")
            await others_are_served(proxy, era)

    run(scenario)


def test_f16_modern_client_leaves_and_the_back_is_cancelled(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def scenario() -> None:
        async with gateway(stdio("modern", log)) as proxy:
            client = ModernClient(proxy)
            await client.call(0, "echo").result()
            hanging = client.call(1, "hang")
            await until(lambda: any(m["params"].get("name") == "hang" for m in heard(log)))
            began = asyncio.get_running_loop().time()
            await hanging.cancel()
            await until(lambda: heard(log)[-1]["method"] == "notifications/cancelled")
            assert asyncio.get_running_loop().time() - began < 0.1
            assert heard(log)[-1]["params"]["requestId"] == heard(log)[-2]["id"]
            assert hanging.box.messages == []
            await others_are_served(proxy, "modern")

    run(scenario)


def test_a_cancelled_client_of_a_dying_back_stays_cancelled(tmp_path: Path) -> None:
    """A write of the cancellation that fails must not turn the cancellation into something else."""

    async def scenario() -> None:
        async with gateway(stdio("modern", tmp_path / "log")) as proxy:
            client = ModernClient(proxy)
            await client.call(0, "echo").result()
            hanging = client.call(1, "hang")
            await asyncio.sleep(0)
            pipe = proxy.back.channels()._pipes[0]
            assert isinstance(pipe._channel, Process)
            pipe._channel._alive = False  # what the first sign of an end does
            await hanging.cancel()
            assert hanging.task.cancelled() and hanging.box.messages == []

    run(scenario)
