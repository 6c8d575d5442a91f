"""One step ahead: what is asked for next is made in a thread meanwhile.

Decoding a sample, preparing it and drawing sub-samples spend their time in libraries that release
the interpreter, so that the base model computes at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Ahead(Generic[Key, Value]):
    """``make(key)``, made in advance where the order of the keys was told.

    One thread makes everything, one thing at a time, so ``make`` need not be safe for several
    threads. At most one value that nobody has asked for yet is kept.

    Args:
        make: Makes the value of a key; what it raises is raised where the key is asked for.
        start: Called once in the thread, before anything is made.

    >>> square = Ahead(lambda x: x * x)
    >>> square.expect([1, 2, 3])
    >>> [square(1), square(2), square(7), square(3)]
    [1, 4, 49, 9]
    """

    def __init__(
        self, make: Callable[[Key], Value], start: Callable[[], object] | None = None
    ) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mmcert-ahead", initializer=start)
        self._order: Iterator[Key] = iter(())
        self._waiting: tuple[Key, Future[Value]] | None = None

    def expect(self, keys: Iterable[Key]) -> None:
        """Tell the order in which keys will be asked for, and start with the first.

        It replaces an earlier order; a key that is asked for out of turn leaves the order as it is.
        """
        self._order = iter(keys)
        self._waiting = None
        self._make_next()

    def __call__(self, key: Key) -> Value:
        """The value of ``key``; the next expected one is made from here on."""
        if self._waiting is None or self._waiting[0] != key:
            return self._thread.submit(self._make, key).result()
        _, future = self._waiting
        self._waiting = None
        value = future.result()
        self._make_next()
        return value

    def _make_next(self) -> None:
        for key in self._order:
            self._waiting = (key, self._thread.submit(self._make, key))
            return
