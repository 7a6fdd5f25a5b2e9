"""What comes late, or at the same moment, in the leased sessions of a legacy back: it belongs to no other call."""

from typing import Any

import pytest

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.pool.policy import Isolation
from tests.engine.clients import META, Exchange, LegacyClient, ModernClient
from tests.property.crossing_backs import (
    FakeBack,
    LegacyBack,
    ModernBack,
    Wire,
    advance,
    answered,
    play,
    settle,
)

ASKABLE: dict[str, Any] = {META + "clientCapabilities": {"elicitation": {}}}
LEVEL = META + "logLevel"


class FullBack(LegacyBack):
    """Has tasks, and a tool that must be one. `held` are the requests of the methods that `holds` names."""

    def __init__(self, *holds: str, has_tasks: bool = False) -> None:
        super().__init__()
        self._holds = holds
        self._has_tasks = has_tasks
        self.held: list[tuple[Wire, Any]] = []
        self.levels: list[str] = []

    def received(self, wire: Wire, message: Any) -> None:
        if message.get("method") in self._holds:
            self.heard.append(message)
            self.held.append((wire, message))
        else:
            super().received(wire, message)

    def asked(self, wire: Wire, message: Any) -> None:
        if message["method"] == "initialize":
            offers: dict[str, Any] = {"tools": {}, "logging": {}} | ({"tasks": {}} if self._has_tasks else {})
            wire.say(id=message["id"], result={"protocolVersion": "2025-11-25", "capabilities": offers})
        elif message["method"] == "logging/setLevel":
            self.levels.append(message["params"]["level"])
            wire.say(id=message["id"], result={})
        else:
            super().asked(wire, message)

    def reply(self, n: int, **outcome: Any) -> None:
        wire, message = self.held[n]
        wire.say(id=message["id"], **outcome)


class ModernOnlyBack(ModernBack):
    """Refuses `initialize` as one does that has never heard of it."""

    def asked(self, wire: Wire, message: Any) -> None:
        if message["method"] == "initialize":
            wire.say(id=message["id"], error={"code": -32022, "message": "Unsupported protocol version"})
        else:
            super().asked(wire, message)


def proxy_of(back: FakeBack, isolation: Isolation = "session", **limits: Any) -> Gateway:
    return Gateway(back.target, Settings(limits=Limits(**limits), isolation=isolation))


def call(client: ModernClient, id: int, tag: str, meta: dict[str, Any], **members: Any) -> Exchange:
    return client.request(id, "tools/call", meta=meta, name="t", arguments={"tag": tag}, **members)


def tell_progress(back: FakeBack, n: int) -> None:
    """The back goes on about its nth call."""
    late = back.calls[n]
    token = late.message["params"]["_meta"]["progressToken"]
    late.wire.say(method="notifications/progress", params={"progressToken": token, "progress": 50})


@pytest.mark.parametrize("capabilities", [{}, ASKABLE])
def test_progress_of_a_call_that_was_given_up_is_not_that_of_the_next(capabilities: dict[str, Any]) -> None:
    async def scenario() -> None:
        back = LegacyBack()
        proxy = proxy_of(back)
        client = ModernClient(proxy)
        left = call(client, 1, "a", capabilities | {"progressToken": "A"})
        await settle()
        await left.cancel()
        await settle()
        stays = call(client, 2, "b", capabilities | {"progressToken": "B"})
        await settle()
        tell_progress(back, 0)
        tell_progress(back, 1)
        await settle()
        assert [each["params"]["progressToken"] for each in stays.box.messages] == ["B"]
        assert back.calls[0].wire is back.calls[1].wire
        back.finish(back.calls[1])
        await settle()
        await proxy.close()

    play(scenario)


@pytest.mark.parametrize("meta", [None, {"progressToken": "B"}])
def test_progress_of_a_call_that_was_given_up_reaches_no_other_legacy_client(meta: dict[str, Any] | None) -> None:
    async def scenario() -> None:
        back = LegacyBack()
        proxy = proxy_of(back, "shared")
        one, other = await LegacyClient.open(proxy), await LegacyClient.open(proxy)
        one.call(1, "t", meta={"progressToken": "A"}, tag="a")
        await settle()
        await one.notify("notifications/cancelled", requestId=1)
        await settle()
        tell_progress(back, 0)
        await settle()
        stays = other.call(2, "t", meta=meta, tag="b")
        await settle()
        tell_progress(back, 0)
        await settle()
        assert not (stays.box.messages or one.strays.messages or other.strays.messages)
        back.finish(back.calls[1])
        await settle()
        await proxy.close()

    play(scenario)


@pytest.mark.parametrize("is_made", [False, True])
def test_a_client_that_leaves_a_call_that_is_a_task_gives_its_session_back(is_made: bool) -> None:
    """Also before the back has said which task it is."""

    async def scenario() -> None:
        back = FullBack("tools/list", "tools/call", "tasks/result", "tasks/cancel", has_tasks=True)
        proxy = proxy_of(back)
        leaving = call(ModernClient(proxy), 1, "a", ASKABLE)
        await settle()
        tool = {"name": "t", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}}
        back.reply(0, result={"tools": [tool]})
        await settle()
        if is_made:
            back.reply(1, result={"task": {"taskId": "T", "status": "working"}})
            await settle()
        await leaving.cancel()
        await settle()
        assert [each["method"] for each in back.heard].count("tasks/cancel") == int(is_made)
        assert " 0 held" in repr(proxy._pool)
        await proxy.close()

    play(scenario)


def test_a_list_that_failed_does_not_say_which_tools_are_tasks() -> None:
    async def scenario() -> None:
        back = FullBack("tools/list", has_tasks=True)
        proxy = proxy_of(back)
        client = ModernClient(proxy)
        for n in range(2):
            call(client, n, str(n), ASKABLE)
            await settle()
            back.reply(n, error={"code": -32603, "message": "Not now"})
            await settle()
            back.finish(back.calls[n])
            await settle()
        assert len(back.held) == 2
        await proxy.close()

    play(scenario)


def test_a_parked_call_that_has_just_ended_is_not_ended_for_another() -> None:
    """The session of a call that is dropped is free in a moment; who comes in that moment waits for it."""

    async def scenario() -> None:
        back = LegacyBack()
        proxy = proxy_of(back, parked=100.0, parked_grace=30.0)
        client = ModernClient(proxy)
        parked = call(client, 1, "a", ASKABLE)
        await settle()
        back.ask(back.calls[0], 1)
        await settle()
        await advance(0.02)
        await advance(50)
        held = proxy._visiting.parked(answered(parked.box)["result"]["requestState"]) if proxy._visiting else None
        assert held is not None
        held.drop()
        other = call(client, 2, "b", ASKABLE)
        await settle()
        back.finish(back.calls[1])
        await settle()
        assert answered(other.box)["result"]["tag"] == "b"
        await proxy.close()

    play(scenario)


@pytest.mark.parametrize("named", [None, "", {}, [], True, 0.5])
@pytest.mark.parametrize("back", [LegacyBack, ModernOnlyBack])
def test_what_is_no_id_cancels_nothing(back: type[LegacyBack | ModernOnlyBack], named: object) -> None:
    """Least of all the request with the id 0, which is the first of many clients."""

    async def scenario() -> None:
        made = back()
        proxy = proxy_of(made, "request", warm=0)
        client = await LegacyClient.open(proxy)
        called = client.call(0, "t", tag="a")
        await settle()
        await client.notify("notifications/cancelled", requestId=named)
        await settle()
        assert not called.task.done()
        made.finish(made.calls[0])
        await settle()
        assert answered(called.box)["result"]["tag"] == "a"
        await proxy.close()

    play(scenario)


@pytest.mark.parametrize("wanted", [5, "file:///a", {"a": 1}, True, [{}], [5], [["a"]]])
def test_who_wants_to_hear_of_what_is_no_uri_is_told(wanted: object) -> None:
    async def scenario() -> None:
        proxy = proxy_of(LegacyBack())
        filters = {"resourceSubscriptions": wanted}
        listening = ModernClient(proxy).request(1, "subscriptions/listen", notifications=filters)
        await settle()
        assert answered(listening.box)["error"]["code"] == -32602
        await proxy.close()

    play(scenario)


def test_what_is_logged_beside_a_list_is_the_calls() -> None:
    async def scenario() -> None:
        back = FullBack("tools/list")
        proxy = proxy_of(back)
        client = ModernClient(proxy)
        called = call(client, 1, "a", ASKABLE | {LEVEL: "debug"})
        await settle()
        listed = client.request(2, "tools/list", meta=ASKABLE)
        await settle()
        back.calls[0].wire.say(method="notifications/message", params={"level": "info", "data": "hi"})
        await settle()
        assert [each["params"]["data"] for each in called.box.messages] == ["hi"] and not listed.box.messages
        back.reply(0, result={"tools": []})
        back.finish(back.calls[0])
        await settle()
        await proxy.close()

    play(scenario)


def test_a_retry_names_its_own_log_level() -> None:
    """The session is told it before the answers."""

    async def scenario() -> None:
        back = FullBack()
        proxy = proxy_of(back)
        client = ModernClient(proxy)
        first = call(client, 1, "a", ASKABLE)
        await settle()
        back.ask(back.calls[0], 1)
        await settle()
        await advance(0.02)
        asked = answered(first.box)["result"]
        answers = {key: {"action": "accept"} for key in asked["inputRequests"]}
        state = asked["requestState"]
        call(client, 2, "a", ASKABLE | {LEVEL: "debug"}, requestState=state, inputResponses=answers)
        await settle()
        assert back.levels == ["debug"]
        assert [each.get("method") for each in back.heard][-2:] == ["logging/setLevel", None]
        back.finish(back.calls[0])
        await settle()
        await proxy.close()

    play(scenario)
