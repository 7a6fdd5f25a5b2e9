"""A back that is dead, mute, slow or crashing harms only itself, and comes back by itself."""

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.engine.member import Spec
from isthmus.errors import BackUnavailable
from isthmus.many.gateway import Many
from isthmus.routing.face import Face
from isthmus.transports.launch import Launch
from tests.engine.clients import Exchange, LegacyClient, ModernClient, run, until
from tests.many.servers import (
    MISSING,
    OWN_TOOLS,
    SCRIPT,
    absent,
    client_of,
    heard,
    many,
    methods,
    prefixed,
    said,
    shown,
    spec,
)

ERAS = ["legacy", "modern"]
CHANGED = "notifications/tools/list_changed"
ONE = prefixed(OWN_TOOLS, "a")
BOTH = prefixed(OWN_TOOLS, "a", "b")
LEVEL = {"io.modelcontextprotocol/logLevel": "info"}


def bad(kind: str, log: Path, **said: Any) -> Spec:
    """A server `b` that takes no part."""
    if kind == "absent":
        return absent("b", **said)
    if kind == "crashing":
        log.with_name("dies").touch()
        return spec("modern", "b", log, DIES=log.with_name("dies"), **said)
    return spec("mute", "b", log, **said)


async def timed(exchange: Exchange) -> Any:
    """Its answer, at once."""
    answer = await exchange.answer()
    assert exchange.took < 0.2, exchange.took
    return answer


async def settled(made: Many, client: LegacyClient | ModernClient) -> None:
    """The first list, after which what is not there is known to be out."""
    await client.request("first", "tools/list").result()
    await until(lambda: made.members[1].why_out)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("kind", ["absent", "crashing", "mute"])
def test_lists_come_without_it_in_its_deadline_and_afterwards_at_once(kind: str, client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, TTL=60_000), bad(kind, log, deadline=0.4)) as made:
            began = made.now()
            one = await client_of(made, client)
            first = await one.request(1, "tools/list").result()
            took = made.now() - began
            assert took < 0.9 and (kind != "mute" or took > 0.35)
            assert shown(first) == ONE
            assert list(first["_meta"][MISSING]) == ["b"] and first["_meta"][MISSING]["b"].startswith("b ")
            for number in range(3):
                again = (await timed(one.request(number, "tools/list")))["result"]
                assert shown(again) == ONE and "b is not there" in again["_meta"][MISSING]["b"]
                assert client == "legacy" or (again["ttlMs"], again["cacheScope"]) == (0, "private")
            (member,) = [each for each in made.members if each.name == "b"]
            assert f"b: {member.why_out}" in repr(made)

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("kind", ["absent", "crashing", "mute"])
def test_calls_to_it_fail_at_once_and_say_which(kind: str, client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), bad(kind, log, deadline=0.2)) as made:
            one = await client_of(made, client)
            await settled(made, one)
            asked = [
                one.call(1, "b_echo"),
                one.request(2, "resources/read", uri="note://b/here"),
                one.request(3, "prompts/get", name="b_hello"),
            ]
            for error in [(await timed(each))["error"] for each in asked]:
                assert error["code"] == -32603
                assert error["message"].startswith("b is not there: ") and error["message"].endswith("by itself.")
            if kind == "absent":
                assert "/no/such/command" in error["message"]

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_the_others_serve_as_if_it_were_not_there(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), bad("mute", log, deadline=5)) as made:
            one = await client_of(made, "modern")
            await one.call(0, "a_echo").result()
            listing = one.request(1, "tools/list")
            hanging = one.call(2, "b_echo")
            await until(lambda: heard(log, "b", "started"))
            other = await client_of(made, "modern")
            for number in range(3, 6):
                assert said((await timed(other.call(number, "a_echo")))["result"])["from"] == "a"
            assert not listing.box.answers and not hanging.box.answers
            await listing.cancel()
            await hanging.cancel()

    run(scenario)


def test_a_session_opens_without_it_in_its_deadline(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), bad("mute", log, deadline=0.3)) as made:
            began = made.now()
            first = await LegacyClient.open(made)
            assert 0.25 < made.now() - began < 0.8
            began = made.now()
            await LegacyClient.open(made)
            assert made.now() - began < 0.25
            # one that never said what it can do may have anything
            assert {"tools", "prompts", "resources"} <= set(first.opened["result"]["capabilities"])
            assert first.opened["result"]["instructions"] == "# a\n\nUse a."

    run(scenario)


def test_a_modern_client_is_told_who_is_missing_where_it_asked_for_messages(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), absent("b")) as made:
            one = ModernClient(made)
            for number, (level, is_told) in enumerate({"debug": 1, "warning": 1, "error": 0, "emergency": 0}.items()):
                meta = {"io.modelcontextprotocol/logLevel": level}
                exchange = one.request(number, "tools/list", meta=meta)
                await exchange.result()
                told = [each for each in exchange.box.messages if each.get("method") == "notifications/message"]
                assert len(told) == is_told
                for each in told:
                    assert each["params"]["level"] == "warning" and each["params"]["logger"] == "isthmus"
                    assert "/no/such/command" in each["params"]["data"]
            silent = one.request(9, "tools/list")
            await silent.result()
            assert methods(silent.box.messages) == []
            found = await one.request(10, "server/discover").result()
            assert "/no/such/command" in found["_meta"][MISSING]["b"]

    run(scenario)


def test_a_legacy_client_is_told_who_is_missing_where_it_asked_for_messages(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), absent("b")) as made:
            one = await LegacyClient.open(made)
            for number, level in enumerate([None, "error", "warning", "debug"]):
                if level is not None:
                    assert await one.request("level", "logging/setLevel", level=level).result() == {}
                exchange = one.request(number, "tools/list")
                await exchange.result()
                told = [each["params"]["data"] for each in exchange.box.messages if "method" in each]
                assert len(told) == (level in ("warning", "debug"))
                assert all("/no/such/command" in each for each in told)

    run(scenario)


def test_where_nobody_is_there_a_list_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with many(absent("a"), absent("b")) as made:
            for client in (ModernClient(made), await LegacyClient.open(made)):
                error = await client.request(1, "tools/list").error()
                assert "a " in error["message"] and "b " in error["message"]

    run(scenario)


@pytest.mark.parametrize("back", ERAS)
@pytest.mark.parametrize("client", ERAS)
def test_a_slow_one_takes_part_when_it_is_there_and_is_started_once(client: str, back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec("modern", "a", log), spec(back, "b", log, SLOW=0.4, deadline=0.2, ttl=60)]
        async with many(*specs) as made:
            one = await client_of(made, client)
            assert shown(await one.request(1, "tools/list").result()) == ONE
            assert "did not answer within 0.2 s" in (await one.call(2, "b_echo").error())["message"]
            await until(lambda: made.members[1].why_out is None)
            assert shown(await one.request(3, "tools/list").result()) == BOTH
            assert said(await one.call(4, "b_echo").result())["from"] == "b"
            assert len(heard(log, "b", "started")) == 1 + (client != back)  # the other time to find out its era

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_a_call_waits_for_a_slow_start_longer_than_lists_do(client: str, back: str, tmp_path: Path) -> None:
    """Nothing else was wanted of it yet."""

    async def scenario() -> None:
        log = tmp_path / "log"
        first = spec("modern", "a", log)
        async with many(first) as made:
            one = await client_of(made, client)
            made.reload([first, spec(back, "b", log, SLOW=0.5, deadline=0.1)])
            assert said(await one.call(1, "b_echo").result())["from"] == "b"

    run(scenario)


@pytest.mark.parametrize("kind", ["absent", "crashing"])
def test_it_comes_back_by_itself_and_everybody_who_listens_hears_so(kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log, command = tmp_path / "log", tmp_path / "command"
        wrapper = Spec(name="b", target=Launch("b", (str(command),)), face=Face("b"))
        async with many(spec("modern", "a", log), wrapper if kind == "absent" else bad(kind, log)) as made:
            legacy, modern = await LegacyClient.open(made), ModernClient(made)
            listening = modern.request("l", "subscriptions/listen", notifications={"toolsListChanged": True})
            await listening.box.first("notifications/subscriptions/acknowledged")
            assert shown(await legacy.request(1, "tools/list").result()) == ONE
            assert shown(await modern.request(1, "tools/list").result()) == ONE
            heard_before = (
                methods(legacy.strays.messages).count(CHANGED),
                methods(listening.box.messages).count(CHANGED),
            )
            if kind == "absent":
                command.write_text(f"#!/bin/sh\nexec {sys.executable} -I -S {SCRIPT} legacy b {log}\n")
                command.chmod(command.stat().st_mode | stat.S_IXUSR)
            else:
                log.with_name("dies").unlink()
            await legacy.strays.until(lambda box: methods(box.messages).count(CHANGED) > heard_before[0])
            await listening.box.until(lambda box: methods(box.messages).count(CHANGED) > heard_before[1])
            for client in (legacy, modern):
                result = await client.request(2, "tools/list").result()
                assert shown(result) == BOTH and MISSING not in result.get("_meta", {})
                assert said(await client.call(3, "b_echo").result())["from"] == "b"
            await listening.cancel()

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_single_death_is_mended_by_the_next_call(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("legacy", "b", log)) as made:
            one = await client_of(made, client)
            await one.call(0, "b_die").error()
            assert made.members[1].why_out is None
            assert said(await one.call(1, "b_echo").result())["from"] == "b"

    run(scenario)


def test_a_crash_loop_puts_it_out_and_it_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESTART_MOST", 0.05)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("legacy", "b", log)) as made:
            one = ModernClient(made)
            outs: list[str] = []
            made.listeners.add(lambda: outs.append(made.members[1].why_out or "there"))
            for number in range(limits.BREAKER_DEATHS):
                assert not outs
                await one.call(number, "b_die").error()
            assert len(outs) == 1 and outs[0] != "there"
            assert "b is not there: " in (await timed(one.call("x", "b_echo")))["error"]["message"]
            assert said(await one.call("y", "a_echo").result())["from"] == "a"
            await until(lambda: made.members[1].why_out is None)
            assert outs[-1] == "there"
            assert said(await one.call("z", "b_echo").result())["from"] == "b"
            made.listeners.clear()

    run(scenario)


def test_start_waits_for_a_server_that_is_required_and_fails_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log, required=True, SLOW=0.2), absent("b")) as made:
            await made.start()
            assert made.members[0].is_met and not made.members[1].is_met
        async with many(spec("legacy", "a", log), absent("b", required=True)) as made:
            with pytest.raises(BackUnavailable, match="/no/such/command"):
                await made.start()
        async with many(spec("mute", "a", log, required=True, limits=limits.Limits(call=0.3))) as made:
            with pytest.raises(BackUnavailable, match=r"^a did not"):
                await made.start()

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_back_that_answers_no_request_of_ours_holds_nobody_up(client: str, tmp_path: Path) -> None:
    """It opens its session, and then is mute."""

    async def scenario() -> None:
        log = tmp_path / "log"
        methods_ = "logging/setLevel tools/list"
        async with many(spec("legacy", "b", log, deadline=0.3, MUTE=methods_), spec("modern", "a", log)) as made:
            one = await client_of(made, client)
            if isinstance(one, LegacyClient):
                await one.call(0, "b_echo").result()
                level = one.request(1, "logging/setLevel", level="warning")
                assert await level.result() == {}
                assert level.took < 0.6
            listed = one.request(2, "tools/list")
            assert shown(await listed.result()) == ONE
            assert listed.took < 0.6

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_a_list_in_a_line_that_is_too_long_is_left_out_at_once_and_says_so(
    client: str, back: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        large = spec(back, "b", log, TOOLS=100, limits=limits.Limits(line=5000))
        async with many(spec("modern", "a", log), large) as made:
            one = await client_of(made, client)
            result = await one.request(1, "tools/list").result(within=4)
            assert shown(result) == ONE
            assert "b answered with more than 5000 bytes; raise the limit for lines" in result["_meta"][MISSING]["b"]
            assert said(await one.call(2, "b_echo").result())["from"] == "b"

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_call_that_nobody_answers_puts_a_server_out_that_no_list_has_met(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        short = bad("mute", log, limits=limits.Limits(call=0.4), deadline=0.4)
        async with many(spec("modern", "a", log, TTL=60_000), short) as made:
            one = await client_of(made, client)
            assert "b " in (await one.call(1, "b_echo").answer())["error"]["message"]
            assert made.members[1].why_out is not None
            told = await timed(one.call(2, "b_echo"))
            assert told["error"]["message"].startswith("b is not there: "), told
            assert said(await one.call(3, "a_echo").result())["from"] == "a"

    run(scenario)
