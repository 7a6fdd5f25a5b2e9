"""Ten servers behind one gateway: each thing of each is there, under its name, and says what it says directly."""

import base64
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pytest

from . import peers
from .features import Json, call, differences
from .grid import OF_ONE_ERA, OF_THE_PROXY, comparable_value
from .many import LISTS, MADE, MEMBERS, NEVER_CALLED, Member, World, features_of, listed, page
from .peers import CLIENTS, Client, Transport
from .raw import Raw, connected, member, values
from .runs import AT_A_TIME, Programs, no_process_left
from .tables import TABLES
from .test_fidelity import without_names

WAIT_AT_MOST = 110
TALKS_AT_A_TIME = 2  # each begins with the start of several servers, within the time of one step
NOT_FOUND_LEGACY, INVALID_PARAMS = -32002, -32602
VARIES = re.compile(r"\d{1,2}:\d\d:\d\d [AP]M|touched \d+ times")
REFUSED = {"npm_simulate-research-query"}  # by libraries that would have to make it a task
TOGGLED = {"every_toggled", "every_toggled_prompt"}  # there or not, as other clients have it


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for needed in (*peers.MADE, *MADE):
        assert needed.exists(), f"{needed} is missing: run tests/environments/make.py"
    folder = tmp_path_factory.mktemp("many")
    subprocess.run(["git", "init", "--quiet", str(folder / "repository")], check=True)
    with no_process_left(), ExitStack() as stack:
        world = World(folder, stack.enter_context(page()), stack)
        pool = stack.enter_context(ThreadPoolExecutor(AT_A_TIME))
        world.ask_all(pool)
        yield world


@pytest.fixture(scope="module")
def http(world: World) -> Any:
    return world.http()


@pytest.fixture(scope="module", params=[("http", "legacy"), ("http", "modern"), ("stdio", "legacy")], ids="-".join)
def gateway(request: pytest.FixtureRequest, world: World, http: Any) -> Iterator[tuple[Raw, Any]]:
    """A client without a library, and what it heard first."""
    front, era = request.param
    with connected(http if front == "http" else world.stdio(), era) as raw:
        yield raw, raw.open()


def kept(one: Member, raw: Raw, said: Any) -> Any:
    """Every token of what was said but the time; where it was translated, the values of what both eras have."""
    said = steady(without_names(said))
    return said if raw.era in one.server.eras else of_both_eras(values(said))


def plain(said: Any) -> Any:
    """What the libraries of all clients keep of an answer: a false `isError`, and what is null, may come or go."""
    match steady(of_both_eras(said)):
        case {"result": dict() as result}:
            return {"result": {name: value for name, value in result.items() if (name, value) != ("isError", False)}}
        case {"error": dict() as error}:
            return {"error": {"code": error["code"]}}
    raise ValueError(f"{said} is no answer")


def of_both_eras(said: Any) -> Any:
    """Plain values less what one era has only."""
    error = said.get("error", {})
    if error.get("code") == NOT_FOUND_LEGACY:
        said = said | {"error": error | {"code": INVALID_PARAMS}}
    return comparable_value(said, OF_THE_PROXY | OF_ONE_ERA)


def steady(said: Any) -> Any:
    """The same without the time of day, which one server writes into resources, and what other clients change."""
    match said:
        case ("blob", str() as text):
            return "blob", VARIES.sub("…", base64.b64decode(text).decode("latin-1"))
        case dict():
            return dict(map(steady, said.items()))
        case tuple() | list():
            return type(said)(map(steady, said))
        case str():
            return VARIES.sub("…", said) if VARIES.search(said) else said
    return said


@pytest.mark.parametrize("method", LISTS)
def test_lists_are_joined(world: World, gateway: tuple[Raw, Any], method: str) -> None:
    """One after the other, in the order of the file; each item as it was, but for its name and URIs."""
    raw, _ = gateway
    got = iter(listed(raw, method))
    for one in MEMBERS:
        for item in world.said_by(one, raw.era).items[LISTS[method]]:
            assert kept(one, raw, next(got, None)) == kept(one, raw, one.item(item))
    assert list(got) == []


def answer_to(raw: Raw, method: str, params: Json) -> Any:
    """What is answered to a modern client that has no roots, whenever a legacy server asks for them."""
    answer = raw.ask(method, params)
    result = dict(dict(answer).get("result", ()))
    if result.get("resultType") != "input_required":
        return answer
    asked = {key: dict(request)["method"] for key, request in result["inputRequests"]}
    assert set(asked.values()) == {"roots/list"}
    again = {"inputResponses": {key: {"roots": []} for key in asked}, "requestState": result["requestState"]}
    return answer_to(raw, method, params | again)


@pytest.mark.parametrize("one", MEMBERS, ids=lambda one: one.prefix)
def test_same_answers(world: World, gateway: tuple[Raw, Any], one: Member) -> None:
    raw, _ = gateway
    for method, params, said in world.said_by(one, raw.era).answers:
        through = answer_to(raw, method, one.params(params))
        assert kept(one, raw, through) == kept(one, raw, one.told(said)), f"{method} {params}"


def test_all_say_what_they_are(world: World, gateway: tuple[Raw, Any]) -> None:
    """The gateway can do what any of them can, and says what each says of itself."""
    raw, opened = gateway
    result = member(opened, "result")
    offered = dict(member(result, "capabilities"))
    for one in MEMBERS:
        said = dict(dict(world.said_by(one, raw.era).opened)["result"])
        capabilities = values(said["capabilities"])
        assert set(capabilities) - {"tasks"} <= set(offered) or raw.era not in one.server.eras
        # The first client of the gateway is a legacy one, and some servers can do more for modern ones.
        assert set(capabilities.get("extensions", {})) <= set(values(offered.get("extensions", ())))
        assert said.get("instructions", "") in member(result, "instructions")
    assert "tasks" not in offered


# -- client software ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Talk:
    """One conversation of a client program with a gateway."""

    client: Client
    front: Transport

    def __str__(self) -> str:
        return f"{self.client.name}-{self.front}"


def _client(name: str) -> Client:
    return next(client for client in CLIENTS if client.name == name)


ON_HTTP = (
    "sdk2-legacy",
    "sdk2-auto",
    "typescript1",
    "typescript2-auto",
    "fastmcp4-legacy",
    "fastmcp4-auto",
)
TALKS = [
    *(Talk(_client(name), "http") for name in ON_HTTP),
    Talk(_client("typescript2-auto"), "stdio"),
]
Records = list[Json]
Told = dict[tuple[str, str], Records]  # by kind of step, and prefix or method


def steps_of(world: World, talk: Talk) -> Told:
    """The lists; a request for each thing of each member; its features; and its tools that are in none of these."""
    steps = {("list", method): [{"method": method, "pages": True}] for method in LISTS}
    for one in MEMBERS:
        asked = world.said_by(one, talk.client.era).answers
        steps["each", one.prefix] = [{"method": method, "params": one.params(params)} for method, params, _ in asked]
        features = [step for feature in features_of(one, talk.client) for step, _ in feature.steps]
        steps["features", one.prefix] = world.at_home(features)
        steps["rest", one.prefix] = [call(name) for name in sorted(rest_of(world, one))]
    return steps


def rest_of(world: World, one: Member) -> set[str]:
    """The tools that neither have answers to compare nor are in the table of features."""
    asked = [each for era in one.server.eras for each in world.said_by(one, era).answers]
    called = {one.name(params["name"]) for method, params, _ in asked if method == "tools/call"}
    steps = [step for talk in TALKS for feature in features_of(one, talk.client) for step, _ in feature.steps]
    called |= {step["params"]["name"] for step in steps if step["method"] == "tools/call"}
    tools = world.said_by(one, one.server.eras[0]).items["tools"]
    return {one.name(member(tool, "name")) for tool in tools if member(tool, "name") not in NEVER_CALLED} - called


@pytest.fixture(scope="module")
def talks(request: pytest.FixtureRequest, world: World, http: Json) -> Iterator[dict[Talk, Future[Told]]]:
    """Those conversations under way of which a test was selected."""
    wanted = {
        item.callspec.params["talk"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec") and "talk" in item.callspec.params
    }
    with ThreadPoolExecutor(TALKS_AT_A_TIME) as pool:
        yield {talk: pool.submit(converse, world, talk, http) for talk in TALKS if talk in wanted}


def converse(world: World, talk: Talk, http: Json) -> Told:
    steps = steps_of(world, talk)
    programs = Programs()
    try:
        target = http if talk.front == "http" else world.stdio()
        records = iter(programs.converse(talk.client, target, list(chain(*steps.values()))))
    finally:
        programs.end()
    return {key: [next(records) for _ in group] for key, group in steps.items()}


@pytest.mark.parametrize("talk", TALKS, ids=str)
def test_client_sees_all(world: World, talks: dict[Talk, Future[Told]], talk: Talk) -> None:
    told = talks[talk].result(WAIT_AT_MOST)
    for method, kind in LISTS.items():
        (record,) = told["list", method]
        key = {"resources": "uri", "resourceTemplates": "uriTemplate"}.get(kind, "name")
        wanted = [
            dict(one.item(item))[key] for one in MEMBERS for item in world.said_by(one, talk.client.era).items[kind]
        ]
        assert [item[key] for item in record["result"][kind] if item[key] not in TOGGLED] == wanted, method


@pytest.mark.parametrize("one", MEMBERS, ids=lambda one: one.prefix)
@pytest.mark.parametrize("talk", TALKS, ids=str)
def test_client_reaches_all(world: World, talks: dict[Talk, Future[Told]], talk: Talk, one: Member) -> None:
    records = talks[talk].result(WAIT_AT_MOST)["each", one.prefix]
    for (method, params, said), record in zip(world.said_by(one, talk.client.era).answers, records, strict=True):
        heard = {name: record[name] for name in ("result", "error") if name in record}
        assert plain(heard) == plain(values(one.told(said))), f"{method} {params}"


@pytest.mark.parametrize("one", [one for one in MEMBERS if one.server.name in TABLES], ids=lambda one: one.prefix)
@pytest.mark.parametrize("talk", TALKS, ids=str)
def test_features(world: World, talks: dict[Talk, Future[Told]], talk: Talk, one: Member) -> None:
    records = iter(talks[talk].result(WAIT_AT_MOST)["features", one.prefix])
    problems = []
    for feature in features_of(one, talk.client):
        for step, expected in feature.steps:
            record = next(records)
            found = list(differences({"timeout": None} | expected, record))
            if found:
                problems.append(f"{feature.name}: {step}: {found}: {record}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("talk", TALKS, ids=str)
def test_no_tool_is_forgotten(world: World, talks: dict[Talk, Future[Told]], talk: Talk) -> None:
    told = talks[talk].result(WAIT_AT_MOST)
    for one in MEMBERS:
        for name, record in zip(sorted(rest_of(world, one)), told["rest", one.prefix], strict=True):
            assert "result" in record or name in REFUSED, f"{name}: {record}"
