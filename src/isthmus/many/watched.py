"""The resources that a legacy client subscribed to, and at which member.

Updates come under the back's own URI and go to the client under the one that it subscribed with. Where another member
takes the place of one, its session there knows nothing of them: what is `left` is to be subscribed to again.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from isthmus.protocol import edits
from isthmus.wire.codec import close_object, encode, one_line, parse_own, string
from isthmus.wire.envelope import Envelope

if TYPE_CHECKING:
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

    def answered(self, method: str, place: Place, shown: str, message: bytes) -> None:
        """A member answered the client's request to subscribe to a resource or to unsubscribe from it.

        Args:
            method: of the request.
            place: where it went.
            shown: the client's URI.
            message: the answer.
        """
        if "result" not in parse_own(message).members:
            return
        if method == SUBSCRIBE:
            self._shown[place] = shown
        else:
            self._shown = {at: uri for at, uri in self._shown.items() if at != place and uri != shown}

    def left(self, members: Iterable["Member"]) -> list[tuple[Place, str]]:
        """What is at none of these members: its places, and the client's URIs."""
        there = {member.main for member in members}
        return [(place, shown) for place, shown in self._shown.items() if place.member not in there]

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
