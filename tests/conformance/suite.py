"""Runs the official conformance suite and reads what it found from its own results."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
NODE_DIR = HERE.parent / "node"
NODE = Path(sys.executable).parent / "node"
PACKAGE = NODE_DIR / "node_modules" / "@modelcontextprotocol" / "conformance"
PRELOAD = HERE / "revision_2025_06_18.mjs"

Role = Literal["server", "client"]
RESULT_DIR = re.compile(r"^(?:server-)?(?P<scenario>.+)-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z$")
OLD_REVISION = "2025-06-18"
OLD_REVISION_RUNS_WITH = "2025-11-25"
SUITE_TIMEOUT = 110
# The suite lists these for 2026-07-28 and skips them itself: no client of that revision sends them.
NOT_SENT = re.compile(r"Client did not send a (initialize|notifications/initialized) request;")


@dataclass(frozen=True)
class Check:
    id: str
    status: str
    message: str


@dataclass
class Report:
    """What one run of the suite found, by scenario."""

    role: Role
    revision: str
    expected: Sequence[str]
    checks: dict[str, list[Check]]
    exit_status: int
    output: str
    stdout: dict[str, str] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)

    def problems(self) -> list[str]:
        found: list[str] = []
        for scenario in self.expected:
            checks = self.checks.get(scenario)
            if checks is None:
                found.append(f"{scenario}: did not run")
                continue
            if not any(check.status == "SUCCESS" for check in checks if check.id != "wire-schema-valid"):
                found.append(f"{scenario}: nothing was checked")
            bad = [c for c in checks if c.status not in ("SUCCESS", "INFO") and not NOT_SENT.match(c.message)]
            found += [f"{scenario}: {check.id}: {check.status} {check.message}" for check in bad]
        return found

    def demand(self) -> None:
        problems = self.problems()
        # For 2025-06-18 there is no requirement set: the exit status counts scenarios that are not scored, too.
        if problems or (self.exit_status != 0 and self.revision != OLD_REVISION):
            tail = "\n".join(self.output.splitlines()[-60:])
            lines = "\n".join(problems)
            raise AssertionError(
                f"{self.role} role of {self.revision}: {len(problems)} problems, "
                f"the suite's exit status is {self.exit_status}\n{lines}\n\n{tail}"
            )

    def ids(self) -> dict[str, Counter[str]]:
        return {name: Counter(check.id for check in self.checks.get(name, [])) for name in self.expected}

    def passed_ids(self) -> dict[str, set[str]]:
        """The same without the suite's log entries, whose number is the number of requests."""
        return {name: {c.id for c in self.checks.get(name, []) if c.status == "SUCCESS"} for name in self.expected}

    def passed(self) -> int:
        return sum(check.status == "SUCCESS" for name in self.expected for check in self.checks.get(name, []))

    def summary(self) -> str:
        bad = {problem.split(":", 1)[0] for problem in self.problems()}
        good = sum(name not in bad for name in self.expected)
        return f"{self.revision} {self.role}: {good} of {len(self.expected)} scenarios, {self.passed()} checks"


def scored(revision: str, role: Role) -> list[str]:
    """The scenarios the suite's own requirement file scores for a revision."""
    names: list[str] = []
    section = None
    for line in (PACKAGE / "requirements" / f"{revision}.yaml").read_text().splitlines():
        if line.endswith(":") and not line.startswith((" ", "#")):
            section = line[:-1]
        elif section == role and line.startswith("  - "):
            names.append(line[4:].strip())
    return names


def scored_for_old_revision() -> list[str]:
    """Those of 2025-11-25's scored server scenarios that the suite says apply to 2025-06-18 too."""
    listing = _run(["list", "--server", "--spec-version", OLD_REVISION]).stdout
    applicable = set(re.findall(r"^  - (\S+)", listing, re.MULTILINE))
    return [name for name in scored(OLD_REVISION_RUNS_WITH, "server") if name in applicable]


def run_server_suite(url: str, requirements: str) -> Report:
    """Run all scenarios a revision requires of the server at `url`."""
    with _results() as results:
        notes = results / "notes.jsonl"
        env: dict[str, str] = {}
        if requirements == OLD_REVISION:
            expected = scored_for_old_revision()
            which = ["--suite", "all", "--spec-version", OLD_REVISION]
            env = {"NODE_OPTIONS": f"--import={PRELOAD.as_uri()}", "CONFORMANCE_WIRE_NOTES": str(notes)}
        else:
            expected = scored(requirements, "server")
            which = ["--requirements", requirements]
        done = _run(["server", "--url", url, *which, "--output-dir", str(results)], env)
        report = _report("server", requirements, expected, done, results)
        if notes.exists():
            report.notes = [json.loads(line) for line in notes.read_text().splitlines()]
        return report


def run_server_scenario(url: str, scenario: str, revision: str) -> Report:
    """Run one scenario against the server at `url`, scored or not."""
    with _results() as results:
        args = ["--url", url, "--scenario", scenario, "--spec-version", revision, "--output-dir", str(results)]
        return _report("server", revision, [scenario], _run(["server", *args]), results)


def run_client_suite(command: Sequence[str], scenario: str, revision: str) -> Report:
    """Run one scenario against a client command, to which the suite adds its server's URL."""
    env = {"PYTHONPATH": str(HERE.parent)}
    with _results() as results:
        args = ["client", "--command", shlex.join(command), "--scenario", scenario]
        # A requirement set's own membership outranks a scenario's window, as in the suite's `--requirements`.
        done = _run([*args, "--spec-version", revision, "--force", "--output-dir", str(results)], env)
        return _report("client", revision, [scenario], done, results)


def old_revision_problems(report: Report) -> list[str]:
    """Whether 2025-06-18 was really spoken, from what the preload saw on the wire."""
    answers = [note["negotiated"] for note in report.notes if "negotiated" in note]
    initialized = sum(note.get("sent") == "initialize" for note in report.notes)
    later = [note for note in report.notes if note.get("sent") not in (None, "initialize")]
    problems = [f"unread answer: {note['failed']}" for note in report.notes if "failed" in note]
    if not answers or len(answers) != initialized:
        problems.append(f"{initialized} initialize requests, {len(answers)} answers")
    problems += [f"negotiated {version}" for version in answers if version != OLD_REVISION]
    problems += [f"{note['sent']} with header {note['header']}" for note in later if note["header"] != OLD_REVISION]
    return problems


@contextmanager
def _results() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        yield Path(directory)


def reference_client(*options: str) -> list[str]:
    return [sys.executable, "-m", f"{HERE.name}.client", *options]


def _run(args: Sequence[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    if not PACKAGE.exists():
        raise FileNotFoundError(f"{PACKAGE}: run `npm ci --prefix tests/node` with the virtual environment's npm")
    command = [str(NODE), str(PACKAGE / "dist" / "index.js"), *args]
    return subprocess.run(
        command,
        env=os.environ | {"NO_COLOR": "1"} | (env or {}),
        capture_output=True,
        text=True,
        timeout=SUITE_TIMEOUT,
        check=False,
    )


def _report(
    role: Role, revision: str, expected: Sequence[str], done: subprocess.CompletedProcess[str], results: Path
) -> Report:
    report = Report(role, revision, expected, {}, done.returncode, done.stdout + done.stderr)
    for directory in sorted(results.iterdir()):
        match = RESULT_DIR.match(directory.name)
        written = directory / "checks.json"
        if match is None or not written.exists():
            continue
        found = [
            Check(check["id"], check["status"], check.get("errorMessage") or "")
            for check in json.loads(written.read_text())
        ]
        report.checks[match["scenario"]] = found
        if (directory / "stdout.txt").exists():
            report.stdout[match["scenario"]] = (directory / "stdout.txt").read_text()
    return report
