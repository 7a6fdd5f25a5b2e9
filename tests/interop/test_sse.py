"""Clients of HTTP+SSE with servers of HTTP+SSE, through both faces of isthmus: all that works between them directly."""

import pytest

from .features import Feature, features
from .peers import CLIENTS, SERVERS, Cell
from .runs import Runs
from .test_interop import WAIT_AT_MOST, Records, judge, runs

__all__ = ["runs"]
ABLE = [client for client in CLIENTS if client.name in ("sdk1", "sdk2-legacy", "typescript1")]
CELLS = [Cell(client, "sse", "sse", server) for client in ABLE for server in SERVERS if server.sse is not None]
TABLE = [(cell, number, feature) for cell in CELLS for number, feature in enumerate(features(cell))]
IDS = [f"{cell}-{number}-{feature.name}".replace(" ", "_") for cell, number, feature in TABLE]


@pytest.mark.parametrize(("cell", "number", "feature"), TABLE, ids=IDS)
def test_feature(runs: Runs[Records], cell: Cell, number: int, feature: Feature) -> None:
    judge(cell, feature, runs.result(cell, WAIT_AT_MOST)[number])
