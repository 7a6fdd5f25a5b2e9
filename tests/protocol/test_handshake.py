"""The machine of a legacy client's session: no BUG within reach of a peer, one session, nothing passed without one."""

from typing import Final

import pytest

from isthmus.protocol.handshake import MOVES, Do, Event, State, event_of, refusal
from isthmus.wire.codec import parse
from isthmus.wire.envelope import INVALID_REQUEST, METHOD_NOT_FOUND, Envelope

OF_THE_BACK: Final = (Event.OPENED, Event.FAILED)


def test_no_order_of_events_leads_to_a_bug() -> None:
    """The back's two come only while a session is being opened; who ends it then cancels the opening."""
    for state, row in MOVES.items():
        bugs = {event for event, (do, _) in row.items() if do is Do.BUG}
        assert bugs == (set() if state is State.OPENING else set(OF_THE_BACK))


def test_nothing_passes_without_a_session_and_only_an_open_one_is_ended() -> None:
    for state, row in MOVES.items():
        told = {do for do, _ in row.values()}
        assert (Do.PASS in told) == (Do.END in told) == (state is State.OPEN)
    assert [state for state in State if MOVES[state][Event.INITIALIZE][0] is Do.BEGIN] == [State.NEW]


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"initialize"}', Event.INITIALIZE),
        (b'{"jsonrpc":"2.0","method":"initialize"}', Event.NOTIFIED),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', Event.REQUESTED),
        (b'{"jsonrpc":"2.0","id":1,"method":"nobody/knows"}', Event.REQUESTED),
        (b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}', Event.FOREIGN),
        (b'{"jsonrpc":"2.0","method":"notifications/initialized"}', Event.NOTIFIED),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', Event.ANSWERED),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}', Event.ANSWERED),
    ],
)
def test_what_a_message_is(text: bytes, event: Event) -> None:
    message = parse(text)
    assert isinstance(message, Envelope)
    assert event_of(message) is event


def test_why_a_request_is_not_passed_on() -> None:
    message = parse(b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}')
    assert isinstance(message, Envelope)
    code, why = refusal(Do.DENY, message)
    assert code == METHOD_NOT_FOUND and "server/discover" in why
    assert refusal(Do.WRONG, message)[0] == INVALID_REQUEST
