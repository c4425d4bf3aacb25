"""The terminal app as it looks: every picture was looked at before it was accepted."""

from pathlib import Path

import fakes
import pytest
from driving import app, pressing, screen_of, settle
from lyrx.explorer.core.doing import Mark
from lyrx.explorer.core.marks import State
from lyrx.explorer.core.queue import Device
from lyrx.store import Cell, Store
from textual.pilot import Pilot

NAME = Path("lyrx.zarr")

PICTURES = {
    "runs": (None, ()),
    "complete": ("fcn-3x256", ()),
    "partial": ("fcn-again", ("left",)),
    "training": ("resnet18", ("enter",)),
    "deep": ("vit-b16", (*["down"] * 11, "right")),
    "deep-agreement": ("vit-b16", ("m", "m", "d")),
    "distance": ("fcn-3x256", ("M", "right", "right", "right")),
    "damaged": (fakes.EVIL, ("j", "l", "l")),
    "network": ("fcn-3x256", ("G",)),
    "help": ("fcn-3x256", ("question_mark",)),
}


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["80x24", "200x50"])
@pytest.mark.parametrize("picture", PICTURES)
def test_picture(shown, snap_compare, picture: str, size: tuple[int, int]):
    run, keys = PICTURES[picture]

    assert snap_compare(app(shown, run), terminal_size=size, run_before=pressing(*keys))


@pytest.fixture
def kinds(tmp_path, state, monkeypatch) -> Path:
    """A store whose one run has every kind of column, a joint row and estimates."""
    monkeypatch.chdir(tmp_path)
    fakes.kinds_run(Store.open_or_create(NAME))
    return NAME


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 50)], ids=["80x24", "120x30", "200x50"])
@pytest.mark.parametrize(
    "keys", [(), ("down", "down", "down", "home", "right", "right"), ("d", "k")], ids=["first", "full", "plain"]
)
def test_picture_of_every_kind_of_column(kinds, snap_compare, size: tuple[int, int], keys: tuple[str, ...]):
    assert snap_compare(app(kinds, "fcn-kinds"), terminal_size=size, run_before=pressing(*keys))


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["80x24", "200x50"])
def test_picture_of_a_table_with_estimates(kinds, snap_compare, size: tuple[int, int]):
    assert snap_compare(app(kinds), terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", [(63, 24), (80, 24)], ids=["too-small", "80x24"])
def test_picture_of_an_empty_store(tmp_path, monkeypatch, snap_compare, size: tuple[int, int]):
    monkeypatch.chdir(tmp_path)
    Store.open_or_create(NAME)
    assert snap_compare(app(NAME), terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=["80x24", "200x50"])
def test_picture_of_a_measurement(shown, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        screen = screen_of(pilot)
        work = screen.lyrx.measuring
        assert screen.key is not None
        for cell, mark in [
            (Cell(0, 1), Mark(State.RUNNING, 0.42)),
            (Cell(1, 4), Mark(State.FAILED, message="the worker died: killed by SIGKILL")),
            *((Cell(layer, column), Mark(State.QUEUED)) for layer in (2, 3) for column in range(1, 6)),
        ]:
            work.marks.put(screen.key, cell, mark)
        work.device = Device("NVIDIA H100")
        screen.refresh_all()
        screen.refresh_marks()
        await settle(pilot)

    assert snap_compare(app(shown, "fcn-again"), terminal_size=size, run_before=press)
