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
from typing import Final

# A pattern is a sequence of characters that mean themselves and of these: the gaps, and regular expressions for one
# character, which are longer than it.
ANYTHING: Final = ".*"
SEGMENT: Final = "[^/?#]*"

_NO_SEGMENT: Final = frozenset("/?#")
_ASCII: Final = tuple(map(chr, range(128)))


def of_shell(mark: str) -> str:
    """What a shell pattern's `*`, `?` or `[…]` is in a pattern."""
    return ANYTHING if mark == "*" else translate(mark)


def of_template(expression: str) -> str:
    """What an expression of a template (RFC 6570) is in a pattern: with an operator it may become anything."""
    return ANYTHING if expression[1] in "+#./;?&" else SEGMENT


def matcher(patterns: Iterable[Iterable[str]]) -> Callable[[str, int], bool]:
    """Whether a text is what any of the patterns means, as a function of it and its head.

    The head is how many of its first characters may as well be in the other case.
    """
    starts = ends = anything = segment = 0
    own: dict[str, int] = {}
    others: list[tuple[Callable[[str], object], int]] = []
    place = 1
    for pattern in patterns:
        starts |= place
        for part in pattern:
            if part == ANYTHING:
                anything |= place
            elif part == SEGMENT:
                segment |= place
            else:
                if len(part) == 1:
                    own[part] = own.get(part, 0) | place
                else:
                    others.append((re.compile(part).match, place))
                place <<= 1
        ends |= place
        place <<= 1
    segment |= anything
    settled = ends & anything

    def moved_by(character: str) -> int:
        return own.get(character, 0) | sum(bit for takes, bit in others if takes(character))

    moves = {character: moved_by(character) for character in (*own, *_ASCII)}

    def is_meant(text: str, head: int) -> bool:
        state = starts
        for at, character in enumerate(text):
            moved = moves[character] if character in moves else moved_by(character)
            if at < head:
                moved |= moved_by(character.swapcase())
            state = (state & moved) << 1 | state & (anything if character in _NO_SEGMENT else segment)
            if not state or state & settled:
                break
        return state & ends != 0

    return is_meant
