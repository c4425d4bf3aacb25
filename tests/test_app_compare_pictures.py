"""Runs beside each other as they look: every picture was looked at before it was accepted."""

import shutil
import sys
from pathlib import Path

import comparable
import pytest
from comparable import FIRST, WORSE
from driving import app, settle, until
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.widgets.chart import Chart
from lyrx.store import Store
from textual.pilot import Pilot

NAME = Path("lyrx.zarr")
SIZES = [(50, 24), (80, 24), (120, 36), (200, 50)]

PICTURES = {
    "two": ((FIRST, WORSE), ("down",)),
    "three": ((FIRST, WORSE, "fcn-kinds"), ()),
    "difference": ((FIRST, WORSE), ("D", "down")),
    "whole": ((FIRST, WORSE), ("i",)),
    "curves": ((FIRST, WORSE, "resnet18"), ("K",)),
    "deep": (("vit-b16", "vit-b16-again"), ("o",)),
    "folded": (("vit-b16", "vit-b16-again"), ("Z", "down")),
    "nothing-in-common": ((FIRST, "vit-b16"), ()),
}


@pytest.fixture(scope="session")
def pictured(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictured") / NAME
    comparable.fill(path)
    run = Store.open(path).run("fcn-kinds")
    shutil.copytree(run.path, run.path.parent / "unprobed")
    text = (run.path.parent / "unprobed" / "zarr.json").read_text()
    (run.path.parent / "unprobed" / "zarr.json").unlink()
    (run.path.parent / "unprobed" / "zarr.json").write_text(text.replace('"fcn-kinds"', '"unprobed"'))
    for probe in (run.path.parent / "unprobed" / "probes").iterdir():
        if probe.is_dir():
            shutil.rmtree(probe)
    return path


@pytest.fixture
def store(pictured: Path, state, monkeypatch) -> Path:
    monkeypatch.chdir(pictured.parent)
    return NAME


async def show(pilot: Pilot, runs: tuple[str, ...], keys: tuple[str, ...]) -> None:
    await settle(pilot)
    assert isinstance(pilot.app, LyrxApp)
    pilot.app.compare(runs)
    await settle(pilot)
    await pilot.press(*keys)
    await settle(pilot)
    if "K" in keys:
        await until(pilot, lambda: "plotext" in sys.modules)
        charts = list(pilot.app.screen.query(Chart))
        await until(pilot, lambda: all(any(0x2800 < ord(c) < 0x2900 for c in str(one.render())) for one in charts))
    await settle(pilot)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("picture", PICTURES)
def test_picture_of_a_comparison(store, snap_compare, picture: str, size: tuple[int, int]):
    runs, keys = PICTURES[picture]

    async def press(pilot: Pilot) -> None:
        await show(pilot, runs, keys)

    assert snap_compare(app(store), terminal_size=size, run_before=press)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_picture_of_a_run_without_a_probe(store, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await show(pilot, (FIRST, "unprobed"), ())

    assert snap_compare(app(store), terminal_size=size, run_before=press)


@pytest.mark.parametrize("keys", [(), ("D",), ("K",)], ids=["two", "difference", "curves"])
def test_picture_in_the_light_theme(store, snap_compare, keys: tuple[str, ...]):
    async def press(pilot: Pilot) -> None:
        pilot.app.theme = "lyrx-light"
        await show(pilot, (FIRST, WORSE), keys)

    assert snap_compare(app(store), terminal_size=(120, 36), run_before=press)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("keys", [(), ("D",), ("D", "d")], ids=["two", "difference", "shades"])
def test_picture_without_colours(store, monkeypatch, snap_compare, keys: tuple[str, ...], size: tuple[int, int]):
    monkeypatch.setenv("NO_COLOR", "1")

    async def press(pilot: Pilot) -> None:
        await show(pilot, (FIRST, WORSE), keys)

    assert snap_compare(app(store), terminal_size=size, run_before=press)


@pytest.mark.parametrize("size", [(50, 24), (80, 24)], ids=["50x24", "80x24"])
def test_picture_of_writing_a_file(store, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await show(pilot, (FIRST, WORSE), ("D", "w"))

    assert snap_compare(app(store), terminal_size=size, run_before=press)


@pytest.fixture(scope="session")
def probed(tmp_path_factory) -> Path:
    """Two residual nets, one with a probe by blocks beside that by layers."""
    path = tmp_path_factory.mktemp("probed") / NAME
    made = Store.open_or_create(path)
    comparable.staged_run(made, "res-one")
    shifts = {"layer1.0.conv1": -0.2, "layer1.0.conv2": 0.3, "layer2.1.conv1": 0.1}
    comparable.block_probe(comparable.staged_run(made, "res-two", shifts))
    return path


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
@pytest.mark.parametrize("keys", [("tab", "p"), ("tab", "p", "k", "enter"), ("D", "Z", "down")],
                         ids=["choosing", "chosen", "folded-difference"])  # fmt: skip
def test_picture_of_other_probes(
    probed, state, monkeypatch, snap_compare, keys: tuple[str, ...], size: tuple[int, int]
):
    monkeypatch.chdir(probed.parent)

    async def press(pilot: Pilot) -> None:
        await show(pilot, ("res-one", "res-two"), ())
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    assert snap_compare(app(NAME), terminal_size=size, run_before=press)


@pytest.mark.parametrize("size", [(50, 24), (80, 24)], ids=["50x24", "80x24"])
def test_picture_of_picking_runs(store, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        assert isinstance(pilot.app, LyrxApp)
        pilot.app.compare_with(FIRST)
        await settle(pilot)
        await pilot.press("tab")
        await settle(pilot)

    assert snap_compare(app(store), terminal_size=size, run_before=press)
