"""Strategies for JSON as text, spelled in every legal way, and an independent tokenizer to compare with."""

import re
from typing import Final

from hypothesis import strategies as st

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')

_ESCAPED = st.sampled_from(
    ["\\n", "\\/", "\\\\", '\\"', "\\u0061", "\\u00e9", "\\ud83d\\ude00", "\\ud800", "\\udfff", "\\u0000", "\\b"]
)
_PLAIN = st.text(
    st.characters(min_codepoint=0x20, exclude_characters='"\\', exclude_categories=["Cs"]), min_size=0, max_size=6
)
STRINGS = st.lists(st.one_of(_PLAIN, _ESCAPED), max_size=4).map(lambda parts: '"' + "".join(parts) + '"')
NUMBERS = st.sampled_from(
    ["0", "-0", "1", "1.0", "1e2", "1E+2", "1e-2", "-1.50", "1e400", "123456789012345678901234567890", "0.1e1"]
)
SPACES = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n", "  "])
SCALARS = st.one_of(STRINGS, NUMBERS, st.sampled_from(["true", "false", "null"]))


def _array(items: list[str], space: str) -> str:
    return "[" + space + f"{space},{space}".join(items) + space + "]"


def _object(members: list[tuple[str, str]], space: str) -> str:
    return (
        "{" + space + f"{space},{space}".join(f"{name}{space}:{space}{value}" for name, value in members) + space + "}"
    )


VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(
        st.builds(_array, st.lists(below, max_size=3), SPACES),
        st.builds(_object, st.lists(st.tuples(STRINGS, below), max_size=3), SPACES),
    ),
    max_leaves=8,
)
OBJECTS = st.builds(_object, st.lists(st.tuples(STRINGS, VALUES), max_size=4), SPACES)


def write_object(members: list[tuple[str, str]], space: str) -> str:
    """A JSON object's text from its members' texts."""
    return _object(members, space)


def tokens(text: bytes) -> list[bytes]:
    """The tokens of a JSON text, as spelled."""
    return _TOKEN.findall(text)
