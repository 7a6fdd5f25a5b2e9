"""Many calls parked at once: all resumed correctly, at a bounded cost each."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("parked_memory.py")
BYTES = 20 * 1024
"""For a parked call, its session's half in the proxy included; what a session costs the back is the back's own."""


def test_a_thousand_calls_of_a_hundred_clients() -> None:
    """Each gets its own question, and its own answer back; `parked_memory.py` checks that."""
    done = subprocess.run([sys.executable, SCRIPT, "1000", "100"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    print("1,000 parked calls, bytes each, seconds to park and to resume:", cost)
    assert cost["bytes"] <= BYTES
