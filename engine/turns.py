"""Whose turn it is: of several tasks that are carried out step by step, each gets its own.

Whoever comes new is seen to at once, in the middle of another's step: one look at what a pressed key asked for does not
wait for a whole plan.  From then on it waits for its turn as the others do, so that nobody is put off for ever by those
who come later.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator

Task = Iterator[object]
"""Its steps: what lies between two `next`. Errors of a task are its own: none may leave it."""

TURN = 0.5
"""Seconds that a task may go on within a step while others wait, and at least as long as one of their steps took."""


class Turns:
    """Tasks that have begun and not ended. In one thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._waiting: deque[Task] = deque()
        self._depth = 0  # steps under way, one within the other
        self._since = self._step_took = 0.0

    def __bool__(self) -> bool:
        """Whether any task waits for its turn."""
        return bool(self._waiting)

    def begin(self, task: Task) -> None:
        """Its first step, at once; then it waits behind the others."""
        if self._stepped(task):
            self._waiting.append(task)

    def step(self) -> None:
        """The next step of whoever has waited longest."""
        if self._waiting:
            self.begin(self._waiting.popleft())

    def share(self) -> None:
        """Called from within a step, wherever it can be interrupted: now and then all the others have their turn."""
        if self._depth != 1 or not self._waiting:
            return
        if self._clock() - self._since < max(TURN, self._step_took):
            return
        count, began = len(self._waiting), self._clock()
        for _ in range(count):
            self.step()
        self._since = self._clock()
        self._step_took = (self._since - began) / count

    def _stepped(self, task: Task) -> bool:
        """Take a step of it; whether there may be more."""
        if not self._depth:
            self._since = self._clock()
        self._depth += 1
        try:
            next(task)
        except StopIteration:
            return False
        finally:
            self._depth -= 1
        return True
