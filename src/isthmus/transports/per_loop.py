"""What there is one of for each event loop."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Gives each loop one of its own, which goes with it.

    Args:
        make: makes it; it must not keep the loop.
    """

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def __call__(self, loop: asyncio.AbstractEventLoop) -> T:
        """The one of a loop."""
        one = self._made.get(loop)
        if one is None:
            one = self._made[loop] = self._make(loop)
        return one
