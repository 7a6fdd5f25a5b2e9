"""CPU time and memory of a proxy with all of its processes, except the backs that it has started."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from harness import BenchError

BACK = b"\0-I\0-S\0"
"""In the command of the stdio back's interpreter, and of nothing else that is measured."""


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _is_back(pid: int) -> bool:
    try:
        return BACK in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True


def family(pid: int) -> list[int]:
    """A process and its descendants, without the backs among them; a proxy's own command may name its back."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := _parent(int(entry))) is not None:
            children.setdefault(parent, []).append(int(entry))
    found, waiting = [pid], [pid]
    while waiting:
        fresh = [child for child in children.get(waiting.pop(), ()) if not _is_back(child)]
        found += fresh
        waiting += fresh
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a proxy, to the nanosecond: the kernel's process clocks, not its ticks."""
    return cpu_of(family(pid))


def cpu_of(members: list[int]) -> float:
    """The same of a `family`."""
    total = 0.0
    for member in members:
        try:
            total += time.clock_gettime((~member << 3) | 2)  # linux: CPUCLOCK_SCHED of another process
        except OSError as error:
            if member == members[0]:
                raise BenchError(f"the process {member} that was measured is gone") from error
    return total


def _status(pid: int, name: str) -> int:
    total = 0
    for member in family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found = re.search(rf"{name}:\s*(\d+) kB", Path(f"/proc/{member}/status").read_text())
            total += int(found[1]) * 1024 if found else 0
    return total


def resident_bytes(pid: int) -> int:
    """What a proxy holds in memory now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most that each of a proxy's processes has held since `forget_peaks`, added up."""
    return _status(pid, "VmHWM")


def forget_peaks(pid: int) -> None:
    for member in family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            Path(f"/proc/{member}/clear_refs").write_text("5")
