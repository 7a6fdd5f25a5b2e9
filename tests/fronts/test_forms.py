"""In which form a POST is answered: what the back chose, or else what the client prefers."""

from typing import Any

import pytest

from isthmus.transports.http_front.request import Streams, accepted
from isthmus.types import Port

from .echo import EchoSession
from .raw import BOTH, ask, legacy, open_session, post
from .shells import SHELLS, run, shell

STREAM_FIRST = "text/event-stream, application/json"
JSON, STREAM = "application/json", "text/event-stream"


@pytest.mark.parametrize(
    ("accept", "json", "streams"),
    [
        ("application/json", True, Streams.REFUSED),
        ("text/event-stream", False, Streams.PREFERRED),
        ("", False, Streams.REFUSED),
        ("*/*", True, Streams.ACCEPTED),
        (BOTH, True, Streams.ACCEPTED),
        (STREAM_FIRST, True, Streams.PREFERRED),
        ("text/event-stream;charset=utf-8 , Application/JSON", True, Streams.PREFERRED),
        ("text/*, */*", True, Streams.PREFERRED),
        ("text/event-stream;q=0.9, application/json", True, Streams.ACCEPTED),
        ("application/json; Q=0.5, text/event-stream;q=0.8", True, Streams.PREFERRED),
        ("application/json, text/event-stream;q=0", True, Streams.REFUSED),
        ("application/json;q=0.000, text/event-stream", False, Streams.PREFERRED),
        ("text/event-stream;q=0, */*", True, Streams.REFUSED),
        ("*/*, application/json;q=0", False, Streams.PREFERRED),
        ("*/*, application/json", True, Streams.ACCEPTED),
        ("*/*, text/event-stream", True, Streams.ACCEPTED),
        ("*/*;q=0.5, text/event-stream, application/json", True, Streams.PREFERRED),
        ("application/*;q=0.9, */*;q=0.1, application/json;q=0.5, text/*;q=0.7", True, Streams.PREFERRED),
        ("application/json;q=most, text/event-stream;q=", True, Streams.ACCEPTED),
    ],
)
def test_what_a_client_would_rather_have(accept: str, json: bool, streams: Streams) -> None:
    """RFC 9110 §12.5.1, and of equal weights the first."""
    assert accepted(accept) == (json, streams)


class Choosing(EchoSession):
    """Answers as a back that chose a stream, that chose JSON, or whose transport knows no such choice."""

    async def _do(self, name: str, params: Any, port: Port) -> None:
        if name != "json":
            port.stream(is_chosen=name == "stream")
        if name == "open and noisy":
            await super()._do("noisy", params, port)


@pytest.mark.parametrize("kind", SHELLS)
@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
@pytest.mark.parametrize(
    ("back", "by_json_first", "by_stream_first"),
    [("json", JSON, JSON), ("stream", STREAM, STREAM), ("open", JSON, STREAM), ("open and noisy", STREAM, STREAM)],
)
def test_a_legacy_answer(kind: str, version: str, back: str, by_json_first: str, by_stream_first: str) -> None:
    async def scenario() -> None:
        async with shell(kind) as served:
            id = await open_session(served.port, version)
            served.relay.sessions[-1].__class__ = Choosing
            for number, (accept, form) in enumerate({BOTH: by_json_first, STREAM_FIRST: by_stream_first}.items()):
                call = legacy("tools/call", number, name=back)
                response = await ask(served.port, post(call, Mcp_Session_Id=id, Accept=accept))
                assert response.headers["content-type"] == form
                answer = response.json if form == JSON else response.events[-1]
                assert answer["id"] == number
            plain = await ask(served.port, post(legacy("tools/call", 9, name=back), Mcp_Session_Id=id, Accept=JSON))
            assert plain.json["id"] == 9

    run(scenario)
