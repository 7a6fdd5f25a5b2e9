"""Components of one kind, by their keys."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Generic, Literal, TypeVar

from isthmus.components.component import Component, Kind
from isthmus.exceptions import NotFoundError

C = TypeVar("C", bound=Component)
Duplicates = Literal["warn", "error", "replace", "ignore"]
_log = logging.getLogger("isthmus.components")


class Registry(Generic[C]):
    """Components of one kind, by their keys.

    Args:
        kind: which.
        duplicates: what is done when there is one with that key: `warn` and `replace` take the new one, `ignore` keeps
            the old one, `error` refuses.
        changed: called when one was added, removed or changed.
    """

    def __init__(self, kind: Kind, duplicates: Duplicates, changed: Callable[[Kind], object]) -> None:
        self.kind = kind
        self._duplicates = duplicates
        self._told = partial(self._change, changed)
        self._all: list[C] = []
        self._by_key: dict[str, C] = {}

    def add(self, component: C) -> C:
        """Add it, and give what then has its key.

        Raises:
            ValueError: there is one, and there must not be another.
        """
        key, is_there = component.key, component.key in self._by_key
        if is_there and self._duplicates == "ignore":
            return self._by_key[key]
        if is_there and self._duplicates == "error":
            raise ValueError(f"There already is one among the {self.kind} that is called {key!r}: remove it first.")
        if is_there:
            if self._duplicates == "warn":
                _log.warning(
                    "There already was one among the %s that is called %r; the new one counts.", self.kind, key
                )
            self._drop(self._by_key[key])
        self._all.append(component)
        component.on_change.append(self._told)
        self._told()
        return component

    def remove(self, key: str) -> None:
        """Take it out.

        Raises:
            NotFoundError: there is none.
        """
        self._drop(self.get(key))
        self._told()

    def get(self, key: str) -> C:
        """The one with this key.

        Raises:
            NotFoundError: there is none.
        """
        if (found := self._by_key.get(key)) is None:
            raise NotFoundError(f"There is none among the {self.kind} that is called {key!r}.")
        return found

    def all(self) -> dict[str, C]:
        """All, by their keys."""
        return dict(self._by_key)

    def _drop(self, component: C) -> None:
        self._all = [each for each in self._all if each is not component]
        component.on_change.remove(self._told)

    def _change(self, changed: Callable[[Kind], object]) -> None:
        self._by_key = {each.key: each for each in self._all}
        changed(self.kind)
