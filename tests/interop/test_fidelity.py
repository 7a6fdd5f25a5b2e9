"""What servers say reaches a client as it was said: the answers with and without isthmus, field by field.

Different may be the id, and the server's name: a proxy gives its own, in `initialize` and in each modern result.
Where memory is on either side, the SDK builds messages anew, and only their values are compared.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .peers import MADE, SERVERS, Era, Server, Transport, Way
from .raw import Raw, connected, member, parse, values
from .runs import Place, no_process_left

Json = dict[str, Any]
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")
OWN: list[tuple[str, Json]] = [
    ("tools/call", {"name": "add", "arguments": {"a": 2, "b": 3}}),
    ("tools/call", {"name": "picture", "arguments": {}}),
    ("tools/call", {"name": "fail", "arguments": {}}),
    ("tools/call", {"name": "no such tool", "arguments": {}}),
    ("resources/read", {"uri": "test://note"}),
    ("resources/read", {"uri": "test://none"}),
    ("prompts/get", {"name": "greet", "arguments": {"name": "Bea"}}),
    (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "name", "value": "A"}},
    ),
    ("no/such/method", {}),
]
REQUESTS: dict[str, list[tuple[str, Json]]] = {
    "everything": [
        ("tools/call", {"name": "show_media", "arguments": {}}),
        ("tools/call", {"name": "add", "arguments": {"a": 2, "b": 0.1}}),
        ("tools/call", {"name": "test_error_handling", "arguments": {}}),
        ("tools/call", {"name": "no such tool", "arguments": {}}),
        ("resources/read", {"uri": "test://static-binary"}),
        ("prompts/get", {"name": "test_prompt_with_image", "arguments": {}}),
    ],
    "sdk1": OWN,
    "fastmcp2": OWN,
    "fastmcp4": OWN,
    "typescript2": OWN,
    "npm-everything": [
        ("tools/call", {"name": "get-structured-content", "arguments": {"location": "New York"}}),
        ("tools/call", {"name": "get-tiny-image", "arguments": {}}),
        ("resources/read", {"uri": "demo://resource/static/document/features.md"}),
        ("prompts/get", {"name": "args-prompt", "arguments": {"city": "Paris"}}),
    ],
    "mcp-server-time": [
        ("tools/call", {"name": "get_current_time", "arguments": {"timezone": "Nowhere"}}),
        ("no/such/method", {}),
    ],
    "mcp-server-git": [("tools/call", {"name": "git_status", "arguments": {"repo_path": "{repository}"}})],
}
EASILY_LOST = (
    "title",
    "icons",
    "annotations",
    "outputSchema",
    "instructions",
    "websiteUrl",
    "structuredContent",
)
EVERY_PAIR = ("everything", "npm-everything", "fastmcp4")


def pairs(server: Server, era: Era) -> Iterator[Way]:
    """Over which transports: all that there are for some servers, stdio and HTTP for the others."""
    has: dict[Transport, bool] = {"stdio": True, "http": server.http is not None}
    fronts = list(has)
    if server.name in EVERY_PAIR:
        has |= {"sse": era == "legacy" and server.sse is not None, "memory": server.in_memory}
        fronts = [front for front in has if front != "sse" or era == "legacy"]
    yield from ((front, back) for back in has if has[back] for front in fronts)


CASES = [
    pytest.param(server, era, front, back, id=f"{server.name}-{era}-{front}-{back}")
    for server in SERVERS
    for era in server.eras
    for front, back in pairs(server, era)
]
ASKED = ("elicitation/create", "sampling/createMessage", "roots/list")


@pytest.fixture(scope="module")
def said_directly() -> dict[tuple[str, Era, Transport], list[tuple[str, Any]]]:
    """What the servers answered without a proxy."""
    return {}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    for needed in MADE:
        assert needed.exists(), f"{needed} is missing: run tests/environments/make.py"
    repository = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    with no_process_left(), ExitStack() as stack:
        yield {server.name: Place(server, repository, stack) for server in SERVERS}


def all_answers(raw: Raw, requests: list[tuple[str, Json]]) -> list[tuple[str, Any]]:
    said = [("open", raw.open())]
    for method in LISTS:
        cursor: str | None = ""
        while cursor is not None:
            answer = raw.ask(method, {"cursor": cursor} if cursor else {})
            said.append((method, answer))
            result = dict(answer).get("result", ())
            cursor = dict(result).get("nextCursor")
    return said + [(f"{method} {params}", raw.ask(method, params)) for method, params in requests]


def without_names(answer: Any) -> Any:
    """An answer less the `serverInfo` of `initialize`, and that of a modern result's `_meta`."""
    if not isinstance(answer, tuple) or not all(isinstance(pair, tuple) for pair in answer):
        return answer
    kept = [(name, without_names(value)) for name, value in answer if name not in ("serverInfo", SERVER_INFO)]
    return tuple(pair for pair in kept if pair != ("_meta", ()))


@pytest.mark.parametrize(("server", "era", "front", "back"), CASES)
def test_same_answers(
    places: dict[str, Place],
    said_directly: dict[tuple[str, Era, Transport], list[tuple[str, Any]]],
    server: Server,
    era: Era,
    front: Transport,
    back: Transport,
) -> None:
    place = places[server.name]
    requests = [(method, place.at_home(params)) for method, params in REQUESTS[server.name]]
    direct = said_directly.get((server.name, era, back))
    if direct is None:
        with connected(place.direct(back), era) as raw:
            direct = said_directly[server.name, era, back] = all_answers(raw, requests)
    with connected(place.proxied(front, back), era) as raw:
        proxied = all_answers(raw, requests)
    kept = values if "memory" in (front, back) else lambda answer: answer
    for (request, answer), (_, through) in zip(direct, proxied, strict=True):
        assert kept(without_names(through)) == kept(without_names(answer)), request
    opened = member(proxied[0][1], "result")
    info = member(
        opened if era == "legacy" else member(opened, "_meta"), "serverInfo" if era == "legacy" else SERVER_INFO
    )
    assert member(info, "name") == "isthmus"


@pytest.mark.parametrize("back", ["stdio", "http"])
@pytest.mark.parametrize("front", ["stdio", "http"])
def test_question_as_result(places: dict[str, Place], front: Transport, back: Transport) -> None:
    """A modern server's `input_required` and its state go to the client and back untouched."""
    place = places["typescript2"]
    call = {"name": "ask", "arguments": {}}
    answers = {"name": {"action": "accept", "content": {"name": "Ada"}}}
    again = call | {"inputResponses": answers, "requestState": "asked-once"}
    said = []
    for target in (place.direct(back), place.proxied(front, back)):
        with connected(target, "modern") as raw:
            said.append([raw.open(), raw.ask("tools/call", call), raw.ask("tools/call", again)])
    direct, proxied = said
    assert without_names(tuple(("", each) for each in proxied)) == without_names(tuple(("", each) for each in direct))
    asked = member(proxied[1], "result")
    assert member(asked, "resultType") == "input_required"
    assert member(asked, "requestState") == "asked-once"
    assert member(member(asked, "inputRequests"), "name")
    assert re.search("accept: Ada", str(proxied[2]))


def test_parse_keeps_all() -> None:
    assert parse('{"a": 1.0, "a": 1, "b": {}}') != parse('{"a": 1, "a": 1, "b": {}}')
    assert parse('{"a": 1.0, "a": 1}') == (("a", "1.0"), ("a", "1"))


def members(value: Any) -> Iterator[str]:
    """The names of all members, however deep; a tuple is an object."""
    for each in value if isinstance(value, tuple | list) else ():
        if isinstance(value, tuple):
            yield each[0]
        yield from members(each[1] if isinstance(value, tuple) else each)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_something_to_lose(places: dict[str, Place], era: Era) -> None:
    """What a proxy that rebuilds messages drops is there to be dropped."""
    with connected(places["everything"].direct("stdio"), era) as raw:
        said = all_answers(raw, REQUESTS["everything"])
    found = {name for _, answer in said for name in members(answer)}
    assert set(EASILY_LOST) <= found, sorted(found)
