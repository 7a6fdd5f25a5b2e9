"""How long lists are kept and for whom: `ttlMs`, `cacheScope`, the configured `ttl`, and `list_changed`."""

import asyncio
import time
from math import inf
from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.engine.member import Member, Spec
from isthmus.many.catalog import may_make, read_page
from isthmus.routing.face import Face
from isthmus.transports.target import HttpTarget
from tests.engine.clients import LegacyClient, ModernClient, run, until
from tests.engine.http_back import Exchange as HttpExchange
from tests.engine.http_back import HttpBack, answer, http_back
from tests.many.servers import MISSING, OWN_TOOLS, Known, client_of, heard, many, prefixed, shown, spec

LONG: dict[str, Any] = {"TTL": 60_000, "SCOPE": "public"}
MINE: dict[str, Any] = {"TTL": 60_000, "SCOPE": "private"}


def asked(log: Path, name: str) -> int:
    return len(heard(log, name, "tools/list"))


async def tools(client: Any) -> Any:
    return await client.request(1, "tools/list").result()


def test_a_list_is_served_as_long_as_every_back_allows_and_is_as_private_as_the_most_private(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, **LONG), spec("modern", "b", log, TTL=30_000)) as made:
            first = await tools(ModernClient(made))
            assert 29_000 < first["ttlMs"] <= 30_000 and first["cacheScope"] == "private"
            assert first["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "isthmus"
            again = await tools(ModernClient(made))
            assert again["tools"] == first["tools"] and again["ttlMs"] <= first["ttlMs"]
            assert (asked(log, "a"), asked(log, "b")) == (1, 1)

    run(scenario)


def test_what_every_back_calls_public_is_public_and_asked_once_for_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, **LONG), spec("modern", "b", log, **LONG), is_local=False) as made:
            results = [await tools(Known(made, who)) for who in ("alice", "bob", None)]
            assert [each["cacheScope"] for each in results] == ["public"] * 3
            assert (asked(log, "a"), asked(log, "b")) == (1, 1)

    run(scenario)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_private_lists_never_cross_principals(order: tuple[str, str], tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        env = {"a": LONG, "b": MINE}
        async with many(*(spec("modern", each, log, **env[each]) for each in order), is_local=False) as made:
            alice, bob = Known(made, "alice"), Known(made, "bob")
            for client in (alice, bob, alice, bob):
                assert (await tools(client))["cacheScope"] == "private"
            assert (asked(log, "a"), asked(log, "b")) == (1, 2)  # each of them once, and the public one once
            for _ in range(2):
                await tools(Known(made, None))  # of whom nothing is known, so that it may be anybody
            assert (asked(log, "a"), asked(log, "b")) == (1, 4)

    run(scenario)


def test_who_is_not_known_here_is_the_local_user(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, **MINE), spec("modern", "b", log, **MINE)) as made:
            for _ in range(2):
                await tools(Known(made, None))
            assert asked(log, "a") == asked(log, "b") == 1

    run(scenario)


def test_without_any_word_of_the_backs_a_modern_list_is_asked_for_each_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log, **LONG)) as made:
            results = [await tools(ModernClient(made)) for _ in range(2)]
            assert [each["ttlMs"] for each in results] == [0, 0]
            assert (asked(log, "a"), asked(log, "b")) == (2, 1)

    run(scenario)


@pytest.mark.parametrize(("ttl", "times"), [(60.0, 1), (0.0, 2)])
@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_the_configured_ttl_goes_before_the_backs_own_word(ttl: float, times: int, client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec("modern", "a", log, ttl=ttl, TTL=30_000), spec("legacy", "b", log, ttl=ttl)]
        async with many(*specs) as made:
            one = ModernClient(made) if client == "modern" else await LegacyClient.open(made)
            for _ in range(2):
                await tools(one)
            assert (asked(log, "a"), asked(log, "b")) == (times, times)

    run(scenario)


@pytest.mark.parametrize("word", [10**30, 10**400], ids=["large", "huge"])
def test_a_server_s_word_that_no_clock_takes_is_cut(word: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, TTL=word), spec("modern", "b", log, TTL=word)) as made:
            listed = await tools(ModernClient(made))
            assert shown(listed) == prefixed(OWN_TOOLS, "a", "b") and listed["ttlMs"] <= 10**12

    run(scenario)


def test_a_list_is_asked_for_again_when_its_time_is_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, **LONG), spec("modern", "b", log, ttl=10.0)) as made:
            now = made.now()
            made.now = made.catalog._now = lambda: now
            await tools(ModernClient(made))
            now += 9.9
            assert (await tools(ModernClient(made)))["ttlMs"] in (99, 100)  # as the loop's time happens to be rounded
            assert (asked(log, "a"), asked(log, "b")) == (1, 1)
            now += 0.2
            await tools(ModernClient(made))
            assert (asked(log, "a"), asked(log, "b")) == (1, 2)
            now += 60
            await tools(ModernClient(made))
            assert (asked(log, "a"), asked(log, "b")) == (2, 3)

    run(scenario)


@pytest.mark.parametrize("isolation", ["session", "shared"])
def test_a_legacy_back_that_announces_changes_is_asked_again_when_it_does(isolation: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec("legacy", each, log, isolation=isolation) for each in ("a", "b"))) as made:
            one = ModernClient(made)
            for _ in range(2):
                assert shown(await tools(one)) == prefixed(OWN_TOOLS, "a", "b")
            assert (asked(log, "a"), asked(log, "b")) == (1, 1)
            await one.call(2, "a_grow").result()
            assert shown(await tools(one)) == [*prefixed(OWN_TOOLS, "a"), "a_grown", *prefixed(OWN_TOOLS, "b")]
            assert (asked(log, "a"), asked(log, "b")) == (2, 1)

    run(scenario)


class Streams:
    """A legacy back on HTTP whose GET stream is refused with a status, while there is one."""

    def __init__(self, status: int | None) -> None:
        self.status = status

    async def __call__(self, back: HttpBack, exchange: HttpExchange) -> None:
        if exchange.verb == "GET" and self.status is not None:
            exchange.respond(self.status, b"")
        else:
            await answer(back, exchange)


def remote(back: HttpBack) -> Spec:
    return Spec(name="b", target=HttpTarget("b", back.url), face=Face("b"))


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_without_a_stream_no_change_could_be_heard_of_and_nothing_is_kept(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with http_back("legacy", Streams(405)) as back, many(spec("legacy", "a", log), remote(back)) as made:
            one = await client_of(made, client)
            for number in range(1, 4):
                back.tools = [{"name": f"tool{number}", "inputSchema": {"type": "object"}}]
                assert shown(await tools(one)) == [*prefixed(OWN_TOOLS, "a"), f"b_tool{number}"]
            assert (asked(log, "a"), len(back.messages("tools/list"))) == (1, 3)

    run(scenario)


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_what_is_listed_while_the_stream_is_open_is_kept_until_it_ends_or_something_changes(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_GET", 0.01)
    monkeypatch.setattr(limits, "RETRY_MOST", 0.02)

    async def scenario() -> None:
        log, streams = tmp_path / "log", Streams(503)
        async with http_back("legacy", streams) as back, many(spec("legacy", "a", log), remote(back)) as made:
            one = await client_of(made, client)
            there: Any = one.session if isinstance(one, LegacyClient) else made.members[1].gateway

            async def is_asked(name: str) -> bool:
                before = len(back.messages("tools/list"))
                back.tools = [{"name": name, "inputSchema": {"type": "object"}}]
                is_new = shown(await tools(one))[-1] == f"b_{name}"
                assert is_new == (len(back.messages("tools/list")) == before + 1)
                return is_new

            assert await is_asked("x") and await is_asked("y")  # the stream is late
            for _ in range(2):
                streams.status = None
                await until(lambda: there.heard_since < inf)
                assert await is_asked("opened")
                assert not await is_asked("kept")
                back.gets[-1].event({"method": "notifications/tools/list_changed"})
                await until(lambda: not made.catalog._wholes._values)
                assert await is_asked("said") and not await is_asked("kept")
                streams.status = 503
                back.gets[-1].cut()
                await until(lambda: there.heard_since == inf)
                assert await is_asked("cut") and await is_asked("still cut")

    run(scenario)


def test_where_every_request_has_a_session_of_its_own_nobody_would_hear_of_changes(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(*(spec("legacy", each, log, isolation="request") for each in ("a", "b"))) as made:
            for _ in range(2):
                await tools(ModernClient(made))
            assert (asked(log, "a"), asked(log, "b")) == (2, 2)

    run(scenario)


def test_a_kind_that_a_legacy_back_does_not_announce_is_asked_for_each_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            for number in range(1, 3):
                await ModernClient(made).request(1, "prompts/list").result()
                assert len(heard(log, "a", "prompts/list")) == number

    run(scenario)


def test_the_lists_of_legacy_sessions_are_their_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            first, second = [await LegacyClient.open(made) for _ in range(2)]
            await first.call(1, "a_grow").result()
            assert shown(await tools(first))[6] == "a_grown"
            assert "a_grown" not in shown(await tools(second))
            for client in (first, second):
                await tools(client)
            assert asked(log, "a") == asked(log, "b") == 2

    run(scenario)


def test_a_public_list_of_a_modern_back_is_one_for_all_legacy_sessions(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, **LONG), spec("modern", "b", log, **MINE)) as made:
            for _ in range(2):
                client = await LegacyClient.open(made)
                for _ in range(2):
                    result = await tools(client)
                    assert shown(result) == prefixed(OWN_TOOLS, "a", "b")
                    assert set(result) == {"tools"}  # no word of the other era
            assert (asked(log, "a"), asked(log, "b")) == (1, 2)

    run(scenario)


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_concurrent_refreshes_are_one_request_at_the_back(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, SLOW=0.1), spec("legacy", "b", log, SLOW=0.1)) as made:
            one = ModernClient(made) if client == "modern" else await LegacyClient.open(made)
            exchanges = [one.request(number, "tools/list") for number in range(1, 21)]
            results = await asyncio.gather(*(each.result() for each in exchanges))
            assert all(shown(each) == prefixed(OWN_TOOLS, "a", "b") for each in results)
            assert (asked(log, "a"), asked(log, "b")) == (1, 1)

    run(scenario)


def test_concurrent_refreshes_of_two_principals_are_two(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, SLOW=0.1), spec("modern", "b", log), is_local=False) as made:
            clients = [Known(made, who) for who in ("alice", "bob") * 5]
            await asyncio.gather(*(tools(each) for each in clients))
            assert asked(log, "a") == 2

    run(scenario)


def test_who_asked_first_may_leave_and_the_others_still_get_the_list(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, SLOW=0.2), spec("modern", "b", log)) as made:
            first, second = [ModernClient(made).request(number, "tools/list") for number in (1, 2)]
            await asyncio.sleep(0)
            await first.cancel()
            assert shown(await second.result()) == prefixed(OWN_TOOLS, "a", "b")
            assert first.box.answers == [] and asked(log, "a") == 1

    run(scenario)


def test_a_change_that_is_said_during_a_fetch_is_not_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, SLOW=0.2, **LONG), spec("modern", "b", log, **LONG)) as made:
            early = ModernClient(made).request(1, "tools/list")
            await until(lambda: made.catalog._fetching)
            made.catalog.changed(made.members[0], "tools")
            late = ModernClient(made).request(2, "tools/list")  # must not get what was asked for before the change
            for each in (early, late):
                assert shown(await each.result()) == prefixed(OWN_TOOLS, "a", "b")
            await tools(ModernClient(made))
            assert (asked(log, "a"), asked(log, "b")) == (2, 1)

    run(scenario)


def test_what_a_back_refuses_is_missing_this_time_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec("legacy", "a", log, REFUSE=1), spec("modern", "b", log, **LONG)]
        async with many(*specs) as made:
            one = await LegacyClient.open(made)
            first = await tools(one)
            assert shown(first) == prefixed(OWN_TOOLS, "b")
            assert "a refused tools/list: Not now" in first["_meta"][MISSING]["a"]
            assert shown(await tools(one)) == prefixed(OWN_TOOLS, "a", "b")

    run(scenario)


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_what_fails_here_at_one_back_harms_no_other(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read(member: Member, *said: Any, **more: Any) -> Any:
        if member.name == "a":
            raise LookupError("not foreseen")
        return read_page(member, *said, **more)

    for module in ("session", "asker"):
        monkeypatch.setattr(f"isthmus.many.{module}.read_page", read)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            got = await tools(await client_of(made, client))
            assert shown(got) == prefixed(OWN_TOOLS, "b")
            assert "See its log." in got["_meta"][MISSING]["a"]
            monkeypatch.undo()
            assert shown(await tools(await client_of(made, client))) == prefixed(OWN_TOOLS, "a", "b")

    run(scenario)
    assert "LookupError: not foreseen" in caplog.text


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_what_fails_here_is_answered(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise LookupError("not foreseen")

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            monkeypatch.setattr(made.catalog, "whole", fail)
            for asked in (one.request(1, "tools/list"), one.request(2, "resources/read", uri="urn:a:1")):
                refused = await asked.error()
                assert refused["code"] == -32603
                assert "See its log." in refused["message"]

    run(scenario)
    assert caplog.text.count("LookupError: not foreseen") == 2


@pytest.mark.parametrize("back", ["legacy", "modern"])
def test_a_refusal_of_many_lines_is_told_as_a_short_sentence(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec(back, "a", log, REFUSE=1, WHY="no\nlist\x1b[31m " + "x" * 5000), spec("modern", "b", log)]
        async with many(*specs) as made:
            why = (await tools(ModernClient(made)))["_meta"][MISSING]["a"]
            assert why.startswith("a refused tools/list: no list [31m xxx")
            assert why.isprintable() and len(why) < 400

    run(scenario)


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_a_list_that_has_no_end_of_bytes_is_given_up(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LIST_BYTES", 2000)

    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec("legacy", "a", log, TOOLS=100, PAGE=1), spec("legacy", "b", log)]
        async with many(*specs) as made:
            one = ModernClient(made) if client == "modern" else await LegacyClient.open(made)
            listed = await tools(one)
            assert shown(listed) == prefixed(OWN_TOOLS, "b")
            assert "more than 0 MiB. Have it list less." in listed["_meta"][MISSING]["a"]
            assert len(heard(log, "a", "tools/list")) < 30

    run(scenario)


@pytest.mark.parametrize("client", ["legacy", "modern"])
def test_what_a_session_that_died_had_listed_is_forgotten(client: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            one = ModernClient(made) if client == "modern" else await LegacyClient.open(made)
            await one.call(1, "a_grow").result()
            assert "a_grown" in shown(await tools(one))
            await one.call(2, "a_die").error()
            assert shown(await tools(one)) == prefixed(OWN_TOOLS, "a", "b")

    run(scenario)


def test_the_lists_of_a_session_go_with_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("legacy", "b", log)) as made:
            client = await LegacyClient.open(made)
            await tools(client)
            late = client.request(2, "prompts/list")
            while not made.catalog._fetching:  # noqa: ASYNC110 - it is there after a turn or two of the loop
                await asyncio.sleep(0)
            await made.end_session(client.session)
            await late.cancel()
            await until(lambda: not made.catalog._fetching)
            await asyncio.sleep(0)
            assert not made.catalog._shelves._values and not made.catalog._wholes._values

    run(scenario)


@pytest.mark.parametrize(
    ("template", "uri", "may"),
    [
        ("note://by/{name}", "note://by/me", True),
        ("note://by/{name}", "note://by/", True),
        ("note://by/{name}", "note://at/me", False),
        ("note://by/{name}/x", "note://by/x/x/x", True),
        ("ab{x}ba", "aba", False),
        ("{x}ab{y}ab", "ab", False),
        ("{x}ab{y}ab", "abab", True),
        ("note://here", "note://here", False),
        ("n://{a}{b}", "n://1\n2", True),
    ],
)
def test_a_template_makes_what_has_its_literal_parts_in_their_order(template: str, uri: str, may: bool) -> None:
    assert may_make(template, uri) is may


def test_no_template_makes_anybody_wait() -> None:
    began = time.process_time()
    assert not may_make("x://" + "{v}a" * 5 + "b", "x://" + "a" * 140)
    assert time.process_time() - began < 0.5
