"""`make run`, as somebody does it who has just cloned the repository."""

import os
import signal
import subprocess
from pathlib import Path

from tests.cli.test_command import ISTHMUS, ROOT, isthmus
from tests.conformance.processes import free_port, wait_for_port


def test_make_run_serves_the_example_until_ctrl_c() -> None:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    process = subprocess.Popen(
        ["make", "run", f"HTTP=127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
        start_new_session=True, env=environment,
    )  # fmt: skip
    try:
        wait_for_port(port, process)
        done = isthmus("check", f"http://127.0.0.1:{port}/mcp")
        assert done.returncode == 0, done.stderr
        assert "modern   yes" in done.stdout
        assert "legacy   yes" in done.stdout
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=15)[0].decode()
    finally:
        process.kill()
        process.wait()
    assert f"http://127.0.0.1:{port}/mcp" in said
    assert "claude mcp add" in said
    assert "Traceback" not in said
    assert _processes_of_group(process.pid) == []
    assert Path(ISTHMUS).exists()


def _processes_of_group(group: int) -> list[int]:
    done = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return [int(pid) for pid, pgid, state in rows if int(pgid) == group and not state.startswith("Z")]
