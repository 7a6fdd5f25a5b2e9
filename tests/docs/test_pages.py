"""What pages say of the code is compared with the code: options, limits, rooms, files, the machine; links lead on."""

import argparse
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

from isthmus.cli import main
from isthmus.limits import Limits
from tests.conformance.processes import ROOT
from tests.docs.pages import PAGES, blocks_in, name_of, prose

SOURCE: Final = ROOT / "src" / "isthmus"
UNITS: Final = {"": 1, "s": 1, "min": 60, "MiB": 1 << 20}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The rows of all tables of a page, as cells."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def commands() -> dict[str, argparse.ArgumentParser]:
    parser = main._parser()
    (chosen,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(chosen.choices)


def test_the_reference_has_every_option_of_every_command() -> None:
    """docs/reference/command.md: which options there are, whose they are, and their defaults."""
    said: dict[str, set[str]] = {}
    defaults: dict[str, str] = {}
    for cells in rows(page("docs/reference/command.md")):
        for option in re.findall(r"`(--[\w-]+)", cells[0]) if len(cells) == 4 else ():
            said[option] = set(commands()) if cells[1] == "all" else set(cells[1].split(", "))
            defaults[option] = cells[3]
    there: dict[str, set[str]] = {}
    for name, parser in commands().items():
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--"):
                    there.setdefault(option, set()).add(name)
                    if isinstance(action.default, str | int) and action.default not in (False, argparse.SUPPRESS):
                        assert defaults.get(option) == f"`{action.default}`", option
    assert said == there
    assert defaults["--timeout"] == f"{Limits().call:g}"


def test_no_page_names_an_option_that_there_is_not() -> None:
    known = {option for parser in commands().values() for each in parser._actions for option in each.option_strings}
    pages = [path for path in PAGES if path.name != "performance.md"]  # which names its peers' options
    strange = {(name_of(path), option) for path in pages for option in re.findall(r"`(--[a-z-]+)\b", prose(path))}
    assert {each for each in strange if each[1] not in known | {"--version"}} == set()


def test_readme_has_every_command() -> None:
    table = [cells[0] for cells in rows(page("README.md"))]
    assert [name for name in commands() if not any(f"`isthmus {name} " in cell for cell in table)] == []


def test_the_limits_are_all_told() -> None:
    """docs/topics/limits.md: each field of `Limits`, with its default."""
    told = {cells[0].strip("`"): cells[1] for cells in rows(page("docs/topics/limits.md"))[1:]}
    numbers: dict[str, float] = {}
    for name, default in told.items():
        match = re.match(r"([\d,]+)\s?(s\b|min\b|MiB\b|)", default)
        assert match is not None, (name, default)
        numbers[name] = int(match[1].replace(",", "")) * UNITS[match[2]]
    assert numbers == {each.name: each.default for each in fields(Limits)}


def test_the_rooms_are_those_of_the_import_contract() -> None:
    """docs/design.md has the layers of pyproject.toml, in their order."""
    drawn = [re.split(r"\s{2,}", line)[0] for line in blocks_in(page("docs/design.md")).splitlines()]
    contracts = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    assert [re.sub(r"\.py|/", "", each) for each in drawn] == [
        layer.replace("isthmus.", "") for layer in layers if layer != "isthmus.__main__"
    ]


def test_the_dependencies_are_all_explained() -> None:
    """docs/design.md says of each why it and not its rivals."""
    needed = {re.split(r"[>;]", each)[0] for each in tomllib.loads(page("pyproject.toml"))["project"]["dependencies"]}
    explained = {cells[0].strip("`") for cells in rows(page("docs/design.md").split("## Dependencies")[1])}
    assert needed == explained - {"package"}


def test_nothing_seals_before_a_call_is_parked() -> None:
    """docs/design.md: cryptography is loaded with the first state that is sealed or opened."""
    script = (
        "import sys, isthmus.run, isthmus.engine.visiting, isthmus.engine.asking; print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ["docs/life-of-a-call.md", "docs/design.md"])
def test_files_and_names_that_are_named_are_there(name: str) -> None:
    """`engine/express.py`, `pool/policy.decide`: a file of the package, and what is defined in it."""
    files = {each.relative_to(SOURCE).as_posix(): each for each in SOURCE.rglob("*.py")}
    for code in re.findall(r"`((?:\w+/)*\w+\.(?:py|\w+))`", page(name)):
        stem, _, word = code.partition(".")
        found = [path for each, path in files.items() if f"/{each}".endswith(f"/{stem}.py")]
        if word == "py":
            assert found or (ROOT / code).exists(), code
        elif found:
            text = "".join(path.read_text(encoding="utf-8") for path in found)
            assert re.search(rf"\b(?:def|class) {word}\b|^{word}\b", text, re.MULTILINE), code


def test_the_machines_are_drawn_from_their_tables() -> None:
    """docs/reference/exchange.md."""
    command = [sys.executable, str(ROOT / "tools" / "draw_exchange.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in link:
            place, _, anchor = link.partition("#")
            there = (path.parent / place).resolve() if place else path
            assert there.is_file(), link
            assert not anchor or anchor in anchors(there), link


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#\s]+)", page("README.md")))
    drawn = re.findall(r"\]\((python/[^)#]+)", page("docs/reference/python.md"))
    linked |= {f"docs/reference/{each}" for each in drawn}
    assert {name_of(path) for path in PAGES[1:]} == linked
