"""`python -m tests.matrix [--write] [TEXT…]`: play the columns whose names have the texts; print what fails.

A text that begins with a colon chooses rows instead. `--write` plays all and writes the page.
"""

import asyncio
import logging
import sys
import time
from pathlib import Path

from .columns import COLUMNS, OTHERS, Column
from .page import page
from .playing import Outcome
from .rows import ROWS
from .running import Programs, play

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


async def main(texts: list[str]) -> int:
    columns = [each for each in COLUMNS + OTHERS if all(text in str(each) for text in texts if text[0] != ":")]
    rows = [row for row in ROWS if all(text[1:] in row.key for text in texts if text[0] == ":")]
    began = time.perf_counter()
    programs = Programs()
    played: dict[Column, dict[str, Outcome]] = {}
    try:
        for column in columns:
            played[column] = await play(column, rows, programs)
            _tell(column, played[column])
    finally:
        programs.close()
    failures = {
        (str(column), key): each.failure
        for column, outcomes in played.items()
        for key, each in outcomes.items()
        if each.failure
    }
    cells = [each for outcomes in played.values() for each in outcomes.values()]
    cost = 1000 * sum(each.seconds for each in cells) / max(len(cells), 1)
    took = time.perf_counter() - began
    print(f"{len(cells)} cells, {len(failures)} fail; {cost:.0f} ms each, {took:.0f} s in all")
    if WRITE in sys.argv:
        PAGE.write_text(page(ROWS, {key: why for key, why in failures.items() if key[0] in map(str, COLUMNS)}))
    return 1 if failures else 0


def _tell(column: Column, outcomes: dict[str, Outcome]) -> None:
    failed = {key: each.failure for key, each in outcomes.items() if each.failure}
    cost = 1000 * sum(each.seconds for each in outcomes.values()) / max(len(outcomes), 1)
    print(f"{column}: {len(outcomes) - len(failed)} of {len(outcomes)}, {cost:.0f} ms each", flush=True)
    for key, why in failed.items():
        print(f"   {key}: {why}", flush=True)


WRITE = "--write"

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # what the SDK says of peers that end is no news
    sys.exit(asyncio.run(main([text for text in sys.argv[1:] if text != WRITE])))
