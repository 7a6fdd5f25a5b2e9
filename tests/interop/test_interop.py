"""Each client with each server of its era, through isthmus: what works between them works through the proxy."""

import subprocess
from collections.abc import Iterator

import pytest

from .features import PAGES, SPECIFICATION, Feature, differences, features
from .peers import MADE, Cell, cells
from .runs import Json, Runs, no_process_left, play_features

Records = list[list[Json]]
WAIT_AT_MOST = 110
TABLE = [(cell, number, feature) for cell in cells() for number, feature in enumerate(features(cell))]
IDS = [f"{cell}-{number}-{feature.name}".replace(" ", "_") for cell, number, feature in TABLE]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs[Records]]:
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
    with no_process_left(), Runs(dict.fromkeys(wanted), repository, play_features).under_way() as runs:
        yield runs


@pytest.mark.parametrize(("cell", "number", "feature"), TABLE, ids=IDS)
def test_feature(runs: Runs[Records], cell: Cell, number: int, feature: Feature) -> None:
    judge(cell, feature, runs.result(cell, WAIT_AT_MOST)[number])


def judge(cell: Cell, feature: Feature, records: list[Json]) -> None:
    """Hold the records of a feature's steps against what they must have."""
    for (step, expected), record in zip(feature.steps, records, strict=True):
        problems = list(differences({"timeout": None} | expected, record))
        if record.get("timeout"):
            problems.append(f"took too long: {record}")
        where = f"{SPECIFICATION}/{'2025-11-25' if cell.client.era == 'legacy' else '2026-07-28'}/{PAGES[feature.name]}"
        assert not problems, f"{cell}: {step} ({where})\n" + "\n".join(problems)
