"""Every cell of the matrix: a test for each column, which names the cells that fail."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from .__main__ import PAGE
from .columns import ALL, COLUMNS, OTHERS, Column
from .page import page
from .reasons import Reason
from .rows import ROWS
from .running import Programs, play

COLUMN_TAKES_AT_MOST = 110


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    started = Programs()
    yield started
    started.close()


@pytest.mark.parametrize("column", COLUMNS + OTHERS, ids=str)
def test_column(column: Column, programs: Programs) -> None:
    async def played() -> dict[str, str]:
        async with asyncio.timeout(COLUMN_TAKES_AT_MOST):
            outcomes = await play(column, ROWS, programs)
        return {key: each.failure for key, each in outcomes.items() if each.failure}

    assert asyncio.run(played()) == {}


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({row.key for row in ROWS}) == len(ROWS)


def test_every_cell_is_played_or_has_a_reason() -> None:
    played = [(row, column) for row in ROWS for column in COLUMNS if row.impossible(column) is None]
    reasons = Counter(why for row in ROWS for column in ALL if (why := row.impossible(column)) is not None)
    assert len(played) + reasons.total() == len(ROWS) * len(ALL)
    instead = {why for row in ROWS for _, why in row.instead.values()}
    assert reasons.keys() | instead == set(Reason)


def test_the_page_is_what_the_matrix_says() -> None:
    assert PAGE.read_text() == page(ROWS, {}), "`make matrix` writes it anew"
