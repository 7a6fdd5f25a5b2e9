"""`subscriptions/listen` at many backs: granted once, under the client's names, from whoever has something to say."""

from pathlib import Path
from typing import Any

import pytest

from isthmus import limits
from isthmus.routing.choice import Choice, Part
from tests.engine.clients import Box, Exchange, LegacyClient, ModernClient, run, until
from tests.many.servers import OWN_TOOLS, Known, absent, heard, many, methods, prefixed, shown, spec

ERAS = ["legacy", "modern"]
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
TOOLS = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
ID = "io.modelcontextprotocol/subscriptionId"


def listen(client: ModernClient, id: Any = "l", **notifications: Any) -> Exchange:
    return client.request(id, "subscriptions/listen", notifications=notifications)


async def granted(exchange: Exchange) -> Any:
    """What was granted: the first that the client hears."""
    said = await exchange.box.first(ACKNOWLEDGED)
    assert exchange.box.messages[0] == said
    return said["params"]["notifications"]


def count(box: Box, method: str) -> int:
    return methods(box.messages).count(method)


@pytest.mark.parametrize("back", ERAS)
def test_a_change_at_any_back_is_heard_under_the_clients_id(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log, ttl=60), spec(back, "b", log, ttl=60)) as made:
            client = ModernClient(made)
            listening = listen(client, "mine", toolsListChanged=True)
            assert await granted(listening) == {"toolsListChanged": True}
            before = count(listening.box, TOOLS)
            assert shown(await client.request(1, "tools/list").result()) == prefixed(OWN_TOOLS, "a", "b")
            await client.call(2, "b_grow").result()
            await listening.box.until(lambda box: count(box, TOOLS) == before + 1)
            assert all(each["params"]["_meta"][ID] == "mine" for each in listening.box.messages)
            assert "b_grown" in shown(await client.request(3, "tools/list").result())
            await listening.cancel()

    run(scenario)


@pytest.mark.parametrize("back", ERAS)
def test_resources_are_watched_where_they_are(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec(back, "b", log)) as made:
            uris = ["note://b/here", "https://example.com/b", "note://nobody/here", "https://example.com/nobody"]
            listening = listen(ModernClient(made), resourceSubscriptions=uris)
            assert await granted(listening) == {"resourceSubscriptions": uris[:2]}
            await listening.box.until(lambda box: count(box, UPDATED) >= 2)
            said = [each["params"]["uri"] for each in listening.box.messages if each["method"] == UPDATED]
            assert sorted(said) == sorted(uris[:2])
            assert heard(log, "a", "subscriptions/listen") == []
            await listening.cancel()

    run(scenario)


@pytest.mark.parametrize("back", ERAS)
def test_updates_are_spelled_as_the_client_spelled_what_it_asked_for(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with many(spec("modern", "a", tmp_path / "log"), spec(back, "Bb", tmp_path / "log")) as made:
            listening = listen(ModernClient(made), resourceSubscriptions=["note://bB/x"])
            assert await granted(listening) == {"resourceSubscriptions": ["note://bB/x"]}
            assert (await listening.box.first(UPDATED))["params"]["uri"] == "note://bB/x"
            await listening.cancel()

    run(scenario)


@pytest.mark.parametrize("back", ERAS)
def test_resources_that_are_denied_are_not_watched(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        choice = Choice(resources=Part(deny=("note://by/7", "urn:b:7")))
        nothing = Choice(resources=Part(allow=()))
        async with many(spec("modern", "a", log, choice=nothing), spec(back, "b", log, choice=choice)) as made:
            uris = ["note://b/by/8", "note://b/by/7", "note://by/7", "urn:b:7"]
            listening = listen(ModernClient(made), resourceSubscriptions=uris)
            assert await granted(listening) == {"resourceSubscriptions": uris[:1]}
            await listening.cancel()

    run(scenario)


def test_listeners_hear_of_their_own_resources_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("legacy", "b", log), is_local=False) as made:
            each = {
                name: listen(Known(made, name), resourceSubscriptions=[f"note://{back}/{name}"])
                for name, back in (("alice", "a"), ("bob", "b"), ("carol", "a"))
            }
            for name, listening in each.items():
                await listening.box.first(UPDATED)
                uris = [said["params"]["uri"] for said in listening.box.messages if said["method"] == UPDATED]
                assert [uri.rpartition("/")[2] for uri in uris] == [name]
                await listening.cancel()

    run(scenario)


def test_a_back_that_is_not_there_does_not_hold_up_what_is_granted(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        specs = [spec("modern", "a", log), spec("mute", "b", log, deadline=0.3), absent("c")]
        async with many(*specs) as made:
            for wait in (0.8, 0.2):
                listening = listen(ModernClient(made), toolsListChanged=True)
                began = made.now()
                assert await granted(listening) == {"toolsListChanged": True}
                assert made.now() - began < wait
                await listening.cancel()

    run(scenario)


def test_a_client_that_leaves_before_anything_was_granted_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("mute", "b", log)) as made:
            listening = listen(ModernClient(made), toolsListChanged=True)
            await until(lambda: heard(log, "a", "subscriptions/listen"))
            await listening.cancel()
            await until(lambda: len(made.tasks) == 0)
            assert not made.listeners and listening.box.answers == []

    run(scenario)


def test_a_stream_that_ended_is_opened_again_and_what_was_missed_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_GET", 0.1)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            client = ModernClient(made)
            await client.call(0, "b_echo").result()
            listening = listen(client, toolsListChanged=True, resourceSubscriptions=["note://b/here"])
            await granted(listening)
            await listening.box.first(UPDATED)
            before = count(listening.box, TOOLS)
            await client.call(1, "b_die").error()
            await until(lambda: len(heard(log, "b", "subscriptions/listen")) == 2)
            await listening.box.until(lambda box: count(box, TOOLS) == before + 1 and count(box, UPDATED) == 3)
            await client.call(2, "b_grow").result()
            await listening.box.until(lambda box: count(box, TOOLS) == before + 2)
            assert count(listening.box, ACKNOWLEDGED) == 1
            await listening.cancel()

    run(scenario)


def test_a_back_that_refuses_to_be_listened_to_announces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_GET", 0.02)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log, UNKNOWN="subscriptions/listen")) as made:
            client = ModernClient(made)
            await client.request(0, "server/discover").result()
            listening = listen(client, toolsListChanged=True)
            await granted(listening)
            await until(lambda: len(heard(log, "b", "subscriptions/listen")) >= 4)
            assert methods(listening.box.messages) == [ACKNOWLEDGED]
            await listening.cancel()

    run(scenario)


@pytest.mark.parametrize("back", ERAS)
def test_a_reload_is_heard_and_what_replaces_a_back_is_listened_to(back: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        a, b = spec("modern", "a", log), spec(back, "b", log)
        async with many(a, b) as made:
            client = ModernClient(made)
            uris = ["note://b/here", "https://example.com/b"]
            listening = listen(client, toolsListChanged=True, resourceSubscriptions=uris)
            await granted(listening)
            await listening.box.until(lambda box: count(box, UPDATED) >= 2)
            asked = "resources/subscribe" if back == "legacy" else "subscriptions/listen"
            times = len(heard(log, "b", asked))
            made.reload([a, spec(back, "b", log, TOOLS=1)])
            await listening.box.first(TOOLS)
            await until(lambda: len(heard(log, "b", asked)) > times)
            await listening.box.until(lambda box: count(box, UPDATED) >= 4)
            changes = count(listening.box, TOOLS)
            await client.call(2, "b_grow").result()
            await listening.box.until(lambda box: count(box, TOOLS) > changes)
            made.reload([a])
            await listening.box.until(lambda box: count(box, TOOLS) > changes + 1)
            await listening.cancel()

    run(scenario)


def test_after_a_day_the_stream_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTEN", 0.2)

    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("modern", "a", log), spec("modern", "b", log)) as made:
            listening = listen(ModernClient(made), "day", toolsListChanged=True)
            await granted(listening)
            answer = await listening.answer()
            assert answer["id"] == "day" and answer["result"]["resultType"] == "complete"
            assert not made.listeners

    run(scenario)


def test_a_legacy_client_of_many_hears_of_changes_at_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        async with many(spec("legacy", "a", log), spec("modern", "b", log)) as made:
            client = await LegacyClient.open(made)
            for number, name in enumerate(("a", "b")):
                await client.call(number, f"{name}_echo").result()  # the session at this back is there
                if name == "b":
                    await until(lambda: heard(log, "b", "subscriptions/listen"))
                before = count(client.strays, TOOLS)
                await client.call(2, f"{name}_grow").result()
                await until(lambda: count(client.strays, TOOLS) > before)  # noqa: B023 - called before the next one
            subscribed = client.request(3, "resources/subscribe", uri="note://b/here")
            await subscribed.result()
            said = await client.strays.first(UPDATED)
            assert said["params"]["uri"] == "note://b/here"

    run(scenario)
