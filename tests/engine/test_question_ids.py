"""Questions of several sessions to one client: whose an answer is, and which can be withdrawn (`engine.questions`)."""

import json
from typing import Any

import pytest

from isthmus.engine.questions import Asked, Questions
from tests.engine.clients import envelope


def question(id: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "roots/list"}).encode()


def withdrawal(id: Any) -> bytes:
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "r"}}
    return json.dumps(message).encode()


def reply(id: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": {}}).encode()


class Client:
    """What one client was asked, by sessions that are called by a letter."""

    def __init__(self) -> None:
        self.questions: Questions[str] = Questions()
        self.asked: dict[str, Asked] = {"a": {}, "b": {}}

    def ask(self, who: str, id: Any) -> Any:
        seen = json.loads(self.questions.ask(who, self.asked[who], envelope(question(id))))
        assert seen == {"jsonrpc": "2.0", "id": seen["id"], "method": "roots/list"}
        return seen["id"]

    def withdraw(self, who: str, id: Any) -> Any:
        seen = self.questions.withdraw(self.asked[who], envelope(withdrawal(id)))
        return json.loads(seen)["params"] if seen is not None else None

    def answer(self, id: Any) -> tuple[str | None, Any]:
        answer = envelope(reply(id))
        who = self.questions.answered(answer)
        return who, (json.loads(bytes(answer.members["id"])), answer.key)


@pytest.mark.parametrize("id", [0, 7, "", "q"])
def test_one_id_of_two_sessions_is_two_questions(id: Any) -> None:
    client = Client()
    first, second = client.ask("a", id), client.ask("b", id)
    assert first != second and len(client.questions) == 2
    assert client.answer(second) == ("b", (id, id))
    assert client.answer(first) == ("a", (id, id))
    assert client.answer(first)[0] is None
    assert client.answer(str(second))[0] is None
    assert len(client.questions) == 0 and client.asked == {"a": {}, "b": {}}


def test_a_session_withdraws_what_is_open_and_its_own() -> None:
    client = Client()
    mine, other = client.ask("a", 1), client.ask("b", 1)
    assert client.withdraw("a", 2) is None
    assert client.withdraw("a", "1") is None
    assert client.withdraw("a", 1) == {"requestId": mine, "reason": "r"}
    assert client.withdraw("a", 1) is None
    assert client.answer(mine)[0] is None
    assert client.answer(other)[0] == "b"
    assert client.withdraw("b", 1) is None


def test_a_second_question_under_an_id_is_the_one_that_can_be_withdrawn() -> None:
    client = Client()
    first, second = client.ask("a", 1), client.ask("a", 1)
    assert client.answer(first) == ("a", (1, 1))
    assert client.withdraw("a", 1) == {"requestId": second, "reason": "r"}


def test_what_is_forgotten_is_nobodys() -> None:
    client = Client()
    ids = [client.ask("a", number) for number in range(3)]
    client.questions.forget(client.asked["a"].values())
    assert len(client.questions) == 0
    assert [client.answer(id)[0] for id in ids] == [None] * 3


def wanting(token: Any) -> bytes:
    params = {"message": "?", "_meta": {"a": 1.50, "progressToken": token}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": params}).encode()


def progress(token: Any) -> bytes:
    params = {"progressToken": token, "progress": 1}
    return json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode()


@pytest.mark.parametrize("token", [0, 7, "", "q", 1.5])
def test_one_token_of_two_sessions_is_two(token: Any) -> None:
    client = Client()
    asked = [
        json.loads(client.questions.ask(who, client.asked[who], envelope(wanting(token))))["params"] for who in "ab"
    ]
    first, second = (each["_meta"].pop("progressToken") for each in asked)
    assert first != second and asked == [{"message": "?", "_meta": {"a": 1.5}}] * 2
    for who, mine in (("b", second), ("a", first), ("a", first)):
        said = envelope(progress(mine))
        assert client.questions.progressed(said) == who
        assert json.loads(bytes(said.members["params"])) == {"progressToken": token, "progress": 1}
    assert client.questions.progressed(envelope(progress("x"))) is None
    client.answer(client.asked["a"][1])
    assert client.questions.progressed(envelope(progress(first))) is None


def test_who_is_alone_keeps_its_token_and_what_wants_no_progress_hears_of_none() -> None:
    client = Client()
    text = client.questions.ask("a", client.asked["a"], envelope(wanting("own")), is_alone=True)
    assert json.loads(text)["params"]["_meta"]["progressToken"] == "own"
    assert client.questions.progressed(envelope(progress("own"))) is None  # it goes as it is
    id = client.ask("b", 1)
    assert client.questions.progressed(envelope(progress(id))) is None
