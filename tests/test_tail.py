"""Following the store: when it is looked at, what the screen hears, and what happens when there is no answer."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lyrx.explorer.tail import UPDATES, News, Pace, Tail, Trouble, told
from lyrx.store import StoreNotFoundError


class FakeScreen:
    """Runs a tail's looks, and keeps its timers until they are told to fire."""

    def __init__(self):
        self.tasks: list[asyncio.Task[None]] = []
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.heard: list[News[str] | Trouble] = []
        self.now = 0.0
        self.stands = True
        self.slept: list[float] = []

    def run_worker(self, work, *, group: str):
        self.tasks.append(asyncio.ensure_future(work))

    def set_timer(self, delay: float, callback):
        timer = (delay, callback)
        self.timers.append(timer)
        screen = self

        class Handle:
            def stop(self):
                if timer in screen.timers:
                    screen.timers.remove(timer)

        return Handle()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def rest(self) -> None:
        while self.tasks:
            await self.tasks.pop()

    async def fire(self) -> float:
        ((delay, callback),) = self.timers
        self.timers.clear()
        self.now += delay
        callback()
        await self.rest()
        return delay


class FakeFeed:
    """Answers with what it is given; an exception is raised, None is nothing new."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.forced: list[bool] = []

    def poll(self, force: bool):
        self.forced.append(force)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def tail_of(screen: FakeScreen, feed: FakeFeed, **options) -> Tail[str]:
    return Tail(screen, feed.poll, screen.heard.append, screen.heard.append, clock=lambda: screen.now,
                sleep=screen.sleep, **options)  # fmt: skip


async def test_waits_grow_while_nothing_changes_and_shrink_when_something_does():
    screen = FakeScreen()
    feed = FakeFeed("a", None, None, None, None, None, None, None, None, "b")
    tail = tail_of(screen, feed, pace=Pace(0.25, 2.0, 2.0))
    tail.kick()
    await screen.rest()
    assert [await screen.fire() for _ in range(10)] == [0.25, 0.5, 1, 2, 2, 2, 2, 2, 2, 0.25]
    assert [news.update for news in screen.heard if news.update] == ["a", "b"]


@given(st.floats(0, 100), st.floats(0, 1000), st.booleans())
def test_looking_never_takes_more_than_its_share(before: float, took: float, changed: bool):
    pace = Pace()
    wait = pace.after(before, took, changed=changed)
    assert wait >= pace.fastest
    assert took <= pace.share * (wait + took) * 1.000001
    assert wait <= max(pace.slowest, took * 4 * 1.000001)


async def test_a_slow_look_is_followed_by_a_long_wait():
    screen = FakeScreen()

    def slow() -> str:
        screen.now += 3
        return "x"

    tail = tail_of(screen, FakeFeed(slow))
    tail.kick()
    await screen.rest()
    assert await screen.fire() == pytest.approx(12)


async def test_kicks_while_a_look_goes_on_are_one_more_look_and_news_come_ten_times_a_second():
    screen = FakeScreen()
    held = threading.Event()
    feed = FakeFeed(lambda: held.wait(10) and "a", "b", "c")
    tail = tail_of(screen, feed)
    tail.kick()
    await asyncio.sleep(0.01)
    for _ in range(5):
        tail.kick()
    assert len(feed.forced) == 1, "one look at a time"
    held.set()
    await screen.rest()
    assert [news.update for news in screen.heard] == ["a", "b"]
    assert screen.slept == [pytest.approx(1 / UPDATES)]
    tail.kick(force=True)
    await screen.rest()
    assert feed.forced == [False, False, True]
    assert len(screen.timers) == 1, "a kick stops the timer that was running"


async def test_more_is_read_at_once_and_an_idle_tail_sleeps():
    screen = FakeScreen()
    feed = FakeFeed("a", "b", "c")
    active = [True]
    tail = tail_of(screen, feed, more=lambda: len(feed.answers) > 0, active=lambda: active[0])
    tail.kick()
    await screen.rest()
    assert [news.update for news in screen.heard] == ["a", "b", "c"]
    active[0] = False
    await screen.fire()
    tail.kick()
    assert len(screen.heard) == 3
    assert not screen.timers
    active[0] = True
    tail.kick()
    await screen.rest()
    assert len(screen.heard) == 4


async def test_trouble_is_told_once_and_again_when_it_is_over():
    screen = FakeScreen()
    gone = StoreNotFoundError("there is no store at x.")
    tail = tail_of(screen, FakeFeed("a", gone, gone, OSError(5, "Input/output error", "/x"), None, None))
    tail.kick()
    await screen.rest()
    for _ in range(5):
        await screen.fire()
    first, lost, other, back, last = screen.heard
    assert first == News("a")
    assert isinstance(lost, Trouble)
    assert lost.message == "there is no store at x."
    assert lost.error is gone
    assert isinstance(other, Trouble)
    assert "Input/output error (/x)" in other.message
    assert back == News(None, None, recovered=True)
    assert last == News(None)


async def test_what_is_noted_before_a_look_comes_with_it():
    screen = FakeScreen()
    notes = iter("xyz")
    tail = tail_of(screen, FakeFeed("a"), note=lambda: next(notes))
    tail.kick()
    await screen.rest()
    await screen.fire()
    assert screen.heard == [News("a", "x"), News(None, "y")]


@pytest.mark.parametrize("answer", ["a", StoreNotFoundError("/gone")])
async def test_what_comes_when_the_screen_is_being_taken_away_goes_nowhere(answer):
    screen = FakeScreen()
    held = threading.Event()

    def late():
        held.wait(10)
        if isinstance(answer, Exception):
            raise answer
        return answer

    tail = tail_of(screen, FakeFeed(late))
    tail.kick()
    await asyncio.sleep(0.01)
    screen.stands = False
    held.set()
    await screen.rest()
    assert screen.heard == []
    assert screen.timers == []


async def test_a_file_system_that_hangs_is_told_and_freezes_nothing():
    screen = FakeScreen()
    answer = threading.Event()
    tail = tail_of(screen, FakeFeed(lambda: answer.wait(20) and "a"), patience=0.01)
    tail.kick()
    while not screen.heard:
        await asyncio.sleep(0.001)
    assert isinstance(screen.heard[0], Trouble)
    assert "has not answered" in screen.heard[0].message
    tail.kick()
    answer.set()
    await screen.rest()
    assert screen.heard[1] == News("a", None, recovered=True)
    assert tail.trouble is None


def test_a_hanging_look_does_not_keep_the_process_from_ending():
    import subprocess
    import sys

    code = """
import asyncio, threading
from lyrx.explorer.tail import in_thread
async def main():
    answer = in_thread(threading.Event().wait)
    await asyncio.wait({answer}, timeout=0.01)
asyncio.run(main())
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


def test_errors_in_words_are_harmless():
    assert "\x1b" not in told(OSError(116, "Stale file handle", "/mnt/\x1b[31m"))
    assert "Stale file handle" in told(OSError(116, "Stale file handle", "/mnt"))
