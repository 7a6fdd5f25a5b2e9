"""docs/reference/configuration.md says of each key what the table of keys says."""

import re
from typing import Final

import pytest

from isthmus.config import keys
from isthmus.config.kinds import Key, Record, Text
from isthmus.config.variables import Variables
from tests.conformance.processes import ROOT

PAGE: Final = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
SECTIONS: Final = {
    "The file": keys.TOP,
    "A server": keys.SERVER,
    "`isthmus` inside a server": keys.OWN,
    "`isthmus` at the top": keys.OWN_TOP,
    "`tools`, `prompts` and `resources`": keys.TOOLS,
    "An item": keys.TOOL,
    "An argument": keys.ARGUMENT,
    "Inputs": keys.INPUT,
}


def row(name: str, key: Key) -> str:
    kind = key.kind
    takes = ", ".join(f"`{each}`" for each in kind.one_of) if isinstance(kind, Text) and kind.one_of else kind.words
    return f"| `{name}` | {takes} | {key.doc} |"


def section(heading: str) -> str:
    (found,) = re.findall(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_table_has_each_key(heading: str) -> None:
    record: Record = SECTIONS[heading]
    said = [line for line in section(heading).splitlines() if line.startswith("| `")]
    assert said == [row(name, key) for name, key in record.keys.items()]


def test_keys_of_others_are_told() -> None:
    said = [line for line in section("Keys of other programs").splitlines() if line.startswith("| `")]
    assert said == [
        f"| `{name}` | {foreign.whose} | {foreign.warning} |"
        for name, foreign in keys.SERVER.foreign.items()
        if foreign.warning and name not in keys.SERVER.keys
    ]
    silent = {name for name, foreign in keys.SERVER.foreign.items() if not foreign.warning}
    assert silent <= set(re.findall(r"`(\w+)`", section("Keys of other programs")))


def test_what_has_one_table_is_the_same() -> None:
    assert list(keys.PROMPTS.keys) == list(keys.RESOURCES.keys) == list(keys.TOOLS.keys)
    assert set(keys.ITEM.keys) < set(keys.TOOL.keys)


def test_limits_that_are_not_a_server_s() -> None:
    assert ", ".join(f"`{each}`" for each in keys.FRONT_LIMITS) in " ".join(PAGE.split())


def test_what_is_put_in_for_editors() -> None:
    known = set(re.findall(r"`\$\{(\w+|/)\}`", section("Variables"))) - {"NAME"}
    variables = Variables({}, "/x")
    assert known == {"workspaceFolder", "workspaceFolderBasename", "userHome", "pathSeparator", "/"}
    assert all(variables.known(each) for each in known)
