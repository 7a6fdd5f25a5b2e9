"""Every client software with every server over every pair of transports, compared with the same two without a proxy."""

import subprocess
from collections.abc import Iterator

import pytest

from .features import Json, differences
from .grid import WAYS, Grid, Played, Reason, cells, comparable, is_crossed, no_cell, no_step, shown, steps_of
from .peers import CLIENTS, HERE, MADE, SERVERS, Cell
from .runs import Runs, no_process_left

WAIT_AT_MOST = 110
ALL = cells()
PLAYED = [cell for cell in ALL if no_cell(cell) is None]
CAPABILITIES = {"read": "resources", "prompt": "prompts"}


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs[Played]]:
    """Those cells under way of which a test was selected."""
    for needed in MADE:
        assert needed.exists(), f"{needed} is missing: run tests/environments/make.py"
    wanted = [
        item.callspec.params["cell"]
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    ]
    repository = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    with no_process_left(), Runs(wanted, repository, Grid().play).under_way() as runs:
        yield runs


@pytest.mark.parametrize("cell", PLAYED, ids=str)
def test_cell(runs: Runs[Played], cell: Cell) -> None:
    played = runs.result(cell, WAIT_AT_MOST)
    for name, (_, expected) in steps_of(cell).items():
        problems = list(differences({"timeout": None, "error": None} | expected, played.proxied[name]))
        assert not problems, f"{cell}: {name}\n" + "\n".join(problems)
        if name in played.direct:
            proxied, direct = (
                comparable(said, is_crossed=is_crossed(cell)) for said in (played.proxied[name], played.direct[name])
            )
            assert proxied == direct, f"{cell}: {name}"
    if "about" in played.proxied:
        lacking = {step for step in CAPABILITIES if no_step(cell, step) is Reason.NOT_IN_SERVER}
        assert said_to_lack(played.proxied["about"]["result"]["capabilities"]) == lacking


def said_to_lack(capabilities: Json) -> set[str]:
    return {step for step, capability in CAPABILITIES.items() if capability not in capabilities}


def test_all_meet() -> None:
    """Each client and each server is played over each transport on either side, or has no HTTP."""
    fronts = {(cell.client.name, cell.front) for cell in PLAYED}
    backs = {(cell.client.name, cell.back) for cell in PLAYED} | {(cell.server.name, cell.back) for cell in PLAYED}
    only_stdio = {server.name for server in SERVERS if server.http is None}
    for transport in ("stdio", "http"):
        assert {name for name, front in fronts if front == transport} == {client.name for client in CLIENTS}
        names = {client.name for client in CLIENTS} | {server.name for server in SERVERS}
        missing = names - {name for name, back in backs if back == transport}
        assert missing == (only_stdio if transport == "http" else set())
    assert len(ALL) == len(CLIENTS) * len(SERVERS) * len(WAYS)


def test_reasons_are_told() -> None:
    assert "\n".join(shown()) in (HERE / "README.md").read_text()
