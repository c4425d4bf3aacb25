"""The table of runs as it looks: every picture was looked at before it was accepted."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from driving import NOW, app, settle
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.core.runrow import RunRow, Table
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.store import Store
from textual.pilot import Pilot

NAME = Path("lyrx.zarr")
SIZES = pytest.mark.parametrize("size", [(50, 24), (80, 24), (120, 36), (200, 50)], ids=lambda s: f"{s[0]}x{s[1]}")


class Still:
    """A feed that knows one table, and finds nothing new."""

    unread = 0

    def __init__(self, table: Table):
        self._table: Table | None = table

    def poll(self, *, budget: float | None = None) -> Table | None:
        table, self._table = self._table, None
        return table


def states() -> Table:
    """A run in every state, as they stand in a store beside runs that are done."""
    done = RunRow("fcn-3x256", "FCN 3 x 256", "MNIST", "complete", 0.0152, 100, 100, 57, 57, 57, 4, 9, 9,
                  created=NOW - 40 * 86400, trained=True, epoch_seconds=40.0)  # fmt: skip
    seed = replace(done, model="ResNet-18", data="CIFAR-10", layers=20, error=0.0481, wanted=600, cells=600, exact=600)
    half = replace(seed, trained=False, cells=0, exact=0, open=600, checkpoints=5, touched=NOW - 30)
    return Table((
        done,
        replace(seed, name="resnet18-cifar10-seed1", created=NOW - 9 * 86400, exact=412),
        replace(half, name="resnet18-cifar10-seed2-lr0.1", status="interrupted", epoch=40, error=0.1123,
                created=NOW - 5 * 86400),
        replace(half, name="resnet18-cifar10-seed3-lr3", status="interrupted", epoch=2, error=0.9,
                failure="OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", created=NOW - 3 * 86400),
        replace(seed, name="vit-b16-imagenet", model="ViT-B/16", data="ImageNet", layers=50, status="probing",
                error=0.1894, cells=310, open=290, exact=0, touched=NOW - 20, created=NOW - 86400,
                writer="process 4711 on gpu2 (batch)"),
        replace(half, name="mixer-b16", model="Mixer-B/16", status="training", epoch=71, error=0.0893,
                touched=NOW - 3 * 3600, created=NOW - 8 * 3600, writer="process 812 (batch)"),
        replace(half, name="resnet50-cifar100", model="ResNet-50", data="CIFAR-100", layers=54, status="training",
                epoch=12, error=0.4401, created=NOW - 40 * 60, writer="process 901 (batch)"),
        replace(half, name="vgg11-cifar10", model="VGG-11", layers=11, status=None, epoch=None, error=None, wanted=0,
                created=NOW - 30),
    ))  # fmt: skip


def many() -> Table:
    """A thousand runs, most of them complete."""
    one = states().rows[1]
    models = ("ResNet-18", "ResNet-50", "VGG-11", "ViT-B/16")
    return Table(tuple(
        replace(one, name=f"{models[n % 4].lower().replace('/', '')}-seed{n}", model=models[n % 4],
                error=0.04 + (n * 37 % 100) / 1000, created=NOW - (1000 - n) * 7000,
                status="interrupted" if n % 7 == 0 else "complete")
        for n in range(1_000)
    ))  # fmt: skip


def show(table: Table, *keys: str):
    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        screen = RunsScreen(Still(table))  # type: ignore[arg-type]
        await pilot.app.push_screen(screen)
        await settle(pilot)
        await pilot.press(*keys)
        await settle(pilot)

    return press


@SIZES
def test_picture_of_a_store(shown, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        await pilot.press("G", "k")
        await settle(pilot)

    assert snap_compare(app(shown), terminal_size=size, run_before=press)


@SIZES
@pytest.mark.parametrize(
    "keys",
    [(), ("j", "space", "j", "space", "j"), ("slash", *"resnet -seed3 error<50%"), ("slash", *"eror<5"),
     ("slash", *"state:complete zzz", "enter")],
    ids=["states", "marked", "filtered", "wrong", "none"],
)  # fmt: skip
def test_picture_of_states(shown, snap_compare, size: tuple[int, int], keys: tuple[str, ...]):
    assert snap_compare(app(shown), terminal_size=size, run_before=show(states(), *keys))


@SIZES
def test_picture_of_a_thousand_runs(shown, snap_compare, size: tuple[int, int]):
    keys = ("s", "s", "s", *["pagedown"] * 3)
    assert snap_compare(app(shown), terminal_size=size, run_before=show(many(), *keys))


@SIZES
def test_picture_of_an_empty_store(tmp_path, monkeypatch, snap_compare, state, size: tuple[int, int]):
    monkeypatch.chdir(tmp_path)
    Store.open_or_create(NAME)
    assert snap_compare(app(NAME), terminal_size=size, run_before=settle)


@SIZES
def test_picture_of_a_store_that_went_away(own, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        os.rename(own, "away")
        await pilot.press("R")
        await settle(pilot)
        # The line for what went wrong tells the whole path, which is another one each time.
        assert isinstance(pilot.app, LyrxApp)
        pilot.app.see_incidents()
        await settle(pilot)

    assert snap_compare(app(own), terminal_size=size, run_before=press)
