"""The cell's panel, its figures and the network's screen as they look: each picture was looked at."""

import sys
from pathlib import Path

import fakes_figures
import pytest
from driving import app, pressing, screen_of, settle, until
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.core.doing import Mark
from lyrx.explorer.core.marks import State
from lyrx.explorer.widgets.chart import Chart
from lyrx.store import Cell, Store
from textual.pilot import Pilot

NAME = Path("lyrx.zarr")
SIZES = pytest.mark.parametrize(
    "size", [(50, 24), (80, 24), (120, 36), (200, 50)], ids=["50x24", "80x24", "120x36", "200x50"]
)


@pytest.fixture(scope="session")
def pictured(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictured") / NAME
    store = Store.open_or_create(path)
    fakes_figures.fcn_run(store)
    fakes_figures.resnet_run(store)
    fakes_figures.tied_run(store)
    fakes_figures.thin_run(store)
    return path


@pytest.fixture
def shown_here(pictured: Path, state: None, monkeypatch) -> Path:
    """Under a path that is the same on every machine."""
    monkeypatch.chdir(pictured.parent)
    return NAME


async def drawn(pilot: Pilot) -> None:
    """Wait until plotext is there and the weights have been read."""
    await settle(pilot)
    assert isinstance(pilot.app, LyrxApp)
    weights = pilot.app.weights
    await until(pilot, lambda: "plotext" in sys.modules)
    await until(pilot, lambda: weights._task is None or weights._task.done())
    await settle(pilot)
    # The answer may have come in the very moment, and not be drawn yet.
    reading = [chart for chart in pilot.app.screen.query(Chart) if chart.display]
    await until(pilot, lambda: not any(chart.plot.empty.startswith("reading") for chart in reading))
    await settle(pilot)


CELLS = {
    "curve": ("fcn-weights", ("right",)),
    "curve-random": ("fcn-weights", ("i", "left")),
    "weights": ("fcn-weights", ("right", "right", "right", "right", "i", "i")),
    "training": ("fcn-weights", ("i", "i", "i")),
    "network": ("fcn-weights", ("G", "i", "i")),
    "folded": ("resnet18-thin", ("Z", "Z", "down", "right")),
}


@SIZES
@pytest.mark.parametrize("picture", CELLS)
def test_picture_of_a_cell(shown_here, snap_compare, picture: str, size: tuple[int, int]):
    run, keys = CELLS[picture]
    # Where there is room for one of them only, words come before the figures.
    keys = keys if size[0] == 50 else tuple(key for index, key in enumerate(keys) if key != "i" or "i" in keys[:index])

    async def press(pilot: Pilot) -> None:
        await drawn(pilot)
        await pilot.press(*keys)
        await drawn(pilot)

    assert snap_compare(app(shown_here, run), terminal_size=size, run_before=press)


@SIZES
def test_picture_of_a_failed_cell(shown_here, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await drawn(pilot)
        screen = screen_of(pilot)
        work = screen.lyrx.measuring
        assert screen.key is not None
        words = "the worker died: killed by SIGKILL. It may have run out of memory: set probe.memory in the spec."
        work.marks.put(screen.key, Cell(0, 1), Mark(State.FAILED, message=words))
        work.marks.put(screen.key, Cell(1, 1), Mark(State.RUNNING, 0.42))
        screen.refresh_all()
        screen.refresh_marks()
        await drawn(pilot)

    assert snap_compare(app(shown_here, "fcn-weights"), terminal_size=size, run_before=press)


MODELS = {
    "fcn": ("fcn-weights", ("t",)),
    "deep": ("resnet18-real", ("t", "j", "j")),
    "folded": ("resnet18-real", ("t", "z")),
    "tied": ("gpt-tied", ("t", "space", "j", "j", "space")),
    "searching": ("resnet18-real", ("t", "slash", *"layer3 conv")),
    "sorted": ("resnet18-real", ("t", "s")),
}


@SIZES
@pytest.mark.parametrize("picture", MODELS)
def test_picture_of_a_network(shown_here, snap_compare, picture: str, size: tuple[int, int]):
    run, keys = MODELS[picture]

    assert snap_compare(app(shown_here, run), terminal_size=size, run_before=pressing(*keys))
