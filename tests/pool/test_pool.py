"""Sessions opened, leased and closed: what the policy decided is done, whatever fails and whoever leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from isthmus.engine.tasks import Tasks
from isthmus.errors import BackUnavailable, Fault
from isthmus.pool.policy import SINGLE, Bounds, Isolation, Key
from isthmus.pool.pool import Lease, Pool
from tests.engine.clients import run

A, B = Key("a", b"{}"), Key("b", b"{}")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares are opened at once."""
    monkeypatch.setattr("isthmus.limits.SPARE_PAUSE", 0.0)


class Backs:
    """The back of a pool: its sessions are numbers. `refuse` is raised at the next openings, `gate` holds them up."""

    def __init__(self) -> None:
        self.opened: list[Key] = []
        self.ended: list[int] = []
        self.refuse: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.tasks = Tasks()
        self.pool: Pool[int]

    async def connect(self, key: Key) -> int:
        number = len(self.opened)
        self.opened.append(key)
        await self.gate.wait()
        if self.refuse is not None:
            raise self.refuse
        return number

    async def end(self, session: int) -> None:
        self.ended.append(session)

    async def lease(self, key: Key = A, label: str = "a call", *, shares: bool = False, wait: float = 10) -> Lease[int]:
        return await self.pool.lease(key, label, is_exclusive=not shares, wait=wait)

    def leasing(self, *args: Any, **options: Any) -> "asyncio.Task[Lease[int]]":
        return asyncio.ensure_future(self.lease(*args, **options))


@asynccontextmanager
async def pool(
    isolation: Isolation, *, most: int = 4, idle: float = 60, warm: int = 0, grace: float = 60
) -> AsyncIterator[Backs]:
    """A pool that afterwards must have ended every session, and left no task."""
    backs = Backs()
    backs.pool = Pool(backs.connect, backs.end, backs.tasks.start, isolation, Bounds(most, idle, warm, grace))
    try:
        yield backs
    finally:
        await backs.pool.close()
        await backs.tasks.close()
        assert len(backs.pool) == 0 and len(backs.tasks) == 0
        if backs.refuse is None:
            assert sorted(backs.ended) == list(range(len(backs.opened)))


async def turn(times: int = 5) -> None:
    """Let what is due be done."""
    for _ in range(times):
        await asyncio.sleep(0)


def test_a_session_is_opened_leased_and_given_back() -> None:
    async def scenario() -> None:
        async with pool("session") as backs:
            assert repr(backs.pool) == (
                "<Pool session: 0 sessions (0 opening, 0 held, 0 shared, 0 spare, 0 idle), 0 waiting>"
            )
            lease = await backs.lease()
            assert lease.session == 0 and lease.is_exclusive and backs.opened == [A]
            assert "1 sessions (0 opening, 1 held," in repr(backs.pool)
            lease.release()
            lease.release()
            assert "0 held, 0 shared, 0 spare, 1 idle), 0 waiting" in repr(backs.pool)
            again = await backs.lease()
            assert again.session == 0 and len(backs.pool) == 1
            other = await backs.lease(B, shares=True)
            assert other.session == 1 and not other.is_exclusive
            assert "2 sessions (0 opening, 1 held, 1 shared," in repr(backs.pool)

    run(scenario)


def test_request_closes_it_afterwards_and_keeps_a_spare() -> None:
    async def scenario() -> None:
        async with pool("request", warm=1) as backs:
            (await backs.lease()).release()
            await turn()
            assert backs.ended == [0] and "0 held, 0 shared, 1 spare, 0 idle" in repr(backs.pool)
            lease = await backs.lease()
            assert lease.session == 1
            await turn()
            assert "1 held, 0 shared, 1 spare, 0 idle" in repr(backs.pool)

    run(scenario)


def test_request_opens_no_spare_for_a_client_that_nobody_will_know_again() -> None:
    async def scenario() -> None:
        async with pool("request", warm=1) as backs:
            lease = await backs.lease(Key(SINGLE + "x", b"{}"))
            lease.release()
            await turn()
            assert len(backs.opened) == 1 == len(backs.ended) and len(backs.pool) == 0

    run(scenario)


def test_a_spare_that_nobody_comes_for_is_not_kept_for_ever() -> None:
    async def scenario() -> None:
        async with pool("request", warm=1, idle=0.02) as backs:
            (await backs.lease()).release()
            await turn()
            assert len(backs.pool) == 1
            async with asyncio.timeout(5):
                while backs.ended != [0, 1]:  # noqa: ASYNC110 - the pool's own timer
                    await asyncio.sleep(0.005)
            assert backs.opened == [A, A] and len(backs.pool) == 0
            await backs.lease(B)
            await turn()
            assert backs.opened.count(A) == 2

    run(scenario)


@pytest.mark.parametrize("isolation", ["request", "session", "shared"])
def test_those_who_wait_are_told_that_it_can_t_be_opened(isolation: Isolation) -> None:
    async def scenario() -> None:
        async with pool(isolation) as backs:
            backs.gate.clear()
            backs.refuse = BackUnavailable("It is not there.")
            waiting = [backs.leasing(), backs.leasing(shares=True)]
            await turn()
            backs.gate.set()
            for each in waiting:
                with pytest.raises(BackUnavailable, match="not there"):
                    await each
            await turn()
            assert len(backs.pool) == 0
            backs.refuse = None
            assert await backs.lease()
            backs.refuse = Fault("")  # not all that were opened are ended here

    run(scenario)


def test_those_who_wait_are_told_of_a_failure_that_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with pool("session") as backs:
            backs.refuse = RuntimeError("a bug")
            with pytest.raises(Fault, match="failed to open"):
                await backs.lease(wait=5)
            await turn()
            assert len(backs.pool) == 0

    run(scenario)
    assert "bug of isthmus" in caplog.text


def test_other_clients_don_t_suffer_from_it() -> None:
    async def scenario() -> None:
        async with pool("session") as backs:
            good = await backs.lease(B)
            backs.refuse = BackUnavailable("It is not there.")
            with pytest.raises(BackUnavailable):
                await backs.lease(A)
            good.release()
            assert (await backs.lease(B)).session == good.session

    run(scenario)


def test_a_second_exclusive_call_waits_its_turn() -> None:
    async def scenario() -> None:
        async with pool("session") as backs:
            first = await backs.lease()
            second, listing = backs.leasing(), await backs.lease(shares=True)
            await turn()
            assert listing.session == first.session and not second.done()
            assert repr(backs.pool).endswith("1 waiting>")
            first.release()
            assert (await second).session == first.session

    run(scenario)


def test_one_who_waits_too_long_is_told_who_has_it() -> None:
    async def scenario() -> None:
        async with pool("session") as backs:
            lease = await backs.lease(label="tools/call dig")
            with pytest.raises(BackUnavailable, match=r"tools/call ask .* held by tools/call dig\. Try again"):
                await backs.lease(label="tools/call ask", wait=0.02)
            assert repr(backs.pool).endswith("0 waiting>")
            lease.release()
            assert await backs.lease()

    run(scenario)


def test_one_who_waits_too_long_for_an_opening_is_told_so() -> None:
    async def scenario() -> None:
        async with pool("session") as backs:
            backs.gate.clear()
            with pytest.raises(BackUnavailable, match=r"The server did not open a session for tools/call ask in time"):
                await backs.lease(label="tools/call ask", wait=0.02)
            backs.gate.set()
            await backs.lease()

    run(scenario)


@pytest.mark.parametrize("isolation", ["request", "session", "shared"])
def test_who_is_parked_ends_for_one_who_waits(isolation: Isolation) -> None:
    async def scenario() -> None:
        async with pool(isolation, most=1, grace=0.02) as backs:
            lease = await backs.lease()
            lease.park(lease.release)
            assert "1 held (1 parked), 0 shared" in repr(backs.pool)
            await asyncio.sleep(0.04)
            assert "1 held (1 parked), 0 shared" in repr(backs.pool)  # nobody waits
            second = await backs.lease()
            assert "1 held, 0 shared" in repr(backs.pool)
            third = backs.leasing()
            await turn()
            second.park(second.release)  # somebody waits already
            assert await third

    run(scenario)


def test_who_goes_on_in_time_is_not_ended() -> None:
    async def scenario() -> None:
        async with pool("session", grace=0.02) as backs:
            ended: list[None] = []
            lease = await backs.lease()
            lease.park(lambda: ended.append(None))
            lease.resume()
            with pytest.raises(BackUnavailable, match="held by a call"):
                await backs.lease(wait=0.05)
            lease.park(lambda: ended.append(None))
            lease.release()
            again = await backs.lease()
            with pytest.raises(BackUnavailable, match="held by a call"):
                await backs.lease(wait=0.05)
            again.park(lambda: ended.append(None))
            waiting = backs.leasing()
            while not ended:  # noqa: ASYNC110 - a timer of the pool's own
                await asyncio.sleep(0.002)
            await backs.lease(B)  # at which all is decided anew
            assert ended == [None] and not waiting.done()  # told once, though it takes its time
            again.release()
            assert await waiting

    run(scenario)


def test_the_ceiling_makes_wait_and_then_refuses() -> None:
    async def scenario() -> None:
        async with pool("request", most=2) as backs:
            held = [await backs.lease() for _ in range(2)]
            with pytest.raises(BackUnavailable, match="No session was free"):
                await backs.lease(wait=0.02)
            waiting = backs.leasing()
            await turn()
            assert len(backs.pool) == 2 and not waiting.done()
            held[0].release()
            assert (await waiting).session == 2 and backs.ended == [0]

    run(scenario)


@pytest.mark.parametrize("isolation", ["request", "session", "shared"])
def test_one_who_leaves_while_it_is_opened(isolation: Isolation) -> None:
    async def scenario() -> None:
        async with pool(isolation) as backs:
            backs.gate.clear()
            leaving = backs.leasing()
            await turn()
            leaving.cancel()
            await asyncio.wait([leaving])
            assert leaving.cancelled() and repr(backs.pool).endswith("0 waiting>")
            backs.gate.set()
            assert (await backs.lease()).session == 0  # what was opened is not lost

    run(scenario)


@pytest.mark.parametrize("isolation", ["request", "session"])
def test_one_who_leaves_as_it_is_granted(isolation: Isolation) -> None:
    """In the same turn of the loop, before it has run: the lease goes back."""

    async def scenario() -> None:
        async with pool(isolation, most=1) as backs:
            lease = await backs.lease()
            leaving, staying = backs.leasing(), backs.leasing()
            await turn()
            lease.release()
            while repr(backs.pool).endswith("2 waiting>"):  # noqa: ASYNC110 - stop at the very turn of the grant
                await asyncio.sleep(0)
            assert not leaving.done()
            leaving.cancel()
            assert await staying
            assert leaving.cancelled()

    run(scenario)


def test_one_who_leaves_just_before_takes_nothing_from_who_comes_next() -> None:
    """In the same turn of the loop as the session is given back."""

    async def scenario() -> None:
        async with pool("session") as backs:
            lease = await backs.lease()
            leaving, staying = backs.leasing(), backs.leasing(wait=1)
            await turn()
            leaving.cancel()
            lease.release()
            assert (await staying).session == lease.session

    run(scenario, within=5)


def close_while(isolation: Isolation, act: Callable[[Backs], Coroutine[Any, Any, list[Any]]]) -> None:
    async def scenario() -> None:
        async with pool(isolation) as backs:
            waiting = await act(backs)
            await turn()
            await backs.pool.close()
            for each in waiting:
                with pytest.raises(BackUnavailable, match="about to stop"):
                    await each
            with pytest.raises(BackUnavailable, match="about to stop"):
                await backs.lease()
            backs.gate.set()
            await turn()

    run(scenario)


def test_close_while_somebody_waits_for_an_opening() -> None:
    async def act(backs: Backs) -> list[Any]:
        backs.gate.clear()
        return [backs.leasing(), backs.leasing()]

    close_while("request", act)


def test_close_while_somebody_waits_for_a_holder() -> None:
    async def act(backs: Backs) -> list[Any]:
        lease = await backs.lease()
        waiting = backs.leasing()
        asyncio.get_running_loop().call_later(0.01, lease.release)
        return [waiting]

    close_while("session", act)


def test_leases_may_be_given_back_after_the_end() -> None:
    async def scenario() -> None:
        async with pool("session") as backs:
            exclusive, shared = await backs.lease(), await backs.lease(shares=True)
            await backs.pool.close()
            exclusive.release()
            shared.release()
            assert len(backs.pool) == 0 and backs.ended == [0]

    run(scenario)


def test_a_thousand_at_once_take_no_time_of_note() -> None:
    """What is decided at each step grows with the situation, and not with its square."""

    async def scenario() -> None:
        async with pool("request", most=1000) as backs:
            keys = [Key(str(n % 100), b"{}") for n in range(1000)]
            began = asyncio.get_running_loop().time()
            leases = await asyncio.gather(*(backs.lease(key, wait=60) for key in keys))
            assert len({lease.session for lease in leases}) == 1000
            for lease in leases:
                lease.release()
            await turn()
            assert len(backs.pool) == 0
            print(f"1,000 sessions leased and closed in {asyncio.get_running_loop().time() - began:.1f} s")

    run(scenario, within=25)
