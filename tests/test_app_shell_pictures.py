"""What is around the screens as it looks: every picture was looked at before it was accepted."""

import time

import pytest
from driving import app, settle
from textual.pilot import Pilot
from textual.widgets import Input

SIZES = [(50, 24), (80, 24), (120, 36), (200, 50)]

at_every_size = pytest.mark.parametrize("size", SIZES, ids=[f"{width}x{height}" for width, height in SIZES])


@pytest.fixture
def noon(monkeypatch):
    """Incidents tell the time of the place; here it is always the same one."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def failing(store):
    """The app after three things went wrong, one of them twice."""
    running = app(store, "fcn-3x256")
    running.incidents.clock = lambda: 1_700_049_600.0
    add = running.incidents.add
    add("the worker died", "killed by SIGKILL while it measured fc2 at 3: probably out of memory", "Ask again.")
    add("the worker died", "killed by SIGKILL while it measured fc2 at 3: probably out of memory", "Ask again.")
    add("a setting is not used", "config.toml, them: there is no such setting", "Did you mean 'theme'?")
    add(
        "an error in lyrx itself",
        "ZeroDivisionError: division by zero",
        "The app goes on. If it comes back, copy this and report it.",
        'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nZeroDivisionError: division by zero',
    )
    return running


def pressing(*keys: str):
    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            for found in pilot.app.screen.query(Input):
                found.cursor_blink = False
        await settle(pilot)

    return press


@at_every_size
def test_picture_of_help(shown, snap_compare, size: tuple[int, int]):
    running = app(shown, "fcn-3x256")
    assert snap_compare(running, terminal_size=size, run_before=pressing("question_mark"))


@at_every_size
def test_picture_of_commands(shown, snap_compare, size: tuple[int, int]):
    running = app(shown, "fcn-3x256")
    assert snap_compare(running, terminal_size=size, run_before=pressing("colon", *"me"))


@at_every_size
def test_picture_of_what_went_wrong(shown, noon, snap_compare, size: tuple[int, int]):
    assert snap_compare(failing(shown), terminal_size=size, run_before=pressing("exclamation_mark"))


@at_every_size
def test_picture_of_the_light_theme_and_a_notice(shown, noon, snap_compare, size: tuple[int, int]):
    running = failing(shown)

    async def light(pilot: Pilot) -> None:
        running.choose_theme("lyrx-light")
        await pressing()(pilot)

    assert snap_compare(running, terminal_size=size, run_before=light)


@at_every_size
@pytest.mark.parametrize("keys", [(), ("question_mark",), ("q",)], ids=["heatmap", "help", "runs"])
def test_picture_without_colours(shown, monkeypatch, snap_compare, keys: tuple[str, ...], size: tuple[int, int]):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app(shown, "fcn-3x256"), terminal_size=size, run_before=pressing(*keys))
