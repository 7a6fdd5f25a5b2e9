"""What the measurements with many backs say: the targets, and docs/performance-many.md."""

from __future__ import annotations

import datetime
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from path_report import machine, number, plain, spread, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LIST = 5.0
"""Milliseconds that half of the lists of 10,000 tools take at most."""
ADDED = 1.2
"""What many add to a call, over what one back adds, at most."""
TAIL = 1.5
"""The slowest hundredth with a black hole over that without, at most."""
DEADLINE = 5.0
"""Seconds that the first list waits for a back (`limits.LISTING`)."""
LATE = 0.5
"""What a first list may take beyond that: the others are read, too."""
BENT = 1.5
"""What each of 100 backs costs, over what each of 50 costs, at most: what is linear has 1."""
ERAS = ("modern", "legacy")
MANY, HOLED = "many", "many, one black hole"


@dataclass(frozen=True)
class Turn:
    """One round of calls: calls/s, µs of CPU per call, the p50 and p99 of their milliseconds."""

    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Scale:
    """One start: seconds from there to the open port and to the first whole list; bytes after each, and after a call to
    every back."""

    opened: float
    listed: float
    small: int
    grown: int
    called: int


@dataclass
class Found:
    """All that was measured."""

    calls: dict[tuple[str, str, int], list[Turn]] = field(default_factory=dict)
    """By target, era, and calls in flight."""
    lists: dict[tuple[str, str], list[Sequence[float]]] = field(default_factory=dict)
    """Milliseconds of each list, round by round."""
    first: dict[tuple[str, str], float] = field(default_factory=dict)
    """Seconds of the first list."""
    refused: tuple[float, str] | None = None
    """Seconds that a call to the black hole took, and what was said."""
    scales: dict[int, list[Scale]] = field(default_factory=dict)
    peer: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """One target: what it is of, the figures of the rounds, and what their median may be at most."""

    what: str
    values: Sequence[float]
    most: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return statistics.median(self.values) <= self.most

    def __str__(self) -> str:
        said = "met" if self.is_met else "MISSED"
        return f"{self.what}: {spread(self.values)}{self.unit}; {number(self.most)}{self.unit} or less: {said}"


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def added(found: Found, era: str) -> list[float]:
    """Round by round, what many add to the median call over what one back adds."""
    names = (MANY, "one", "direct")
    if any((name, era, 1) not in found.calls for name in names):
        return []
    rounds = zip(*(found.calls[name, era, 1] for name in names), strict=True)
    return [(many.p50_ms - bare.p50_ms) / (one.p50_ms - bare.p50_ms) for many, one, bare in rounds]


def _ratios(above: Iterable[float], below: Iterable[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]


def judge(found: Found) -> list[Judged]:
    judged = [
        Judged(f"lists of {name}, {era}, p50", [statistics.median(each) for each in rounds], LIST, " ms")
        for (name, era), rounds in found.lists.items()
        if name != "one"
    ]
    for era in ERAS:
        if values := added(found, era):
            judged.append(Judged(f"what many add to a call, of what one adds, {era}", values, ADDED))
            pair = [[turn.cpu_us for turn in found.calls[name, era, 16]] for name in ("many, to one", "one")]
            judged.append(Judged(f"CPU per call of many, to one, of that of one, {era}", _ratios(*pair), ADDED))
    return [*judged, *_judge_hole(found), *_judge_scale(found)]


def _judge_hole(found: Found) -> list[Judged]:
    judged: list[Judged] = []
    for era in ERAS:
        for in_flight in (1, 16):
            turns = [found.calls.get((name, era, in_flight), []) for name in (HOLED, MANY)]
            if all(turns):
                ratios = _ratios(*([turn.p99_ms for turn in each] for each in turns))
                judged.append(Judged(f"p99 of calls with a black hole, {era}, {in_flight} in flight", ratios, TAIL))
        lists = [found.lists.get((name, era), []) for name in (HOLED, MANY)]
        if all(lists):
            ratios = _ratios(*([percentile(took, 0.99) for took in each] for each in lists))
            judged.append(Judged(f"p99 of lists with a black hole, {era}", ratios, TAIL))
    if (HOLED, "modern") in found.first:
        judged.append(Judged("first list with a black hole", [found.first[HOLED, "modern"]], DEADLINE + LATE, " s"))
    if found.refused is not None:
        judged.append(Judged("call to the black hole", [found.refused[0] * 1e3], LIST, " ms"))
    return judged


def _judge_scale(found: Found) -> list[Judged]:
    """What each of 100 backs costs beyond one alone, over what each of 50 does; of times the shortest."""
    if not found.scales:
        return []
    whats: dict[str, tuple[str, Callable[[list[float]], float]]] = {
        "memory": ("called", statistics.median),
        "time to the first list": ("listed", min),
    }
    judged: list[Judged] = []
    for what, (name, choose) in whats.items():
        took: dict[int, float] = {
            count: choose([getattr(each, name) for each in of]) for count, of in found.scales.items()
        }
        late, early = (took[100] - took[1]) / 99, (took[50] - took[1]) / 49
        judged.append(Judged(f"{what}, each of 100 backs over each of 50", [late / early], BENT))
    return judged


def verdict(found: Found) -> tuple[list[str], bool]:
    """Sentences on all targets, and whether all are met."""
    judged = judge(found)
    return [str(each) for each in judged], all(each.is_met for each in judged)


def tell(found: Found) -> list[str]:
    """All figures, as the page has them."""
    lines: list[str] = []
    if found.calls:
        lines += ["## Calls", "", *table(_CALLS, _call_rows(found))]
    if found.lists:
        rows = [
            [name, era, spread(statistics.median(each) for each in rounds), spread(percentile(e, 0.99) for e in rounds)]
            for (name, era), rounds in found.lists.items()
        ]
        for row, key in zip(rows, found.lists, strict=True):
            row.append(number(found.first[key] * 1e3))
        lines += ["## Lists", "", *table(["Target", "Era", "p50, ms", "p99, ms", "the first one, ms"], rows)]
    if found.refused is not None:
        took, said = found.refused
        lines += [f"A call to the black hole was answered in {took * 1e3:.2f} ms: `{plain(said)}`", ""]
    if found.scales:
        lines += ["## Memory and start", "", *table(_SCALES, _scale_rows(found))]
    if found.peer:
        told = "Of two servers one is a black hole. Its proxy of several servers, asked once for each:"
        lines += ["## FastMCP", "", told, "", *(f"* {what}: {plain(said)}" for what, said in found.peer.items()), ""]
    return lines


_CALLS = ["Target", "Era", "in flight", "calls/s", "CPU per call, µs", "p50, ms", "p99, ms"]
_SCALES = [
    "Backs",
    "to the open port, ms",
    "to the first list, ms",
    "memory then, MiB",
    "with all lists, MiB",
    "after a call to each, MiB",
]


def _call_rows(found: Found) -> list[list[str]]:
    rows: list[list[str]] = []
    for (name, era, in_flight), turns in found.calls.items():
        columns = [[getattr(turn, what) for turn in turns] for what in ("rate", "cpu_us", "p50_ms", "p99_ms")]
        rows.append([name, era, str(in_flight), *(spread(column) for column in columns)])
    return rows


def _scale_rows(found: Found) -> list[list[str]]:
    factors = {"opened": 1e3, "listed": 1e3, "small": 2**-20, "grown": 2**-20, "called": 2**-20}
    return [
        [str(count), *(spread(getattr(each, name) * by for each in scales) for name, by in factors.items())]
        for count, scales in found.scales.items()
    ]


METHOD = """\
isthmus has one core for itself; load, backs and the measuring program share the other, over the loopback interface. All
targets run at the same time and take turns: a round of each, then the next round, in the other order. A figure is the
median of {rounds} rounds, with the least and the largest in brackets; a ratio is taken round by round.

* **Backs** are 100 endpoints of one nginx with Lua, in both eras, with 100 tools each of about 250 bytes: 10,000 tools
  are one list of 2.6 MB on one page. Of every second one the back says that its lists are good for an hour (to legacy
  clients: that it announces changes); of the others the file of servers does (`ttl`).
* **many** is isthmus before all of them, **one** before one of them, `direct` the load on a back without any proxy.
  Calls of many go to each back in turn, by names with prefixes, and so over 100 times as many connections, which are
  never warm; in **many, to one** they all go to the same back, and over as many connections as those of **one**.
* **A black hole** takes connections and says nothing. The list asked for first waits for it; the others don't.
* **Calls** are of 100 bytes. 16 in flight: by wrk for {window:g} s. One in flight: by one client on a connection to
  each target, {calls:,} calls to each, {row} in a row before the next target has its turn. What is *added* to a call is
  its median less that of `direct`.
* **Lists** are read by turns too, {lists} of each, over a connection that is kept, from the first byte sent to the last
  one read, and counted.
* **20 on stdio** are 20 processes of older servers, for a client of their era; beside them one such process, which
  reads all that is in flight at once.
* **Memory** is resident, without the backs.
"""


def write(place: str, found: Found, seconds: float, **method: float) -> None:
    """Write docs/performance-many.md, from nothing but what was measured."""
    today = datetime.datetime.now(datetime.UTC).date()
    lines = ["# Performance with many servers", ""]
    lines += [f"`make bench` has written this page on {today} ({seconds / 60:.0f} minutes). Don't edit it.", ""]
    lines += [*(f"* {line}" for line in verdict(found)[0]), "", *tell(found)]
    lines += ["## Machine and versions", "", *machine()]
    lines += [f"* {name} {version}" for name, version in found.versions.items()]
    lines += ["", "## Method", "", METHOD.format(**method)]
    Path(place).write_text("\n".join(lines).rstrip() + "\n")
