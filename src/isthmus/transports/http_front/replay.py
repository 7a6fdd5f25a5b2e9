"""What the streams of a legacy session said last, kept so that a client whose stream was cut can have the rest of it.

Pure: no I/O, no clock; time comes as an argument. 2025-11-25 basic/transports, *Resumability and Redelivery*
(2025-06-18 and 2025-03-26 say the same):

**Ids.** "the ID MUST be globally unique across all streams within that session", and "SHOULD encode sufficient
information to identify the originating stream": `tag-stream-event`, the session's own tag, the stream's number in the
session, the event's number on the stream. With the tag the ids of another session are unknown here.

**What is kept.** Every message that went out on a stream, whether or not somebody read it: nobody can tell what a
connection that breaks had still in its buffers. Bounds are those in `limits` (REPLAY_…): what is too old goes, and of
one session the oldest goes first. A stream is known as long as more may come on it, or something of it is kept.
"""

from collections import deque
from typing import Any, Final, Generic, TypeVar

from isthmus.limits import REPLAY_BYTES, REPLAY_EVENT_COST, REPLAY_EVENTS, REPLAY_TIME, REPLAY_TOTAL

_NUMBER_MOST: Final = 15
"""Digits of a number in an id: beyond, it was none of ours, and may not cost a long conversion."""


class Total:
    """Bytes that all sessions of a front keep together."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class Track:
    """One stream of a session: the numbers of its events, and those that are kept."""

    __slots__ = ("_kept", "_replay", "is_over", "last", "lost", "number")

    def __init__(self, replay: "Replay[Any]") -> None:
        self._replay = replay
        self._kept: dict[int, bytes] = {}
        self.number = replay.register(self)
        self.last = 0
        """The number of the latest event; 0 before the first."""
        self.lost = 0
        """The number of the latest event that a bound of size has dropped."""
        self.is_over = False
        """Whether nothing more comes on it."""

    @property
    def has_kept(self) -> bool:
        """Whether anything of it is kept."""
        return bool(self._kept)

    def id(self, number: int) -> bytes:
        """The id of an event."""
        return b"%b-%d-%d" % (self._replay.tag, self.number, number)

    def mint(self) -> bytes:
        """The id of an event that holds no message, and of which nothing is kept."""
        self.last += 1
        return self.id(self.last)

    def keep(self, message: bytes, now: float) -> bytes:
        """Keep a message; the id of its event."""
        self.last += 1
        self._kept[self.last] = message
        self._replay.keep(self, self.last, REPLAY_EVENT_COST + len(message), now)
        return self.id(self.last)

    def end(self, now: float) -> None:
        """Nothing more comes; it is known as long as something of it is kept, and for a while if nothing is."""
        self.is_over = True
        if not self._kept:
            self._replay.keep(self, 0, REPLAY_EVENT_COST, now)

    def after(self, number: int) -> tuple[int, bytes] | None:
        """The first event after one that is still kept: its number and its message."""
        first = next(iter(self._kept), self.last + 1)
        for each in range(max(number + 1, first), self.last + 1):
            if each in self._kept:
                return each, self._kept[each]
        return None

    def drop(self, number: int) -> None:
        """Keep an event no longer."""
        self._kept.pop(number, None)


AnyTrack = TypeVar("AnyTrack", bound=Track)


class Replay(Generic[AnyTrack]):
    """What is kept of one session.

    Args:
        tag: begins every id; no other session's is the same. Visible ASCII without a hyphen.
        total: what all sessions keep.
    """

    __slots__ = ("_order", "_streams", "_total", "_used", "dropped", "is_closed", "primes", "tag", "tracks")

    def __init__(self, tag: bytes, total: Total) -> None:
        self.tag = tag
        self.tracks: dict[int, AnyTrack] = {}
        """The streams that are known, by number."""
        self.primes = False
        """Whether streams begin with an event that has an id and no message, as 2025-11-25 has it."""
        self.dropped = 0
        """Events that a bound of size has dropped."""
        self.is_closed = False
        self._total = total
        self._used = 0
        self._streams = -1
        self._order: deque[tuple[float, Track, int, int]] = deque()

    def register(self, track: AnyTrack) -> int:
        """A new stream's number."""
        self._streams += 1
        if not self.is_closed:
            self.tracks[self._streams] = track
        return self._streams

    def find(self, id: str) -> tuple[AnyTrack, int] | None:
        """The stream that a `Last-Event-ID` was sent on, and the event's number; None if that is not known here."""
        tag, _, rest = id.partition("-")
        numbers = rest.split("-")
        if tag != self.tag.decode() or len(numbers) != 2 or not all(map(_is_number, numbers)):
            return None
        track, number = self.tracks.get(int(numbers[0])), int(numbers[1])
        return (track, number) if track is not None and 0 < number <= track.last else None

    def keep(self, track: Track, number: int, cost: int, now: float) -> None:
        """An event was added to a stream; what is too much for the bounds is dropped, the oldest first, it last."""
        self._order.append((now, track, number, cost))
        self._count(cost)
        while self._order and self._is_too_much():
            _, oldest, lost, _ = self._drop()
            if lost:
                oldest.lost = lost
                self.dropped += 1

    def expire(self, now: float) -> None:
        """Drop what is too old."""
        while self._order and now - self._order[0][0] > REPLAY_TIME:
            self._drop()

    def close(self) -> None:
        """The session is over: nothing is kept, now or later."""
        self.is_closed = True
        while self._order:
            self._drop()
        self.tracks.clear()

    def _is_too_much(self) -> bool:
        """A message that is larger than a session's share alone is kept while it is the latest."""
        if self.is_closed or self._total.used > REPLAY_TOTAL or len(self._order) > REPLAY_EVENTS:
            return True
        return self._used > REPLAY_BYTES and len(self._order) > 1

    def _drop(self) -> tuple[float, Track, int, int]:
        dropped = self._order.popleft()
        _, track, number, cost = dropped
        self._count(-cost)
        track.drop(number)
        if track.is_over and not track.has_kept:
            self.tracks.pop(track.number, None)
        return dropped

    def _count(self, cost: int) -> None:
        self._used += cost
        self._total.used += cost


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _NUMBER_MOST
