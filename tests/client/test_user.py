"""The program of a user; that it type-checks strictly is a gate's to say."""

import subprocess
import sys

from tests.conformance.processes import ROOT


def test_it_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.client.user"],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
