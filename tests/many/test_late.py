"""A back that does not answer for a while, or loses an answer, takes part again as soon as it answers."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isthmus.engine.member import Spec
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.routing.face import Face
from isthmus.transports.target import HttpTarget
from tests.engine.clients import LegacyClient, ModernClient, run, until
from tests.engine.http_back import Exchange, HttpBack, answer, http_back
from tests.many.servers import OWN_TOOLS, client_of, heard, many, prefixed, said, shown, spec

ERAS = ["legacy", "modern"]
ONE = prefixed(OWN_TOOLS, "a")


class Mute:
    """Swallows what a back is asked, while it `is_mute`."""

    def __init__(self, is_mute: bool = True) -> None:
        self.is_mute = is_mute
        self.swallowed: list[str] = []

    async def __call__(self, back: HttpBack, exchange: Exchange) -> None:
        if self.is_mute:
            self.swallowed.append(exchange.message.get("method", exchange.verb))
        else:
            await answer(back, exchange)


def remote(back: HttpBack, **limits: Any) -> Spec:
    back.tools = [{"name": "echo", "inputSchema": {"type": "object"}}]
    settings = Settings(limits=Limits(**limits))
    return Spec(name="b", target=HttpTarget("b", back.url), face=Face("b"), settings=settings, deadline=0.6, ttl=60)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("is_met", [False, True])
def test_one_that_was_mute_takes_part_as_soon_as_it_answers(
    client: str, era: str, is_met: bool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        mute = Mute(is_mute=not is_met)
        async with http_back(era, mute) as back, many(spec("modern", "a", tmp_path / "log"), remote(back)) as made:
            one = await client_of(made, client)
            if is_met:
                await one.call(0, "b_echo").result()
                mute.is_mute = True
            listed = one.request(1, "tools/list")
            assert shown(await listed.result()) == ONE
            assert listed.took < 1.5
            again = one.request(2, "tools/list")
            assert shown(await again.result()) == ONE
            assert again.took < 0.5
            await until(lambda: len(mute.swallowed) > 1)  # it is tried while the first request still waits
            mute.is_mute = False
            began = made.now()
            await until(lambda: made.members[1].why_out is None)
            assert made.now() - began < 5
            last = one.request(3, "tools/list")
            assert shown(await last.result()) == [*ONE, "b_echo"]
            assert last.took < 0.5
            assert (await one.call(4, "b_echo", x=1).result())["echo"] == {"x": 1}

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_a_list_whose_answer_was_lost_is_asked_for_again(client: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec(era, "b", log, LOST=2, deadline=0.3, ttl=60)) as made:
            one = await client_of(made, client)
            await one.call(0, "b_echo").result()
            assert shown(await one.request(1, "tools/list").result()) == ONE
            await until(lambda: made.members[1].why_out is None)
            last = one.request(2, "tools/list")
            assert shown(await last.result()) == prefixed(OWN_TOOLS, "a", "b")
            assert said(await one.call(3, "b_echo").result())["from"] == "b"

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("patience", [0.4, 0.8])
def test_a_call_that_is_not_answered_has_the_server_asked_whether_it_is_there(
    client: str, era: str, patience: float, tmp_path: Path
) -> None:
    async def scenario() -> None:
        mute = Mute(is_mute=False)
        async with (
            http_back(era, mute) as back,
            many(spec("modern", "a", tmp_path / "log"), remote(back, call=patience)) as made,
        ):
            one = await client_of(made, client)
            assert shown(await one.request(0, "tools/list").result()) == [*ONE, "b_echo"]
            await one.call(1, "b_hang").error()
            await until(lambda: back.messages("initialize" if era == "legacy" else "server/discover"))
            assert made.members[1].why_out is None  # it is only that tool
            mute.is_mute = True
            assert "did not answer" in (await one.call(2, "b_echo").error())["message"]
            await until(lambda: made.members[1].why_out)
            failed = one.call(3, "b_echo")
            assert (await failed.error())["message"].startswith("b is not there: ")
            assert ("did not answer within 0.6 s" in str(made.members[1].why_out)) is (patience > 0.6)
            assert failed.took < 0.5
            mute.is_mute = False
            await until(lambda: made.members[1].why_out is None)
            assert (await one.call(4, "b_echo", x=1).result())["echo"] == {"x": 1}

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_a_list_that_came_late_is_there_for_who_is_told_of_it(client: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async def slow(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message.get("method") == "tools/list":
                await asyncio.sleep(0.9)
            await answer(back, exchange)

        async with http_back(era, slow) as back:
            lists = replace(remote(back), ttl=None)
            async with many(spec("modern", "a", tmp_path / "log"), lists) as made:
                one = await client_of(made, client)
                turned = asyncio.Event()
                assert shown(await one.request(1, "tools/list").result()) == ONE
                made.listeners.add(turned.set)
                await turned.wait()
                assert made.members[1].why_out is None and len(back.messages("tools/list")) == 1
                again = one.request(2, "tools/list")
                assert shown(await again.result()) == [*ONE, "b_echo"]
                assert again.took < 0.5 and len(back.messages("tools/list")) == 1
                made.listeners.clear()

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_one_that_hangs_in_one_list_alone_can_be_called(client: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        stuck = spec(era, "b", log, MUTE="prompts/list", deadline=0.2)
        async with many(spec("modern", "a", log), stuck) as made:
            one = await client_of(made, client)
            await one.call(0, "b_echo").result()
            assert len((await one.request(1, "prompts/list").result())["prompts"]) == 1
            assert made.members[1].why_out is not None
            await until(lambda: made.members[1].why_out is None)
            assert len(heard(log, "b", "prompts/list")) == 3
            assert said(await one.call(2, "b_echo").result())["from"] == "b"

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_what_is_kept_of_a_server_is_no_sign_of_life(era: str, tmp_path: Path) -> None:
    """What it is, which it said to be good for an hour, or the session that all share."""

    async def scenario() -> None:
        mute = Mute(is_mute=False)

        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message.get("method") == "server/discover" and era == "modern" and not mute.is_mute:
                said = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
                exchange.result(ttlMs=3_600_000, cacheScope="public", **said)
            else:
                await mute(back, exchange)

        async with http_back(era, handle) as back:
            settings = Settings(isolation="shared", limits=Limits(call=0.6))
            shared = replace(remote(back), settings=settings, deadline=0.2, ttl=None)
            async with many(spec("modern", "a", tmp_path / "log"), shared) as made:
                one = await client_of(made, "legacy")
                await one.call(0, "b_echo").result()
                mute.is_mute = True
                await one.call(1, "b_echo").error()
                await until(lambda: made.members[1].why_out)
                tried = len(mute.swallowed)
                await until(lambda: len(mute.swallowed) > tried + 3)
                assert made.members[1].why_out is not None
                mute.is_mute = False
                await until(lambda: made.members[1].why_out is None)
                await one.call(2, "b_echo").result()

    run(scenario)


def test_a_call_that_waits_for_the_opening_has_it_go_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        pause = asyncio.Event()
        pause.set()

        async def slow(back: HttpBack, exchange: Exchange) -> None:
            if exchange.message.get("method") == "initialize":
                await pause.wait()
            await answer(back, exchange)

        async with http_back("legacy", slow) as back:
            late = replace(remote(back), deadline=0.2)
            async with many(spec("modern", "a", tmp_path / "log"), late) as made:
                await (await client_of(made, "legacy")).call(0, "b_echo").result()
                pause.clear()
                one = await client_of(made, "legacy")
                calling = one.call(1, "b_echo", x=1)
                assert shown(await one.request(2, "tools/list").result()) == ONE
                opened = len(back.messages("initialize"))
                await until(lambda: len(back.messages("initialize")) > opened + 1)  # the list was given up
                pause.set()
                assert (await calling.result())["echo"] == {"x": 1}

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_a_slow_start_after_a_death_is_waited_for(client: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        slow = spec(era, "b", log, SLOW=1.2, deadline=0.2, ttl=60)
        async with many(spec("modern", "a", log), slow) as made:
            one = await client_of(made, client)
            await until(lambda: made.members[1].why_out is None)
            await one.call(0, "b_echo").result()
            await one.call(1, "b_die").error()
            started = len(heard(log, "b", "started"))
            assert shown(await one.request(2, "tools/list").result()) == ONE
            await until(lambda: made.members[1].why_out is None)
            assert shown(await one.request(3, "tools/list").result()) == prefixed(OWN_TOOLS, "a", "b")
            assert len(heard(log, "b", "started")) == started + 1

    run(scenario)


def test_one_beside_another_that_leaves_is_tried_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with http_back("legacy", Mute()) as back:
            main = remote(back)
            beside = replace(main, name="c", face=Face("c"), beside="b", deadline=0.2)
            stays = [spec("modern", "a", tmp_path / "log"), main]
            turns: list[str | None] = []
            async with many(*stays, beside) as made:
                client = await client_of(made, "modern")
                await client.request(1, "tools/list").result()
                left = made.members[2]
                assert left.why_out is not None
                made.reload(stays)
                made.listeners.add(lambda: turns.append(left.why_out))
                await until(lambda: left._reviving is not None and left._reviving.done())
                left.answered()
                assert not turns
                made.listeners.clear()

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("era", ERAS)
def test_one_that_tells_each_client_what_it_is_holds_only_the_first_one_up(
    client: str, era: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        mute = Mute(is_mute=False)
        async with http_back(era, mute) as back:
            private = replace(remote(back), settings=Settings(forward_headers=("authorization",)))
            async with many(spec("modern", "a", tmp_path / "log"), private) as made:

                async def meet() -> None:
                    one = await client_of(made, client)
                    if isinstance(one, ModernClient):
                        await one.request(1, "server/discover").result()

                await meet()
                mute.is_mute = True
                await meet()
                began = made.now()
                await meet()
                assert made.now() - began < 0.5

    run(scenario)


def test_a_slow_start_for_a_second_client_is_waited_for(tmp_path: Path) -> None:
    """Each has a process of its own: that the server is known says nothing of how long another takes."""

    async def scenario() -> None:
        log = tmp_path / "log"
        slow = spec("legacy", "b", log, SLOW=0.9, deadline=0.2, ttl=60)
        async with many(spec("modern", "a", log), slow) as made:
            for number in (1, 2):
                one = await LegacyClient.open(made)
                await one.request(0, "tools/list").result()
                await until(lambda: made.members[1].why_out is None)
                assert shown(await one.request(1, "tools/list").result()) == prefixed(OWN_TOOLS, "a", "b")
                assert len(heard(log, "b", "started")) == number

    run(scenario)


def test_one_that_takes_no_log_level_is_not_out_for_that(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(
            spec("modern", "a", log), spec("legacy", "b", log, MUTE="logging/setLevel", deadline=0.2)
        ) as made:
            one = await LegacyClient.open(made)
            await one.call(0, "b_echo").result()
            assert await one.request(1, "logging/setLevel", level="info").result() == {}
            assert made.members[1].why_out is None
            assert said(await one.call(2, "b_echo").result())["from"] == "b"

    run(scenario)
