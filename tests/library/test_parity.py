"""Three programs written for FastMCP 2.11.3's proxy, each run under it and under this library: the import lines are the
only difference, and they print the same."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.library.test_seed import SMALL, script_of

PROGRAMS = Path(__file__).parent / "programs"
PYTHONS = {
    "fastmcp": str(Path(__file__).parents[2] / ".venvs" / "fastmcp2" / "bin" / "python"),
    "isthmus": sys.executable,
}
"""FastMCP has an environment of its own (`tests/environments/make.py`)."""


def printed(library: str, program: str, folder: Path) -> list[str]:
    """What a program prints when a library is put in for LIBRARY; nothing else is changed."""
    source = (PROGRAMS / f"{program}.txt").read_text(encoding="utf-8")
    lines = source.splitlines()
    assert all(line.startswith("from LIBRARY") for line in lines if "LIBRARY" in line)
    path = folder / f"{program}_{library}.py"
    path.write_text(source.replace("from LIBRARY", f"from {library}"), encoding="utf-8")
    small = script_of(folder / "small.py", SMALL)
    run = subprocess.run(
        [PYTHONS[library], str(path), str(small)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize(("program", "lines"), [("client", 38), ("proxy", 34), ("handlers", 46)])
def test_a_program_prints_the_same_under_both(program: str, lines: int, tmp_path: Path) -> None:
    ours = printed("isthmus", program, tmp_path)
    assert ours == printed("fastmcp", program, tmp_path)
    assert len(ours) == lines
