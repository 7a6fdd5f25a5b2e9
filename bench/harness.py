"""What the benches share: child processes that never outlive them, pinned to a core, and their CPU time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

BENCH = Path(__file__).resolve().parent
ISTHMUS = Path(sys.executable).parent / "isthmus"
PACKAGES = ("nginx", "libnginx-mod-http-lua", "wrk")
MODULES = Path("/usr/lib/nginx/modules")
TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The measurement is not valid, or could not be made; the message says why."""


class Interrupted(Exception):
    """A signal asked the bench to stop."""


def two_cores() -> tuple[int, int]:
    """The core of load and back, and the core which the proxy has for itself."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the proxy alone, one for the load and the back")
    return cores[0], cores[-1]


def missing_packages() -> list[str]:
    needs = {
        "nginx": shutil.which("nginx") is not None,
        "libnginx-mod-http-lua": (MODULES / "ngx_http_lua_module.so").exists(),
        "wrk": shutil.which("wrk") is not None,
    }
    return [name for name in PACKAGES if not needs[name]]


def install_packages() -> None:
    """Install what is missing when we may, else say what to install."""
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BenchError(f"install the Debian packages {' '.join(missing)} first (as root: apt-get install)")
    print(f"installing {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "-y", "install", *PACKAGES]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise BenchError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    if "nginx" in missing and Path("/run/nginx.pid").exists():  # the package starts its own server: not ours to leave
        subprocess.run(["nginx", "-s", "stop"], capture_output=True, timeout=30, check=False)
    if missing_packages():
        raise BenchError(f"{' '.join(missing_packages())} still missing after the installation")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads, its descendants and those of them already gone."""
    parents: dict[int, list[int]] = {}
    times: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            parents.setdefault(int(fields[1]), []).append(int(entry))
            times[int(entry)] = sum(int(ticks) for ticks in fields[11:15])
    if pid not in times:
        raise BenchError(f"the process {pid} that was measured is gone")
    total, family = 0, [pid]
    while family:
        member = family.pop()
        total += times[member]
        family += parents.get(member, [])
    return total / TICKS


def idle_seconds(core: int) -> float:
    """How long a core has done nothing."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line.split() for line in lines if line.startswith(f"cpu{core} "))
    return (int(fields[4]) + int(fields[5])) / TICKS


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a child that leads its own process group, and whatever it left in the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number).name)


class Stage:
    """A temporary folder and the processes started in it; both are gone when the block is left, however it is left."""

    def __init__(self) -> None:
        self._lock = os.open(BENCH, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise BenchError("another bench of this checkout is running: they would measure each other") from error
        self.folder = Path(tempfile.mkdtemp(prefix="isthmus-bench-"))
        self.folder.chmod(0o711)  # nginx's workers are not root
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Stage:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for process in reversed(self._processes):
            stop_group(process)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    def start(self, name: str, command: Sequence[str], core: int) -> subprocess.Popen[bytes]:
        """Start a long-lived child pinned to `core`; it is also ended by the kernel if we are killed."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def pipe(self, command: Sequence[str], name: str = "pipe") -> subprocess.Popen[bytes]:
        """Start a child spoken to over its stdio; `name` is for its log; end it with `drop`."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def drop(self, process: subprocess.Popen[bytes]) -> None:
        stop_group(process)
        self._processes.remove(process)

    def log(self, name: str) -> str:
        """The end of what a child said, for an error message."""
        texts = [
            path.read_text(errors="replace").strip()[-1500:]
            for path in (self.folder / f"{name}.log", self.folder / f"{name}.err")
            if path.exists()
        ]
        return "\n".join(text for text in texts if text) or "(it said nothing)"
