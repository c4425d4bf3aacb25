"""Following the store: the one place where the app looks again and again, for all its screens.

A :class:`Tail` polls one source (:class:`.feed.RunFeed`, :class:`.tablefeed.TableFeed`) off the event loop: one look at
a time, soon again while things change, more seldom while nothing does, and never for more than a share of the time, so
that a slow network file system is not kept busy.  What is new comes to the screen as an immutable :class:`News`, ten
times a second at most.  Trouble (a store that was unmounted, a run that was deleted) comes once, in words, and again as
news when it is over.

A look that hangs freezes nothing: it is in a thread of its own that does not keep the app from ending either.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..store import LyrxError, inert

T = TypeVar("T")

UPDATES = 10
"""News a second, at most."""

PATIENCE = 10.0
"""Seconds a look may take before that is said."""


@dataclass(frozen=True)
class Pace:
    """How long to wait between two looks, in seconds."""

    fastest: float = 0.25
    """While things change."""
    slowest: float = 4.0
    """While nothing does."""
    growth: float = 1.5
    """How much longer each wait is than the one before while nothing changes."""
    share: float = 0.2
    """Of the time, the most that looking may take."""

    def after(self, before: float, took: float, *, changed: bool) -> float:
        """The next wait, after one of `before` seconds and a look that took `took` seconds."""
        wait = self.fastest if changed else max(self.fastest, min(self.slowest, before * self.growth))
        return max(wait, took * (1 / self.share - 1))


@dataclass(frozen=True)
class News(Generic[T]):
    """What a look found."""

    update: T | None
    """What is new; None if nothing is."""
    noted: Any = None
    """What `note` returned just before the look began."""
    recovered: bool = False
    """Whether the look before this one found trouble."""


@dataclass(frozen=True)
class Trouble:
    """Why a look found nothing."""

    message: str
    """What and what to do, harmless for a terminal."""
    error: BaseException | None
    """None: there is no answer yet."""


class Host(Protocol):
    """What a tail needs of its screen."""

    @property
    def stands(self) -> bool:
        """False once it is being taken away: what a look still finds has nowhere to go."""
        ...

    def run_worker(self, work: Coroutine[Any, Any, None], *, group: str) -> Any: ...

    def set_timer(self, delay: float, callback: Callable[[], Any]) -> Any:
        """Returns something with a method `stop`."""


class Tail(Generic[T]):
    """Follows one source for one screen. All of it runs in the event loop but `poll`, which has a thread."""

    def __init__(
        self,
        host: Host,
        poll: Callable[[bool], T | None],
        take: Callable[[News[T]], None],
        trouble: Callable[[Trouble], None],
        *,
        pace: Pace | None = None,
        note: Callable[[], Any] = lambda: None,
        more: Callable[[], bool] = lambda: False,
        active: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
        patience: float = PATIENCE,
    ):
        """`poll` is told whether to say also what is not new.

        `take` and `trouble` get what it found; `note` is asked before each look; while there is `more`, the next look
        follows at once; a tail that is not `active` sleeps until it is kicked.
        """
        self._host, self._poll, self._take, self._trouble = host, poll, take, trouble
        self._pace = pace or Pace()
        self._note, self._more, self._active = note, more, active
        self._clock, self._sleep, self._patience = clock, sleep, patience
        self._wait = self._pace.fastest
        self._looking = self._again = self._force = False
        self._timer: Any = None
        self._told = float("-inf")
        self.trouble: Trouble | None = None
        """What the last look met."""

    def kick(self, *, force: bool = False) -> None:
        """Look now, or once more when the look that goes on has ended; `force`: also what is not new is told."""
        self._force |= force
        if self._looking:
            self._again = True
        elif self._active():
            self._looking = True
            if self._timer is not None:
                self._timer.stop()
                self._timer = None
            self._host.run_worker(self._look(), group="tail")

    async def _look(self) -> None:
        try:
            while True:
                self._again = False
                began = self._clock()
                found = await self._once()
                took = self._clock() - began
                self._wait = self._pace.after(self._wait, took, changed=found)
                if not self._again and (self.trouble is not None or not self._more()):
                    break
                await self._sleep(max(0.0, self._told + 1 / UPDATES - self._clock()))
        finally:
            self._looking = False
        if self._host.stands and self._active():
            self._timer = self._host.set_timer(self._wait, self.kick)

    async def _once(self) -> bool:
        """One look; whether anything was new."""
        force, self._force = self._force, False
        noted = self._note()
        try:
            update = await self._answer(lambda: self._poll(force))
        except (LyrxError, OSError) as error:
            return self._tell(Trouble(told(error), error))
        recovered, self.trouble = self.trouble is not None, None
        if not self._host.stands:
            return False
        if update is not None:
            self._told = self._clock()
        self._take(News(update, noted, recovered))
        return update is not None or recovered

    def _tell(self, trouble: Trouble) -> bool:
        """Say it, unless it is what was said last. Whether it is new."""
        before, self.trouble = self.trouble, trouble
        if not self._host.stands or (before is not None and before.message == trouble.message):
            return False
        self._trouble(trouble)
        return True

    async def _answer(self, question: Callable[[], T | None]) -> T | None:
        """What `question` answers in a thread, however long it takes; a long silence is told."""
        answer = in_thread(question)
        done, _ = await asyncio.wait({answer}, timeout=self._patience)
        if not done:
            silence = (
                f"the store has not answered for {self._patience:g} s: its file system is slow or away. "
                "What was read before is still shown; it goes on by itself when it answers."
            )
            self._tell(Trouble(silence, None))
        return await answer


def in_thread(work: Callable[[], T]) -> "asyncio.Future[T]":
    """What `work` returns or raises, in a thread that nobody waits for when the app ends."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if answer.done():
            return  # who asked has gone
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: the app has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="lyrx-tail", daemon=True).start()
    return answer


def told(error: BaseException) -> str:
    """An error of a look in words: what, where, and what to do."""
    if isinstance(error, LyrxError) or not isinstance(error, OSError):
        return inert(str(error))
    where = f" ({error.filename})" if error.filename else ""
    return inert(
        f"the store cannot be read: {error.strerror or error}{where}. Is its file system still there? "
        "What was read before is still shown; it is looked at again by itself."
    )
