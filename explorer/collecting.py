"""Python's collector of cyclic garbage has its turn while nobody waits for the app.

A heatmap of thousands of cells is hundreds of thousands of objects, and a full collection looks at each of them: for
0.1 to 0.3 s nothing answers, in the middle of somebody's keys.  Young garbage is collected as ever.  What is old waits
until no key was pressed for a while, or until so much has gathered that it can wait no longer.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator

YOUNG = 5_000
"""Objects after which the youngest are looked at."""

NEVER = 1 << 30
"""Collections of the young ones after which Python would make a full one."""

QUIET = 2.0
"""Seconds without a key or a mouse before there is time for a full one."""

DUE = 10
"""Collections of the young ones after which a full one is due: Python's own number."""

OVERDUE = 20 * DUE
"""The same, when it is made all the same."""

EVERY = 1.0
"""Seconds between two looks at whether there is time."""


class Collector:
    """Says when there is time for a full collection, and makes it."""

    def __init__(
        self,
        gathered: Callable[[], int] = lambda: gc.get_count()[2],
        collect: Callable[[], object] = gc.collect,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._gathered, self._collect, self._clock = gathered, collect, clock
        self._used = clock()

    def used(self) -> None:
        """Somebody is at the keys."""
        self._used = self._clock()

    def look(self) -> None:
        """Collect, if that is due and disturbs nobody."""
        gathered = self._gathered()
        quiet = self._clock() - self._used >= QUIET
        if gathered >= OVERDUE or (gathered >= DUE and quiet):
            self._collect()

    @staticmethod
    def take_over() -> None:
        """From now on full collections are made by :meth:`look` alone."""
        gc.set_threshold(YOUNG, 10, NEVER)
        gc.enable()


@contextlib.contextmanager
def nothing_collected() -> Iterator[None]:
    """While a program starts it makes what it keeps: to look for garbage is a tenth of that time, and finds none.

    Ends with what it is around, or sooner with :meth:`Collector.take_over`.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
