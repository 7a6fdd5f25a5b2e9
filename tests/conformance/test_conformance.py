"""The official conformance suite, straight at a server or client and with isthmus in between.

The `auth/*` scenarios of the client role are left out: they need OAuth.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from .processes import EVERYTHING, everything, isthmus_to, listening
from .suite import (
    OLD_REVISION,
    Report,
    old_revision_problems,
    reference_client,
    run_client_suite,
    run_server_scenario,
    run_server_suite,
    scored,
)

REVISIONS = ["2025-11-25", "2026-07-28", OLD_REVISION]
SCORED = {"2025-11-25": 30, "2026-07-28": 37, OLD_REVISION: 26}
WAYS = ["direct", "http-http", "stdio-http"]

CLIENT_SCENARIOS = [
    ("2025-11-25", "initialize"),
    ("2025-11-25", "tools_call"),
    ("2025-11-25", "elicitation-sep1034-client-defaults"),
    ("2025-11-25", "sse-retry"),
    ("2026-07-28", "tools_call"),
    ("2026-07-28", "request-metadata"),
    ("2026-07-28", "sep-2322-client-request-state"),
    ("2026-07-28", "http-standard-headers"),
    ("2026-07-28", "http-custom-headers"),
    ("2026-07-28", "http-invalid-tool-headers"),
    ("2026-07-28", "json-schema-ref-no-deref"),
]
AUTO_SCENARIOS = [name for revision, name in CLIENT_SCENARIOS if revision == "2025-11-25"]
DEFAULTS = '{"name":"John Doe","age":30,"score":95.5,"status":"active","verified":true}'
SAID: dict[str, Any] = {
    "initialize": {"tools": []},
    "tools_call": {"texts": ["The sum of 5 and 3 is 8"]},
    "elicitation-sep1034-client-defaults": {"texts": [f"Elicitation completed: {DEFAULTS}"]},
    "sse-retry": {"texts": ["Reconnection test completed successfully"]},
    "request-metadata": {"texts": [""]},
    "http-custom-headers": {"texts": ["Custom headers test completed"] * 2},
    "http-invalid-tool-headers": {"texts": {"valid_tool": "Tool call received"}},
    "json-schema-ref-no-deref": {"tools": ["lookup_user"]},
}


@pytest.fixture(scope="module")
def urls() -> Iterator[Callable[[str], str]]:
    """Where each way begins; its processes live as long as this module's tests."""
    with ExitStack() as processes:

        @cache
        def url(way: str) -> str:
            if way == "direct":
                return processes.enter_context(listening(everything))
            if way == "http-http":
                return processes.enter_context(listening(isthmus_to(url("direct"))))
            return processes.enter_context(listening(isthmus_to(*EVERYTHING)))

        yield url


@pytest.fixture(scope="module")
def server_reports(urls: Callable[[str], str]) -> Callable[[str, str], Report]:
    """Runs the suite at a way and revision, once."""

    @cache
    def report(way: str, revision: str) -> Report:
        return run_server_suite(urls(way), revision)

    return report


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("way", WAYS)
def test_server(server_reports: Callable[[str, str], Report], way: str, revision: str) -> None:
    report = server_reports(way, revision)
    print(f"{way}: {report.summary()}")
    report.demand()
    assert len(report.expected) == SCORED[revision]
    if revision == OLD_REVISION:
        assert old_revision_problems(report) == []
    if way != "direct":
        assert report.ids() == server_reports("direct", revision).ids()
        assert report.passed_ids() == server_reports("direct", revision).passed_ids()


@pytest.mark.parametrize("scenario", ["server-sse-polling", "server-sse-multiple-streams"])
@pytest.mark.parametrize("way", WAYS)
def test_streams(urls: Callable[[str], str], way: str, scenario: str) -> None:
    """Not scored. The back ends a stream half-way; isthmus resumes it there, and its own client is not bothered."""
    report = run_server_scenario(urls(way), scenario, "2025-11-25")
    report.demand()


def test_every_scored_client_scenario_is_run() -> None:
    listed = {(r, name) for r in REVISIONS[:2] for name in scored(r, "client") if not name.startswith("auth/")}
    assert listed == set(CLIENT_SCENARIOS)


@cache
def client_report(through: str, revision: str, scenario: str, mode: str | None = None) -> Report:
    chosen = [] if mode is None else ["--mode", mode]
    return run_client_suite(reference_client("--through", through, *chosen), scenario, revision)


def check_what_was_said(report: Report, scenario: str) -> None:
    said = json.loads(report.stdout[scenario])
    assert said["scenario"] == scenario
    expected = SAID.get(scenario, {})
    assert {key: said[key] for key in expected} == expected
    if scenario == "http-standard-headers":
        assert said["tools"] and said["resources"] and said["prompts"]
        assert not any(text.startswith("refused") for text in said["texts"].values())
    if scenario == "sep-2322-client-request-state":
        # The SDK's client refuses a modern result without `resultType`, which the specification has it accept.
        without_type = said["texts"].pop("test_mrtr_no_result_type")
        assert without_type == "no-result-type-test-ok" or "resultType" in without_type
        assert not any(text.startswith("refused") for text in said["texts"].values())


@pytest.mark.parametrize(("revision", "scenario"), CLIENT_SCENARIOS)
@pytest.mark.parametrize("through", ["nothing", "stdio", "http"])
def test_client(through: str, revision: str, scenario: str) -> None:
    report = client_report(through, revision, scenario)
    report.demand()
    check_what_was_said(report, scenario)
    if through != "nothing":
        assert report.passed_ids() == client_report("nothing", revision, scenario).passed_ids()


@pytest.mark.parametrize("scenario", AUTO_SCENARIOS)
def test_client_of_both_eras(scenario: str) -> None:
    """A client that asks `server/discover` first learns through isthmus too that the server is legacy."""
    report = client_report("http", "2025-11-25", scenario, "auto")
    report.demand()
    check_what_was_said(report, scenario)
    assert report.passed_ids() == client_report("nothing", "2025-11-25", scenario).passed_ids()
