"""Shell patterns and templates, any number of them judged together in one pass over a text.

A regular expression tries one way to divide the text among its gaps after the other: with three of them that is cubic
in the length of a text that a client chose. Here all ways are followed at once. Every place in a pattern, before each
of its characters and at its end, is a bit; the bits that are set are the places where what was read of the text can
have led. A character moves them: from a place whose own character it is to the next one, and a gap keeps the place
that it is at. So a text takes one step for each of its characters, whatever the patterns are. (Baeza-Yates and
Gonnet's Shift-And.)
"""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import lru_cache
from typing import Final

# A pattern is a sequence of characters that mean themselves and of these: the gaps, any one character, and regular
# expressions for one character, which are longer than it.
ANYTHING: Final = ".*"
SEGMENT: Final = "[^/?#]*"
ONE: Final = "(.)"

_NO_SEGMENT: Final = frozenset("/?#")
_CHARACTERS_KEPT: Final = 1024


def of_shell(mark: str) -> str:
    """What a shell pattern's `*`, `?` or `[…]` is in a pattern."""
    return ANYTHING if mark == "*" else ONE if mark == "?" else translate(mark)


def of_template(expression: str) -> str:
    """What an expression of a template (RFC 6570) is in a pattern: with an operator it may become anything."""
    return ANYTHING if expression[1] in "+#./;?&" else SEGMENT


def matcher(patterns: Iterable[Iterable[str]]) -> Callable[[str, int], bool]:
    """Whether a text is what any of the patterns means, as a function of it and its head.

    The head is how many of its first characters may as well be in the other case.
    """
    starts = ends = anything = segment = one = 0
    own: dict[str, int] = {}
    sets: dict[str, int] = {}
    place = 1
    for pattern in patterns:
        starts |= place
        for part in pattern:
            if part == ANYTHING:
                anything |= place
            elif part == SEGMENT:
                segment |= place
            else:
                if part == ONE:
                    one |= place
                else:
                    known = own if len(part) == 1 else sets
                    known[part] = known.get(part, 0) | place
                place <<= 1
        ends |= place
        place <<= 1
    segment |= anything
    settled = ends & anything

    compiled = [(re.compile(each), re.compile(each, re.IGNORECASE), places) for each, places in sets.items()]

    @lru_cache(_CHARACTERS_KEPT)
    def moved_by(character: str) -> int:
        return one | own.get(character, 0) | sum(places for takes, _, places in compiled if takes.match(character))

    @lru_cache(_CHARACTERS_KEPT)
    def moved_in_head(character: str) -> int:
        moved = one | own.get(character, 0) | own.get(character.swapcase(), 0)
        return moved | sum(places for _, takes, places in compiled if takes.match(character))

    def is_meant(text: str, head: int) -> bool:
        state = starts
        for at, character in enumerate(text):
            moved = moved_in_head(character) if at < head else moved_by(character)
            state = (state & moved) << 1 | state & (anything if character in _NO_SEGMENT else segment)
            if not state or state & settled:
                break
        return state & ends != 0

    return is_meant
