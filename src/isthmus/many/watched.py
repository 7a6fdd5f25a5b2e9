"""The resources that a legacy client subscribed to, and at which member.

Updates come under the back's own URI and go to the client under the one that it subscribed with. Where another member
takes the place of one, its session there knows nothing of them: what is `left` is to be subscribed to again.
"""

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from isthmus.protocol import edits
from isthmus.wire.codec import close_object, encode, one_line, parse_own, string
from isthmus.wire.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from isthmus.engine.member import Member

SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
UPDATED: Final = "notifications/resources/updated"


class Place(NamedTuple):
    """Where a resource is: the member, and its own URI of it."""

    member: "Member"
    own: str


class Watched:
    """The URIs that one client subscribed to, by the places where they are."""

    def __init__(self) -> None:
        self._shown: dict[Place, str] = {}

    @contextmanager
    def asking(self, method: str, place: Place, shown: str) -> "Iterator[Callable[[bytes], None]]":
        """While the client's request to subscribe to a resource, or to unsubscribe from it, is at a member.

        What it subscribes to counts from the beginning, since the first update may overtake the answer.

        Args:
            method: of the request.
            place: where it goes.
            shown: the client's URI.

        Returns:
            What is to get the answer.
        """
        answers: list[bytes] = []
        was = self._shown.get(place)
        if method == SUBSCRIBE:
            self._shown[place] = shown
        try:
            yield answers.append
        finally:
            is_agreed = any("result" in parse_own(each).members for each in answers)
            if method == UNSUBSCRIBE and is_agreed:
                self._shown = {at: uri for at, uri in self._shown.items() if at != place and uri != shown}
            elif method == SUBSCRIBE and is_agreed:
                self._shown[place] = shown  # what was sent before it may have been answered meanwhile
            elif method == SUBSCRIBE:
                self._shown.pop(place, None)
                self._shown |= {place: was} if was is not None else {}

    def left(self, members: Iterable["Member"]) -> list[tuple[Place, str]]:
        """What is at none of these members: its places, and the client's URIs."""
        there = {member.main for member in members}
        return [(place, shown) for place, shown in self._shown.items() if place.member not in there]

    def give_up(self, shown: str, members: Iterable["Member"]) -> None:
        """The client wants to hear no more of one of its URIs: what is left of it is at no server to be asked."""
        for place, uri in self.left(members):
            if uri == shown:
                del self._shown[place]

    def move(self, old: Place, new: Place) -> None:
        """A resource is somewhere else."""
        if old in self._shown:
            self._shown[new] = self._shown.pop(old)

    def has(self, place: Place) -> bool:
        """Whether the client is subscribed to what is there."""
        return place in self._shown

    def named(self, member: "Member", envelope: Envelope) -> bytes | None:
        """A member's notification under the client's URI; None where it is of no resource that the client watches."""
        own = string(edits.param(envelope, "uri")) if envelope.method == UPDATED else None
        shown = self._shown.get(Place(member, own)) if own is not None else None
        if shown is None:
            return None
        edits.set_param(envelope, "uri", encode(shown))
        return one_line(close_object(envelope.members))
