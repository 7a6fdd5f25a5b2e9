"""Makes what the peers run in, each alone: `.venvs/bench-NAME` from `environments/NAME.txt`, and `node_modules`.

What was made from the same file by the same interpreter is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness import BENCH, BenchError

FILES = BENCH / "environments"
STAMP = ".made-from"
PATIENCE = 600


def _run(command: list[str]) -> str:
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command, env={**os.environ, "PATH": search}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def _made_once(folder: Path, source: Path) -> bool:
    """Whether the folder was made from this source already; else it is emptied."""
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text() == _digest(source):
        return True
    print(f"making {folder.relative_to(BENCH.parent)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _digest(source: Path) -> str:
    return hashlib.sha256(sys.version.encode() + source.read_bytes()).hexdigest()


def python_environment(name: str) -> Path:
    """The folder of executables of the environment of a PyPI peer, made if need be.

    Raises `BenchError` when it cannot be made.
    """
    source = FILES / f"{name}.txt"
    folder = BENCH.parent / ".venvs" / f"bench-{name}"
    if not _made_once(folder, source):
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "install", "--requirement", str(source)])
        (folder / STAMP).write_text(_digest(source))
    return folder / "bin"


def node_environment() -> Path:
    """The folder of executables of the npm peers, made if need be; raises `BenchError` when it cannot be."""
    source = FILES / "package-lock.json"
    folder = FILES / "node_modules"
    if not _made_once(folder, source):
        _run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", str(FILES)])
        (folder / STAMP).write_text(_digest(source))
    return folder / ".bin"


def python_version(executables: Path, package: str) -> str:
    """The version of a package that is installed in an environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return _run([str(executables / "python"), "-c", code]).strip()
