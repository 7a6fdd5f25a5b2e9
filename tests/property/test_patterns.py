"""What an entry means is what naive ways to match it say, tried one after the other."""

import re
from fnmatch import fnmatchcase
from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus.routing.choice import Part, judge_of
from isthmus.routing.spelling import readings

_EXPRESSION = re.compile(r"\{([+#./;?&]?)[^{}]*\}")
_PIECES = [
    "a",
    "B",
    "ab",
    "/",
    "?",
    "*",
    "[ab]",
    "[!a]",
    "[]a]",
    "[",
    "]",
    "[]",
    "[!]",
    "-",
    "{",
    "{x}",
    "{+x}",
    "{?a,b}",
]
_ENTRIES = st.lists(st.sampled_from(_PIECES), max_size=6).map("".join)
_TEXTS = st.text("aAbB/?-{}[]!", max_size=7)


def expands(template: str, text: str) -> bool:
    """Whether a text is an expansion, as a regular expression has it that tries all ways."""
    form, at = "", 0
    for found in _EXPRESSION.finditer(template):
        form += re.escape(template[at : found.start()]) + (".*" if found[1] else "[^/?#]*")
        at = found.end()
    return at > 0 and re.fullmatch(form + re.escape(template[at:]), text, re.DOTALL) is not None


def means(entry: str, text: str) -> bool:
    return entry == text or fnmatchcase(text, entry) or expands(entry, text)


def in_either_case(text: str) -> set[str]:
    return set(map("".join, product(*({each, each.swapcase()} for each in text))))


@settings(max_examples=1500, deadline=None)
@given(entries=st.lists(_ENTRIES, max_size=3), text=_TEXTS)
@example(entries=["{+x}a{x}b"], text="a/ab")
@example(entries=["{x}{+y}b"], text="a/b")
def test_names(entries: list[str], text: str) -> None:
    is_meant = any(means(entry, text) for entry in entries)
    assert judge_of(Part(allow=tuple(entries)))(text) == is_meant
    assert judge_of(Part(deny=tuple(entries)))(text) != is_meant


@settings(max_examples=1500, deadline=None)
@given(
    scheme=st.sampled_from(["d:", "D:", "?:", "[a-d]:", "*", "{s}:", "{+x}"]),
    entry=_ENTRIES,
    host=st.text("aAbB-", max_size=3),
    rest=st.one_of(
        st.just(""), st.text("aAbB/-", max_size=3).map("/".__add__), st.text("aAB", max_size=3).map("?".__add__)
    ),
)
@example(scheme="*", entry="B", host="ab", rest="")
@example(scheme="*", entry="/B", host="a", rest="/b")
def test_uris_are_allowed_as_they_are_spelled_and_denied_with_their_heads_in_either_case(
    scheme: str, entry: str, host: str, rest: str
) -> None:
    for whole in (f"{scheme}//{entry}", f"{scheme}{entry}"):
        uri = f"d://{host}{rest}"
        assert judge_of(Part(allow=(whole,)), is_uri=True)(uri) == means(whole, uri)
        if "[!" in whole:  # which is neither case then
            continue
        spelled = [head + rest for head in in_either_case(f"d://{host}")]
        is_denied = any(fnmatchcase(each, whole) or expands(whole, each) for each in spelled)
        is_shown = judge_of(Part(deny=(whole,)), is_uri=True)(uri)
        is_opened_otherwise = any(readings(each)[-1] != each for each in (uri, whole))
        assert is_shown != is_denied or (not is_shown and is_opened_otherwise)
