"""Driving the app in tests: what a person would see and do."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import fakes
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.widgets.heatmap import Heatmap
from screenshot import screen_text, settle
from textual.pilot import Pilot
from textual.widgets import Static

NOW = fakes.START + 3 * 86400
"""The time that the app is told, so that ages stand still."""
WORKER = Path(__file__).with_name("fake_worker.py")

__all__ = ["NOW", "WORKER", "app", "heatmap", "line", "pressing", "screen_of", "screen_text", "settle", "until"]


def app(store: Path, run: str | None = None, *worker: str) -> LyrxApp:
    """The app with a fake worker, started by the first measurement; it looks at the store when told to."""
    made = LyrxApp(store, [sys.executable, str(WORKER), *worker], run, warm_up=False, poll_seconds=3600)
    made.clock = lambda: NOW
    return made


def heatmap(pilot: Pilot) -> Heatmap:
    return pilot.app.screen.query_one(Heatmap)


def line(pilot: Pilot, selector: str) -> str:
    """What a widget of text says."""
    return str(pilot.app.screen.query_one(selector, Static).render())


def pressing(*keys: str) -> Callable[[Pilot], Awaitable[None]]:
    """What is done before a picture is taken: press these keys, once everything is on the screen."""

    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        await pilot.press(*keys)
        await settle(pilot)

    return press


async def until(pilot: Pilot, condition: Callable[[], object]) -> None:
    """Wait for what a worker process or a thread brings about."""
    for _ in range(2_000):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("it did not happen")


def screen_of(pilot: Pilot) -> HeatmapScreen:
    assert isinstance(pilot.app.screen, HeatmapScreen)
    return pilot.app.screen
