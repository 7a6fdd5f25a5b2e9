"""What a legacy client watches, across reloads: at which server, and under which URI it hears of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from isthmus import limits
from isthmus.many.session import ManySession
from isthmus.many.watched import Place, Watched
from isthmus.wire.codec import parse_own
from isthmus.wire.envelope import notification_message, result_message
from tests.engine.clients import LegacyClient, run, until
from tests.many.servers import absent, heard, many, methods, spec

if TYPE_CHECKING:
    from isthmus.engine.member import Member

UPDATED = "notifications/resources/updated"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETIRE_LOOK", 0.01)


def updated(client: LegacyClient) -> list[str]:
    """The URIs that a client heard are updated."""
    return [each["params"]["uri"] for each in client.strays.messages if each.get("method") == UPDATED]


@pytest.mark.parametrize("back", ["legacy", "modern"])
def test_what_a_legacy_client_watches_is_watched_at_what_takes_the_place_of_its_server(
    back: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        log, method = tmp_path / "log", "resources/subscribe" if back == "legacy" else "subscriptions/listen"
        async with many(spec(back, "a", log), spec("legacy", "b", log)) as made:
            one = await LegacyClient.open(made)
            for number, uri in enumerate(("note://A/kept", "note://a/left", "note://b/x")):
                assert await one.request(number, "resources/subscribe", uri=uri).result() == {}
                await until(lambda: uri in updated(one))  # noqa: B023 - called before the next one
            await one.request(3, "resources/unsubscribe", uri="note://a/left").result()
            before, there = len(heard(log, "a", method)), len(heard(log, "b"))
            one.strays.messages.clear()
            made.reload([spec(back, "a", log, TOOLS=1), made.members[1].spec])
            await until(lambda: len(heard(log, "a", method)) > before and updated(one))
            assert set(updated(one)) == {"note://A/kept"}
            again = json.dumps(heard(log, "a", method)[before:])
            assert again.count("note://kept") == 1 and "left" not in again
            assert len(heard(log, "b")) == there
            await one.request(4, "resources/unsubscribe", uri="note://a/kept").result()  # spelled otherwise
            before = len(heard(log, "a", method))
            made.reload([spec(back, "a", log, TOOLS=2)])
            await one.call(5, "a_echo").result()
            assert "note://" not in json.dumps(heard(log, "a", method)[before:])

    run(scenario)


def test_what_is_watched_waits_for_a_server_that_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        a, b = spec("legacy", "a", log), spec("legacy", "b", log)
        async with many(a, b) as made:
            one = await LegacyClient.open(made)
            assert await one.request(1, "resources/subscribe", uri="note://a/x").result() == {}
            for specs, times in (([absent("a"), b], 1), ([b], 1), ([spec("legacy", "a", log), b], 2)):
                made.reload(specs)
                await until(lambda: one.session._watching is None or one.session._watching.done())  # type: ignore[attr-defined]
                assert len(heard(log, "a", "resources/subscribe")) == times

    run(scenario)


def test_what_is_given_up_meanwhile_is_watched_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        a, b = spec("legacy", "a", log), spec("legacy", "b", log)
        async with many(a, b) as made:
            one = await LegacyClient.open(made)
            for number, uri in enumerate(("note://a/x", "note://a/y")):
                assert await one.request(number, "resources/subscribe", uri=uri).result() == {}
            made.reload([b])
            await one.request(3, "resources/unsubscribe", uri="note://a/x").error()
            made.reload([spec("legacy", "a", log), b])
            await until(lambda: len(heard(log, "a", "resources/subscribe")) == 3)
            assert heard(log, "a", "resources/subscribe")[2]["params"]["uri"] == "note://y"

    run(scenario)


def test_a_server_that_ends_its_last_calls_says_no_more_what_is_updated(tmp_path: Path) -> None:
    async def scenario() -> None:
        log, gate = tmp_path / "log", tmp_path / "gate"
        b = spec("legacy", "b", log)
        async with many(spec("legacy", "a", log, GATE=gate), b) as made:
            one = await LegacyClient.open(made)
            session = one.session
            assert isinstance(session, ManySession)
            await one.request(1, "resources/subscribe", uri="note://A/x").result()
            old = session._legs[made.members[0]]
            waiting = one.call(2, "a_wait")
            await until(lambda: len(heard(log, "a", "tools/call")) == 1)
            made.reload([spec("legacy", "a", log), b])
            await until(lambda: len(heard(log, "a", "resources/subscribe")) == 2)
            await one.request(3, "resources/unsubscribe", uri="note://A/x").result()
            one.strays.messages.clear()
            for leg in (old, session._legs[made.members[0]]):
                session.said(leg, notification_message(UPDATED, {"uri": "note://x"}), one.strays)
                session.said(leg, notification_message("notifications/message", {}), one.strays)
            assert methods(one.strays.messages) == ["notifications/message", UPDATED, "notifications/message"]
            gate.touch()
            await waiting.result()

    run(scenario)


@pytest.mark.parametrize(
    ("first", "last"),
    [("resources/subscribe", "resources/unsubscribe"), ("resources/unsubscribe", "resources/subscribe")],
)
def test_of_two_requests_on_their_way_the_one_that_is_answered_last_counts(first: str, last: str) -> None:
    watched, place = Watched(), Place(cast("Member", object()), "note://x")
    agreed, update = result_message(b"1", {}), notification_message(UPDATED, {"uri": "note://x"})
    with watched.asking(last, place, "note://A/x") as answer_last:
        with watched.asking(first, place, "note://A/x") as answer_first:
            answer_first(agreed)
        answer_last(agreed)
    named = watched.named(place.member, parse_own(update))
    assert named == (notification_message(UPDATED, {"uri": "note://A/x"}) if last == "resources/subscribe" else None)
