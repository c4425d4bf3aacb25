"""Measuring as it looks: the queue, a cell that failed, a joint row, the list of probes."""

import time
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
from driving import app, heatmap, screen_of, screen_text, settle, until
from lyrx.explorer.core.doing import Mark
from lyrx.explorer.core.marks import State
from lyrx.explorer.core.queue import Device
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.store import Cell, Layer, Run, Store
from textual.pilot import Pilot

NAME = Path("lyrx.zarr")
RUN = "fcn-again"
SIZES = [(50, 24), (80, 24), (120, 36), (200, 50)]

at_sizes = pytest.mark.parametrize("size", SIZES, ids=[f"{width}x{height}" for width, height in SIZES])


@pytest.fixture
def made(tmp_path, state, monkeypatch) -> Path:
    """A run with a joint row beside its probe, and a probe by blocks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.localtime", time.gmtime)
    run = fakes.partial_run(Store.open_or_create(NAME), RUN)
    beside(run)
    return NAME


def beside(run: Run) -> None:
    base = run.probe().info
    row = Layer("fc2+fc3", base.layers[1].tensors + base.layers[2].tensors, 131_584, ("fc2", "fc3"))
    info = replace(base, layers=(row,), fingerprint="c0" * 32, companion=base.id, created=fakes.START + 90)
    probe = run.create_probe(info)
    probe.write(Cell(0, 1), fakes.estimate(0.312), evaluator="replay")
    probe.write(Cell(0, 2), fakes.estimate(0.104, n=4_000), evaluator="replay")
    for epoch in info.checkpoints:
        probe.write_distances(epoch, (0.01 * epoch / 100,), (0.1 * epoch / 100,))
    blocks = fakes.probe_info({"fc1": 200_960, "rest": 134_154}, granularity="block", fingerprint="b1" * 32)
    fakes.commit_cells(run.create_probe(replace(blocks, created=fakes.START - 9_000)), [Cell(None, 9), Cell(0, 1)])


def busy(screen: HeatmapScreen) -> None:
    """Two requests, one at work, and a cell that failed; nothing is sent."""
    work, key = screen.lyrx.measuring, screen.key
    assert key is not None
    assert screen.picture is not None
    info = screen.picture.probe
    work.clock = lambda: 100.0
    work.client.send = lambda message: None
    work.ask(key, [Cell(2, column) for column in range(1, 6)], exact=True, info=info)
    work.ask(key, [Cell(3, 0, draw) for draw in range(3)], info=info)
    first, second = work.requests.values()
    first.pace = (2_000, 50_000)
    first.heard(96.0)
    first.pace, first.done, first.at_work = (14_000, 50_000), 1, (Cell(2, 2), 4_000, 10_000)
    first.heard(100.0)
    first.turn = 1
    second.pace = (0, 30_000)
    first.asked = second.asked = 100.0  # not long enough for the queue to show itself
    del first.cells[0]
    work.marks.put(key, Cell(2, 1), None)
    work.marks.put(key, Cell(2, 2), Mark(State.RUNNING, 0.4))
    work.marks.put(key, Cell(1, 5), Mark(State.FAILED, message="the worker died: killed by SIGKILL"))
    work.device = Device("cuda:0 NVIDIA H100", 3_200_000_000, 79_600_000_000)
    screen.refresh_all()
    screen.refresh_marks()


async def ready(pilot: Pilot) -> None:
    """All that is read in the background is on the screen, the layer's weights too."""
    await settle(pilot)
    await until(pilot, lambda: "reading the weights" not in "\n".join(screen_text(pilot)))
    await settle(pilot)


@at_sizes
@pytest.mark.parametrize("queue", [False, True], ids=["measuring", "queue"])
def test_picture_of_a_measurement(made, snap_compare, size: tuple[int, int], queue: bool):
    async def press(pilot: Pilot) -> None:
        await ready(pilot)
        busy(screen_of(pilot))
        if queue:
            await pilot.press("Q", "down")
        await ready(pilot)

    assert snap_compare(app(made, RUN), terminal_size=size, run_before=press)


@at_sizes
def test_picture_of_a_failed_cell(made, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await ready(pilot)
        busy(screen_of(pilot))
        screen_of(pilot).lyrx.measuring.requests.clear()
        heatmap(pilot).move_to(1, 5)
        screen_of(pilot).refresh_all()
        await ready(pilot)

    assert snap_compare(app(made, RUN), terminal_size=size, run_before=press)


@at_sizes
def test_picture_of_a_joint_row(made, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await ready(pilot)
        heatmap(pilot).move_to(1, 1)
        await pilot.press("space", "down", "space")
        heatmap(pilot).move_to(4, 1)
        await ready(pilot)

    assert snap_compare(app(made, RUN), terminal_size=size, run_before=press)


@at_sizes
def test_picture_of_the_probes(made, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await ready(pilot)
        await pilot.press("p")
        await ready(pilot)

    assert snap_compare(app(made, RUN), terminal_size=size, run_before=press)
