"""What a session's streams said last: bounds, ages and ids of the buffer alone."""

import pytest

from isthmus import limits
from isthmus.transports.http_front.replay import Replay, Total, Track


def replay(total: Total | None = None) -> Replay[Track]:
    return Replay(b"tag", total or Total())


def all_after(track: Track, number: int) -> list[bytes]:
    found = []
    while (next_one := track.after(number)) is not None:
        number, message = next_one
        found.append(message)
    return found


def test_bytes_of_a_session_are_bounded() -> None:
    kept = replay()
    first, second = Track(kept), Track(kept)
    share = limits.REPLAY_BYTES // 2
    first.keep(b"a" * share, 0)
    second.keep(b"b" * (share - 2 * limits.REPLAY_EVENT_COST), 0)
    assert (len(all_after(first, 0)), kept.dropped) == (1, 0)
    second.keep(b"c", 0)
    assert (all_after(first, 0), len(all_after(second, 0)), kept.dropped, first.lost) == ([], 2, 1, 1)
    first.keep(b"d" * 2 * limits.REPLAY_BYTES, 0)  # the latest stays, however large
    assert (len(all_after(first, 0)), all_after(second, 0)) == (1, [])
    first.keep(b"e", 0)
    assert all_after(first, 0) == [b"e"]


def test_bytes_of_all_sessions_are_bounded() -> None:
    total = Total()
    one, other = replay(total), replay(total)
    large, small = Track(one), Track(other)
    small.keep(b"x", 0)
    large.keep(b"a" * limits.REPLAY_TOTAL, 0)
    assert all_after(large, 0) == [] and all_after(small, 0) == [b"x"]
    small.keep(b"y", 0)
    other.close()
    small.keep(b"z", 0)
    assert total.used == 0


def test_what_is_old_goes_and_streams_that_are_over_with_it() -> None:
    kept = replay()
    running, over, empty = Track(kept), Track(kept), Track(kept)
    running.keep(b"a", 0)
    over.keep(b"b", 1)
    over.end(1)
    empty.mint()
    empty.end(2)
    kept.expire(limits.REPLAY_TIME + 0.5)
    assert all_after(running, 0) == [] and all_after(over, 0) == [b"b"]
    kept.expire(limits.REPLAY_TIME + 1.5)
    assert list(kept.tracks) == [running.number, empty.number]
    assert kept.find("tag-2-1") == (empty, 1)
    kept.expire(limits.REPLAY_TIME + 2.5)
    assert kept.find("tag-2-1") is None and kept.find("tag-0-1") == (running, 1)
    assert kept.dropped == 0


@pytest.mark.parametrize("id", ["", "tag", "tag-0", "tag-0-0", "tag-0-2", "tag-1-1", "tag-0-1-1", "gat-0-1", "tag-0-٣"])
def test_ids_that_are_none(id: str) -> None:
    kept = replay()
    Track(kept).keep(b"a", 0)
    assert kept.find(id) is None


def test_an_endless_number_is_no_id() -> None:
    kept = replay()
    Track(kept).keep(b"a", 0)
    assert kept.find("tag-0-" + "9" * 10_000) is None
