"""Many calls parked at once: all resumed correctly, at a bounded cost each."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("parked_memory.py")
BENCH = Path(__file__).parents[2] / "bench" / "crossings.py"
BYTES = 20 * 1024
"""For a parked call, its session's half in the proxy included; what a session costs the back is the back's own."""


def test_a_thousand_calls_of_a_hundred_clients() -> None:
    """Each gets its own question, and its own answer back; `parked_memory.py` checks that."""
    done = subprocess.run([sys.executable, SCRIPT, "1000", "100"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    print("1,000 parked calls, bytes each, seconds to park and to resume:", cost)
    assert cost["bytes"] <= BYTES


def test_crossings_cost_no_multiple() -> None:
    """Generous bounds for a busy machine; `bench/crossings.py` measures what is promised."""
    done = subprocess.run([sys.executable, BENCH, "--brief"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    ratios = json.loads(done.stdout)
    print("crossings beside straight paths, and a session for each request beside one for each client:", ratios)
    assert ratios["legacy front, modern back"] > 0.4
    assert ratios["modern front, legacy back"] > 0.2
    assert ratios["isolation"] < 6
