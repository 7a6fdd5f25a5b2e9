"""The official suite across the eras: each revision's server scenarios before a server that lacks its era.

The 2026-07-28 scenarios run one by one: several give a call up that waits for their answer. With a session for each
client such a call would keep the session, and the next scenario, which is the same client, would wait for it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache

import pytest

from .processes import ISTHMUS, isthmus_to, listening
from .suite import Report, run_server_scenario, run_server_suite, scored

NO_NAME = "the suite wants the server's own keys in inputRequests; a legacy server's question has none"
NOT_EXPRESSED = {
    "input-required-result-basic-elicitation": NO_NAME,
    "input-required-result-ignore-extra-params": NO_NAME,
}
"""The scenarios that a legacy back can't express, each with its reason; docs/topics/eras.md lists them."""
STATEFUL = {"server-stateless"}
"""The scenarios in which one request changes what another hears of."""


Url = Callable[[str], str]


def one_era(era: str) -> Callable[[int], list[str]]:
    return lambda port: [sys.executable, "-m", "tests.conformance.one_era", era, str(port)]


def before(url: str, isolation: str) -> Callable[[int], Sequence[str]]:
    return lambda port: [ISTHMUS, "run", url, "--isolation", isolation, "--http", str(port)]


@pytest.fixture(scope="module")
def before_legacy() -> Iterator[Url]:
    """The URL of isthmus before the legacy server, by isolation."""
    with ExitStack() as processes:
        server = processes.enter_context(listening(one_era("legacy")))
        yield cache(lambda isolation: processes.enter_context(listening(before(server, isolation))))


def report_of(url: Url, scenario: str) -> Report:
    return run_server_scenario(url("session" if scenario in STATEFUL else "request"), scenario, "2026-07-28")


@pytest.mark.parametrize("scenario", [name for name in scored("2026-07-28", "server") if name not in NOT_EXPRESSED])
def test_a_modern_client_before_a_legacy_server(before_legacy: Url, scenario: str) -> None:
    report = report_of(before_legacy, scenario)
    assert not report.problems()


@pytest.mark.parametrize("scenario", NOT_EXPRESSED)
def test_what_a_legacy_server_can_not_express(before_legacy: Url, scenario: str) -> None:
    """They fail for that reason alone; one that passes is to leave the list."""
    report = report_of(before_legacy, scenario)
    assert report.problems()


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_legacy_client_before_a_modern_server(transport: str) -> None:
    with ExitStack() as processes:
        if transport == "http":
            proxy = before(processes.enter_context(listening(one_era("modern"))), "session")
        else:
            proxy = isthmus_to(sys.executable, "-m", "tests.conformance.one_era", "modern")
        report = run_server_suite(processes.enter_context(listening(proxy)), "2025-11-25")
    report.demand()
    assert len(report.expected) == 30
