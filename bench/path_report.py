"""What the paths' measurements say: the two targets, and docs/performance.md."""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import platform
import re
import statistics
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from path_targets import HAS, OWN, Way

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FASTER = 20.0
"""isthmus's calls/s are to be this many times those of every Python or Node peer, with small calls."""
MEMORY = 3.0
"""Peak memory per call in flight, in payloads, with results of 16 MB, is to be this at most."""
SMALL = 100
LARGE = 16_000_000


@dataclass(frozen=True)
class Cell:
    """A load: the bytes of each result and the calls in flight."""

    size: int
    in_flight: int

    def __str__(self) -> str:
        unit = next((f"{self.size // n} {u}" for n, u in ((10**6, "MB"), (10**3, "kB")) if self.size >= n), None)
        return f"{unit or f'{self.size} B'} × {self.in_flight}"


@dataclass(frozen=True)
class Turn:
    """One round: calls/s, microseconds of CPU per call, the busy share of the core, the median answer's milliseconds,
    the growth of memory per call in flight, in payloads (0 where it is not measured), and what other processes took of
    the proxy's core."""

    rate: float
    cpu_us: float
    busy: float
    p50_ms: float
    memory: float
    others: float


@dataclass
class Outcome:
    """The rounds of one target under one load, or why there are none."""

    turns: list[Turn] = field(default_factory=list)
    failed: str = ""

    def __str__(self) -> str:
        if self.failed:
            return f"FAILED {self.failed}"
        told = (
            f"{spread(turn.rate for turn in self.turns)} calls/s, {spread(turn.cpu_us for turn in self.turns)} µs CPU"
        )
        told += f", busy {statistics.median(turn.busy for turn in self.turns):.0%}"
        told += f", p50 {statistics.median(turn.p50_ms for turn in self.turns):.2f} ms"
        return told + (f", memory {spread(turn.memory for turn in self.turns)}" if self.turns[0].memory else "")


Results = dict[tuple[str, Cell, str], Outcome]


def number(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(values: Iterable[float]) -> str:
    """`median (min to max)`."""
    known = list(values)
    return f"{number(statistics.median(known))} ({number(min(known))} to {number(max(known))})"


def ratios(results: Results, way: Way, cell: Cell, name: str) -> list[float]:
    """Round by round, how many times the calls/s of `name` isthmus has had."""
    ours, theirs = results.get((way.key, cell, "isthmus")), results.get((way.key, cell, name))
    if ours is None or theirs is None or ours.failed or theirs.failed:
        return []
    return [mine.rate / other.rate for mine, other in zip(ours.turns, theirs.turns, strict=True)]


def cells(results: Results, way: Way) -> list[Cell]:
    return list(dict.fromkeys(cell for key, cell, _ in results if key == way.key))


def peers(results: Results, way: Way) -> list[str]:
    measured = {name for key, _, name in results if key == way.key}
    return [name for name in HAS if name in measured and name not in OWN]


def _nginx(ways: Sequence[Way], way: Way, cell: Cell, results: Results, what: str) -> tuple[str, float]:
    """What nginx did under the same load on this path, or on the nearest that it has: of the same era, over HTTP."""
    for near in sorted(ways, key=lambda each: (each != way, each.era != way.era, each.form != way.form)):
        outcome = results.get((near.key, cell, "nginx"))
        if outcome is not None and not outcome.failed:
            place = "" if near == way else f" ({near.title})"
            return f"nginx{place}", statistics.median(getattr(turn, what) for turn in outcome.turns)
    return "nginx was not measured", math.inf


@dataclass(frozen=True)
class Pair:
    """A path and a peer with one number of calls in flight: how many times its calls/s, and how many 20 × would be."""

    cell: Cell
    place: str
    times: float
    wanted: float
    nginx: tuple[str, float]

    @property
    def is_met(self) -> bool:
        return self.times >= FASTER

    def __str__(self) -> str:
        name, did = self.nginx
        would = f"{FASTER:.0f} × would be {number(self.wanted)} calls/s, {number(1e6 / self.wanted)} µs a call"
        verb = "which is more than" if self.wanted > did else "and"
        beside = f"{verb} {name} did: {number(did)}" if did < math.inf else name
        return f"{self.place}: {number(self.times)} ×; {would}, {beside}"


def _count(pairs: Sequence[Pair]) -> str:
    """How many have it, and of how many that can't be told from what is possible here."""
    told = []
    for cell in dict.fromkeys(pair.cell for pair in pairs):
        same = [pair for pair in pairs if pair.cell == cell]
        told.append(f"{sum(pair.is_met for pair in same)} of {len(same)} with {cell.in_flight} in flight")
    missed = [pair for pair in pairs if not pair.is_met]
    beyond = sum(pair.wanted > pair.nginx[1] for pair in missed)
    left = f" Of the others {beyond} of {len(missed)} would need more calls/s than nginx did." if missed else ""
    return f"Pairs of path and peer that have it: {', '.join(told)}.{left}"


def verdict(ways: Sequence[Way], results: Results) -> tuple[list[str], bool]:
    """Sentences on both targets, and whether both are met."""
    missed: list[str] = []
    pairs: list[Pair] = []
    for way in ways:
        for cell in cells(results, way):
            ours = results.get((way.key, cell, "isthmus"), Outcome(failed="not measured"))
            if ours.failed:
                missed.append(f"isthmus, {way.title}, {cell}: failed: {plain(ours.failed)}")
                continue
            if cell.size == LARGE and (worst := statistics.median(t.memory for t in ours.turns)) > MEMORY:
                told = f"{number(worst)} payloads per call in flight"
                other, had = _nginx(ways, way, cell, results, "memory")
                missed.append(f"memory, {way.title}, {cell}: {told}; {other}: {number(had)}")
            for name in peers(results, way) if cell.size == SMALL else ():
                if values := ratios(results, way, cell, name):
                    wanted = FASTER * statistics.median(t.rate for t in results[way.key, cell, name].turns)
                    did = _nginx(ways, way, cell, results, "rate")
                    pairs.append(Pair(cell, f"{way.title}, {cell}, {name}", statistics.median(values), wanted, did))
    missed += [str(pair) for pair in pairs if not pair.is_met]
    lines = [f"Targets: calls of {SMALL} B at {FASTER:.0f} × every peer's calls/s or more on every path; memory with"]
    lines += [f"results of 16 MB at {MEMORY:.0f} × the payload per call in flight or less."]
    if pairs:
        least = min(pairs, key=lambda pair: pair.times)
        lines.append(f"Least of the ratios: {number(least.times)} × ({least.place}). {_count(pairs)}")
    lines += [f"MISSED: {line}" for line in missed] or ["Both met."]
    return lines, not missed


def disturbance(results: Results) -> str:
    """How much of the proxy's core others had: figures are good when that is next to nothing."""
    shares = [turn.others * 100 for outcome in results.values() for turn in outcome.turns]
    return f"Other processes had {spread(shares)} % of the proxy's core." if shares else "Nothing was measured."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(words: Sequence[str]) -> str:
        return "| " + " | ".join(words) + " |"

    return [line(head), line(["---"] * len(head)), *(line(row) for row in rows), ""]


def _summary(ways: Sequence[Way], results: Results) -> list[str]:
    rows: list[list[str]] = []
    for way in ways:
        for name in peers(results, way):
            row = [way.title, name]
            for in_flight in (1, 128):
                values = ratios(results, way, Cell(SMALL, in_flight), name)
                row.append(spread(values) if values else "failed")
            rows.append(row)
    head = ["Path", "Peer", f"{SMALL} B, 1 in flight", f"{SMALL} B, 128 in flight"]
    return ["## How many times the calls/s of each peer", "", *table(head, rows)]


def _memory(ways: Sequence[Way], results: Results) -> list[str]:
    rows: list[list[str]] = []
    for way in ways:
        for name in HAS:
            row = [way.title, name]
            for in_flight in (1, 4):
                outcome = results.get((way.key, Cell(LARGE, in_flight), name))
                if outcome is None or name == "direct":
                    break
                row.append("failed" if outcome.failed else spread(turn.memory for turn in outcome.turns))
            else:
                rows.append(row)
    told = "Peak memory above that of the warm proxy, as a multiple of 16 MB per call in flight."
    head = ["Path", "Proxy", "16 MB, 1 in flight", "16 MB, 4 in flight"]
    return ["## Memory", "", told, "", *table(head, rows)]


def _way(way: Way, results: Results) -> list[str]:
    rows: list[list[str]] = []
    notes: dict[str, None] = {}
    for cell in cells(results, way):
        for name in HAS:
            outcome = results.get((way.key, cell, name))
            if outcome is None:
                continue
            if outcome.failed:
                rows.append([str(cell), name, "failed", "", "", "", ""])
                notes[f"* {name}, {cell}: {plain(outcome.failed)}"] = None
                continue
            values = ratios(results, way, cell, name)
            columns = [[getattr(turn, what) for turn in outcome.turns] for what in ("rate", "cpu_us", "busy", "p50_ms")]
            columns[2] = [share * 100 for share in columns[2]]
            ratio = spread(values) if values and name != "isthmus" else ""
            rows.append([str(cell), name, *(spread(column) for column in columns), ratio])
    head = [
        "Result × in flight",
        "Target",
        "calls/s",
        "CPU per call, µs",
        "busy, %",
        "half answered in, ms",
        "isthmus is ×",
    ]
    return [f"### {way.title}", "", *table(head, rows), *notes, *([""] if notes else [])]


def plain(text: str) -> str:
    """A failure's text in one line, without places of this machine."""
    line = re.sub(r"(/[\w.@+-]+){2,}", "…", " ".join(text.split()))
    return line.replace("|", "/")[:300]


def machine() -> list[str]:
    processor = platform.machine()
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        processor = found[1].strip() if found else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"* {processor}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}",
        f"* Python {platform.python_version()} for isthmus and the Python peers, built {_build()}",
    ]


def _build() -> str:
    """Whether the interpreter was optimised by a profile when it was built."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS"))
    return ("with" if "--enable-optimizations" in options else "without") + " profile-guided optimisation"


METHOD = """\
Each proxy has one core for itself; load, backs and the measuring program share another. All run on one machine over the
loopback interface, in the same run, and take turns: a round of each target, then the next round. A figure is the median
of {rounds} rounds, with the least and the largest in brackets; a ratio is taken round by round.

* **Loads.** HTTP: wrk, keep-alive, one request at a time per connection. stdio: one client that keeps so many calls in
  flight. A round is {round} s, or longer, so that each connection has 12 answers; a proxy too slow for that within
  1.5 s is given a number of calls instead, one on each connection at least, timed to the end of the last. A result of
  16 MB is fetched once per connection, all at the same time; four at a time with isthmus and nginx only.
* **Correct answers only.** Beside wrk a second one with one connection checks id and text of every answer; of the
  others the status is looked at and the bytes are added up. On stdio, and with 16 MB, every answer is checked. A target
  that answers anything wrongly has failed, and its reason stands under the table.
* **Backs** do as little as they can: nginx with Lua over HTTP, a Python loop that looks for the id over stdio. `direct`
  is the load on the HTTP back without any proxy: what load and back can do. A proxy that is not near 100 % busy was not
  the narrowest place, as nginx is not here; isthmus looks for the next message before it sleeps, and so is near 100 %
  with one call in flight too; `bench/run.py` compares with nginx more strictly.
* **CPU per call** is user and system time of the proxy's processes without the back, over its calls; beside `direct`
  it is the back's.
* **Peers** are what their installation gives, told to log errors only. *FastMCP* is `create_proxy(target)`: a session
  for every call. *FastMCP, reusing* is `create_proxy` of a connected `Client`, its documented way to reuse one.
  *mcp-proxy* is the one from PyPI. *supergateway* is its default, which starts the command for every call;
  *supergateway, stateful* is told to keep legacy sessions (`--stateful`).
* **Memory** is the peak of the proxy's resident memory since the round began, less that of the same process when it
  was warm and had seen small calls only.
"""


def write(
    place: str, ways: Sequence[Way], results: Results, versions: Mapping[str, str], rounds: int, seconds: float
) -> None:
    """Write docs/performance.md, from nothing but what was measured."""
    today = datetime.datetime.now(datetime.UTC).date()
    lines = ["# Performance", "", f"`make bench` has written this page on {today} ({seconds / 60:.0f} minutes)."]
    lines += ["Don't edit it. Of many servers behind one endpoint there is [another page](performance-many.md).", ""]
    told, _ = verdict(ways, results)
    lines += [told[0] + " " + told[1], "", *(f"* {line}" for line in told[2:]), "", disturbance(results), ""]
    lines += _summary(ways, results)
    lines += _memory(ways, results)
    lines += ["## All figures", ""]
    for way in ways:
        lines += _way(way, results)
    lines += ["## Machine and versions", "", *machine()]
    lines += [f"* {name} {version}" for name, version in versions.items()]
    lines += ["", "## Method", "", METHOD.format(rounds=rounds, round=0.5)]
    Path(place).write_text("\n".join(lines).rstrip() + "\n")
