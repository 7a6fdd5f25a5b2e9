"""What `${…}` becomes, and whether it counts as a secret."""

import pytest

from isthmus.config.document import of_mapping
from isthmus.config.keys import SERVER
from isthmus.config.variables import Input, Variables

KEY = Input(id="my key", default="d")


@pytest.mark.parametrize(
    ("text", "value", "is_secret"),
    [
        ("plain $A {A} ${A", "plain $A {A} ${A", False),
        ("${A}", "a", True),
        ("<${A}${env:A}>", "<aa>", True),
        ("${EMPTY}", "", True),
        ("${EMPTY:-d}", "d", True),
        ("${NONE:-d:-e}", "d:-e", True),
        ("${NONE:-}", "", True),
        ("${env:NONE:-d}", "d", True),
        ("${env:ODD (x86)}", "odd", True),
        ("$${A} $$$${A}", "${A} $$${A}", False),
        ("${NESTED}", "${A}", True),
        ("$${A:-${A}} $${A:-$${A}}", "${A:-a} ${A:-${A}}", True),
        ("${{ A }} {${A}} ${ {}", "${{ A }} {a} ${ {}", True),
        ("${workspaceFolder}${/}x", "/p/x", False),
        ("${input:my key}", "d", True),
    ],
)
def test_forms(text: str, value: str, is_secret: bool) -> None:
    environ = {"A": "a", "EMPTY": "", "NESTED": "${A}", "ODD (x86)": "odd"}
    variables = Variables(environ, "/p", inputs={"my key": KEY})
    found = variables.fill(of_mapping({"command": text}), SERVER).value["command"]
    assert (found.value, found.is_secret) == (value, is_secret)


def test_the_environment_answers_an_input_before_anybody_is_asked() -> None:
    asked: list[str] = []

    def ask(wanted: Input) -> str | None:
        asked.append(wanted.id)
        return {"a": "typed"}.get(wanted.id)

    inputs = {each: Input(id=each, default="default") for each in ("a", "b", "my-c")}
    variables = Variables({"INPUT_MY_C": "set"}, inputs=inputs, ask=ask)
    node = of_mapping({"args": ["${input:a}", "${input:b}", "${input:my-c}", "${input:a}"]})
    assert variables.fill(node, SERVER).plain() == {"args": ["typed", "default", "set", "typed"]}
    assert asked == ["a", "b"]


def test_only_values_are_filled() -> None:
    """Names, patterns and descriptions stay as they are."""
    node = of_mapping(
        {"isthmus": {"prefix": "${A}", "tools": {"allow": ["${A}"], "items": {"${A}": {"rename": "${A}"}}}}}
    )
    assert Variables({}).fill(node, SERVER) == node
