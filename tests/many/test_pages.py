"""Pages both ways: the backs' cursors are followed, and ours are opaque and sealed."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.many.gateway import Many
from isthmus.many.listing import _Place
from isthmus.routing.choice import Choice, Part
from tests.engine.clients import LegacyClient, ModernClient, run
from tests.many.servers import LISTS, OWN_TOOLS, client_of, heard, many, prefixed, said, shown, spec

ERAS = ["legacy", "modern"]
CHANGED = {
    "code": -32602,
    "message": "The list has changed since this cursor was given. List again without one.",
}
DISCOVER = "server/discover"
WHOLE = prefixed(OWN_TOOLS, "a", "b")


async def pages(client: LegacyClient | ModernClient, method: str = "tools/list") -> list[Any]:
    """Every page, by our cursors."""
    got = [await client.request(1, method).result()]
    while "nextCursor" in got[-1]:
        got.append(await client.request(1, method, cursor=got[-1]["nextCursor"]).result())
        assert len(got) < 100
    return got


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("isolation", ["session", "request"])
def test_the_cursors_of_backs_are_followed(client: str, isolation: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec("legacy", "a", log, PAGE=1, isolation=isolation), spec("modern", "b", log, PAGE=2)]
        async with many(*specs) as made:
            one = await client_of(made, client)
            (page,) = await pages(one)
            assert shown(page) == WHOLE
            assert shown(await one.request(1, "resources/list").result(), "resources/list")[:2] == [
                "note://a/here",
                "https://example.com/a",
            ]
            assert len(heard(log, "b", "tools/list")) == 3

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_cursors_that_go_round_in_a_circle_end(era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "a", log, PAGE=3, CURSORS="circle"), spec("modern", "b", log)) as made:
            result = await (await client_of(made, era)).request(1, "tools/list").result()
            assert shown(result) == WHOLE  # nothing twice
            assert len(heard(log, "a", "tools/list")) == 3  # the first, 3, 0

    run(scenario)


@pytest.mark.parametrize("era", ERAS)
def test_a_list_has_so_many_pages_at_most(
    era: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "LIST_PAGES", 4)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "a", log, PAGE=1, CURSORS="endless"), spec("modern", "b", log)) as made:
            result = await (await client_of(made, era)).request(1, "tools/list").result()
            assert shown(result) == [*prefixed(OWN_TOOLS[:4], "a"), *prefixed(OWN_TOOLS, "b")]
            assert len(heard(log, "a", "tools/list")) == 4

    run(scenario)
    assert [record.message for record in caplog.records] == [
        "a answers tools/list on more than 4 pages; the rest is left out."
    ]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("odd", ['{"name": "echo"}', "null", '"echo"'])
def test_what_is_no_list_is_said_to_be_none(era: str, odd: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(era, "a", log, ODD=odd), spec("modern", "b", log)) as made:
            result = await (await client_of(made, era)).request(1, "tools/list").result()
            assert shown(result) == prefixed(OWN_TOOLS, "b")
            why = result["_meta"]["isthmus/unavailable"]["a"]
            assert why == "a answers tools/list with something else than a list. Report it to its makers."

    run(scenario)


def test_a_hundred_pages_are_followed(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, PAGE=1, TOOLS=200), spec("modern", "b", log)) as made:
            result = await ModernClient(made).request(1, "tools/list").result()
            assert len(shown(result)) == limits.LIST_PAGES + len(OWN_TOOLS)

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("method", LISTS)
def test_a_list_that_is_longer_than_a_page_has_several(
    client: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log, TTL=60_000, SCOPE="public")) as made:
            one = await client_of(made, client)
            (whole,) = await pages(one, method)
            monkeypatch.setattr(limits, "PAGE_ITEMS", 1)
            made.catalog.reordered()
            got = await pages(one, method)
            key, _ = LISTS[method]
            assert [item for page in got for item in page[key]] == whole[key]
            assert all(len(page[key]) == 1 for page in got)
            if client == "modern":
                assert {page["cacheScope"] for page in got} == {"private"}

    run(scenario)


def test_a_page_has_so_many_bytes_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES", 400)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            got = await pages(ModernClient(made))
            assert [tool for page in got for tool in shown(page)] == WHOLE
            assert all(len(page["tools"]) == 1 or len(json.dumps(page["tools"])) <= 450 for page in got)
            assert len(got) > 2

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("back", ERAS)
def test_half_a_character_is_as_good_as_any(
    client: str, back: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a server that cuts texts off inside an emoji: it stands in cursors both ways, and in whatever is told."""
    half = "\ud83d"
    tools = [*OWN_TOOLS, *(f"tool{number}{half}" for number in range(4))]
    monkeypatch.setattr(limits, "PAGE_ITEMS", 1)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec(back, "a", log, HALF=1, PAGE=2, TOOLS=4), spec("modern", "b", log)) as made:
            one = await client_of(made, client)
            opened = one.opened["result"] if isinstance(one, LegacyClient) else await one.request(1, DISCOVER).result()
            assert opened["instructions"] == f"# a\n\nUse a.{half}\n\n# b\n\nUse b."
            assert opened["capabilities"]["experimental"]["half"]["is"] in (half, "")
            got = await pages(one)
            assert [tool for page in got for tool in shown(page)] == prefixed(tools, "a") + prefixed(OWN_TOOLS, "b")
            result = await one.request(2, "tools/call", name=f"a_tool3{half}", arguments={half: 1}).result()
            assert said(result)["given"] == {half: 1}
            call, prompt = one.request(3, "tools/call", name=half), one.request(4, "prompts/get", name=half)
            for asked in (call, prompt, one.request(5, "resources/read", uri=half)):
                assert (await asked.error())["code"] in (-32602, -32002)

    run(scenario)


async def cursor_of(made: Many, client: LegacyClient | ModernClient, method: str = "tools/list") -> str:
    result = await client.request(1, method).result()
    assert isinstance(result["nextCursor"], str)
    return result["nextCursor"]


@pytest.mark.parametrize("client", ERAS)
def test_a_cursor_that_is_none_of_ours_is_refused(client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_ITEMS", 2)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made, many() as other:
            one = await client_of(made, client)
            cursor = await cursor_of(made, one)
            assert not {"a_link", "link", "tools"} & set(cursor.split("/")) and "link" not in cursor
            changed = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
            others = other.pages._close(_Place("tools", "a", "a_link", {}))
            for forged in (changed, cursor[:-4], others, "2", "", "\u2028", 42, {"at": 2}, ["x"]):
                error = await one.request(2, "tools/list", cursor=forged).error()
                assert error["code"] == -32602, (forged, error)
                assert error["message"] == "This cursor is none of this server's. List again without one."
            error = await one.request(2, "prompts/list", cursor=cursor).error()
            assert error["code"] == -32602 and "List again without one" in error["message"]
            assert len(shown(await one.request(3, "tools/list", cursor=cursor).result())) == 2
            assert len(shown(await one.request(4, "tools/list", cursor=None).result())) == 2

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_cursor_outlives_a_reload_that_keeps_its_place(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_ITEMS", 8)

    async def scenario() -> None:
        log = tmp_path / "log"
        a, b, c = [spec("modern", each, log) for each in "abc"]
        async with many(a, b) as made:
            one = await client_of(made, client)
            cursor = await cursor_of(made, one)  # after b_link
            made.reload([a, b, c])
            rest = await one.request(2, "tools/list", cursor=cursor).result()
            assert shown(rest) == [*prefixed(OWN_TOOLS[2:], "b"), *prefixed(OWN_TOOLS[:4], "c")]
            made.reload([b, c, a])
            assert await one.request(3, "tools/list", cursor=cursor).error() == CHANGED  # a's would come twice
            made.reload([b, c])
            assert shown(await one.request(4, "tools/list", cursor=cursor).result()) == shown(rest)
            made.reload([c, a])
            assert await one.request(5, "tools/list", cursor=cursor).error() == CHANGED  # it was in b

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
@pytest.mark.parametrize("order", ["cab", "bac", "bca", "cb", "acb"])
def test_a_cursor_says_so_where_a_reload_moved_servers_across_its_place(
    client: str, order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_ITEMS", 8)

    async def scenario() -> None:
        specs = {each: spec("modern", each, tmp_path / "log") for each in "abc"}
        async with many(*specs.values()) as made:
            one = await client_of(made, client)
            cursor = await cursor_of(made, one)  # after b_link
            made.reload([specs[each] for each in order])
            assert await one.request(2, "tools/list", cursor=cursor).error() == CHANGED

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_cursor_outlives_a_reload_that_moves_servers_before_its_place(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_ITEMS", 14)

    async def scenario() -> None:
        a, b, c, d = [spec("modern", each, tmp_path / "log") for each in "abcd"]
        async with many(a, b, c) as made:
            one = await client_of(made, client)
            cursor = await cursor_of(made, one)  # after c_link
            made.reload([b, a, c, d])
            rest = await one.request(2, "tools/list", cursor=cursor).result()
            assert shown(rest) == [*prefixed(OWN_TOOLS[2:], "c"), *prefixed(OWN_TOOLS, "d")]

    run(scenario)


@pytest.mark.parametrize("client", ERAS)
def test_a_cursor_says_so_where_more_is_shown_before_its_place(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_ITEMS", 8)

    async def scenario() -> None:
        log = tmp_path / "log"
        less = spec("modern", "a", log, choice=Choice(tools=Part(deny=("ask",))))
        b = spec("modern", "b", log)
        async with many(less, b) as made:
            one = await client_of(made, client)
            cursor = await cursor_of(made, one)
            made.reload([spec("modern", "a", log), b])
            assert await one.request(2, "tools/list", cursor=cursor).error() == CHANGED

    run(scenario)
