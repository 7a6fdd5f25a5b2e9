"""Many backs cost what each of them costs: lists come from memory, memory grows by the back, and not forever."""

import gc
import json
import statistics
import time
import tracemalloc

import pytest

from isthmus import limits
from isthmus.engine.member import Spec
from isthmus.engine.sharing import Box
from isthmus.many.gateway import Many
from isthmus.many.routes import Routes, Wanted
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.routing.choice import Choice
from isthmus.routing.face import Face
from isthmus.transports.target import HttpTarget
from tests.engine import clients
from tests.engine.clients import META, ModernClient, envelope, request_text, run
from tests.engine.http_back import Exchange, HttpBack, answer, http_back
from tests.many.servers import Known, many

BACKS = 30
TOOLS = 100
GENEROUS = 5
"""Times that what is measured may take of what the issue wants: machines that test have other work, too."""
META_OF_CLIENT = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
ITEMS = [{"name": f"tool{n}", "description": "Does what it does. " * 8, "inputSchema": SCHEMA} for n in range(TOOLS)]
SCOPES = {"public": 3_600_000, "private": 3_600_000, "stale": 0}


async def hundred(back: HttpBack, exchange: Exchange) -> None:
    """A back with 100 tools; the path says for whom its list is."""
    if exchange.message.get("method") != "tools/list":
        await answer(back, exchange)
        return
    scope = exchange.headers["x-scope"]
    cache = {"ttlMs": SCOPES[scope], "cacheScope": scope.replace("stale", "public")}
    exchange.result(resultType="complete", tools=ITEMS, **cache)


def specs(back: HttpBack, count: int, scope: str = "public") -> list[Spec]:
    names = [f"s{number:03}" for number in range(count)]
    return [
        Spec(name=name, target=HttpTarget(name, back.url, (("x-scope", scope),)), face=Face(name, Choice()))
        for name in names
    ]


def asked() -> ModernRequest:
    judged = judge_modern(envelope(request_text(1, "tools/list", {"_meta": META_OF_CLIENT})), None)
    assert isinstance(judged, ModernRequest), judged
    return judged


async def fill(made: Many) -> int:
    """List once; how many tools there are."""
    return len((await ModernClient(made).request(1, "tools/list").result())["tools"])


def test_lists_come_ready_from_the_catalog() -> None:
    async def scenario() -> None:
        async with http_back("modern", hundred) as back, many(*specs(back, BACKS)) as made:
            assert await fill(made) == BACKS * TOOLS
            took = []
            for _ in range(50):
                request, box = asked(), Box()
                began = time.perf_counter()
                assert made.express(request, box, {}) is not None
                took.append((time.perf_counter() - began) * 1e3)
            assert len(json.loads(box.message)["result"]["tools"]) == BACKS * TOOLS
            assert len(back.messages("tools/list")) == BACKS
            assert statistics.median(took) <= 1.0 * GENEROUS

    run(scenario)


def test_memory_grows_by_the_back() -> None:
    async def scenario() -> None:
        held: dict[int, int] = {}
        async with http_back("modern", hundred) as back:
            for count in (10, 10, 20, 40):  # the first also fills what there is once only
                back.heard.clear()
                tracemalloc.start()
                async with many(*specs(back, count)) as made:
                    assert await fill(made) == count * TOOLS
                    back.heard.clear()
                    clients._boxes.clear()
                    gc.collect()
                    held[count] = tracemalloc.get_traced_memory()[0]
                tracemalloc.stop()
        assert held[40] - held[20] <= 1.2 * 2 * (held[20] - held[10]), held
        assert held[40] <= 40 * TOOLS * 2000, held

    run(scenario)


def test_a_catalog_is_bounded_whoever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CATALOG_BYTES", 1 << 20)

    async def scenario() -> None:
        async with http_back("modern", hundred) as back, many(*specs(back, 5, "private")) as made:
            for number in range(20):
                result = await Known(made, f"client {number}").request(1, "tools/list").result()
                assert len(result["tools"]) == 5 * TOOLS
            for kept in (made.catalog._shelves, made.catalog._wholes):
                assert 0 < kept._size <= limits.CATALOG_BYTES
                assert kept._size == sum(each.size for each in kept._values.values())
            before = len(back.messages("tools/list"))
            await Known(made, "client 19").request(1, "tools/list").result()
            assert len(back.messages("tools/list")) == before

    run(scenario)


def test_ways_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROUTES_REMEMBERED", 4)

    async def scenario() -> None:
        async with http_back("modern", hundred) as back, many(*specs(back, 3)) as made:
            routes: Routes = made.routes
            for number in range(10):
                found = routes.find(Wanted("tools", f"s001_tool{number}"))
                assert found is not None and (found.member.name, found.own) == ("s001", f"tool{number}")
                assert found is routes.find(Wanted("tools", f"s001_tool{number}"))
                assert len(routes._found) <= 4
            kept = dict(routes._found)
            assert routes.find(Wanted("resources", f"data://s001/{'x' * limits.ROUTE_LONGEST}")) is not None
            assert routes._found == kept

    run(scenario)
