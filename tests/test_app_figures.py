"""The cell's panel, its figures and the network's screen in the app: every action by key and by mouse."""

import os
import shutil
import signal
import sys
from pathlib import Path

import fakes
import fakes_figures
import pytest
from driving import app, heatmap, line, screen_of, screen_text, settle, until
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.core.doing import Mark
from lyrx.explorer.core.marks import State
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.screens.model import ModelScreen
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.explorer.widgets.chart import Chart
from lyrx.explorer.widgets.modeltree import ModelTree
from lyrx.explorer.widgets.side import CellSide
from lyrx.store import Cell, Store
from textual.pilot import Pilot
from textual.widgets import Input

BESIDE, BELOW, CLOSE = (200, 50), (80, 24), (50, 24)


@pytest.fixture(scope="session")
def figured(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("figured") / "lyrx.zarr"
    store = Store.open_or_create(path)
    fakes_figures.fcn_run(store)
    fakes_figures.resnet_run(store)
    fakes_figures.tied_run(store)
    return path


@pytest.fixture
def own(figured: Path, state: None, tmp_path) -> Path:
    """A copy to write to."""
    path = tmp_path / "lyrx.zarr"
    shutil.copytree(figured, path, copy_function=os.link)
    return path


def lyrx(pilot: Pilot) -> LyrxApp:
    assert isinstance(pilot.app, LyrxApp)
    return pilot.app


def charts(pilot: Pilot) -> list[Chart]:
    return [chart for chart in pilot.app.screen.query(Chart) if chart.display]


def side(pilot: Pilot) -> CellSide:
    return pilot.app.screen.query_one(CellSide)


async def drawn(pilot: Pilot) -> None:
    """Wait until plotext is there and the weights have been read."""
    await settle(pilot)
    await until(pilot, lambda: "plotext" in sys.modules)
    weights = lyrx(pilot).weights
    await until(pilot, lambda: weights._task is None or weights._task.done())
    await settle(pilot)
    # The answer may have come in the very moment, and not be drawn yet.
    reading = [chart for chart in pilot.app.screen.query(Chart) if chart.display]
    await until(pilot, lambda: not any(chart.plot.empty.startswith("reading") for chart in reading))
    await settle(pilot)


def tree(pilot: Pilot) -> ModelTree:
    return pilot.app.screen.query_one(ModelTree)


def here(pilot: Pilot) -> str:
    row = tree(pilot).here
    assert row is not None
    return row.node.path


# Figures


async def test_the_figures_come_one_after_the_other_by_key_and_by_mouse(figured, state):
    async with app(figured, "fcn-weights").run_test(size=BELOW) as pilot:
        await drawn(pilot)
        (chart,) = charts(pilot)
        assert [series.label for series in chart.plot.series] == ["fc1", "network", "draws"]
        await pilot.press("i")
        await drawn(pilot)
        assert chart.plot.title == "weights"
        assert [series.label for series in chart.plot.series] == ["trained", "initialisation"]
        await pilot.click(chart)
        assert chart.plot.title == "training"
        assert screen_of(pilot).view.figure == "training"
        await pilot.press("i")
        assert screen_of(pilot).view.figure == "curve"


async def test_where_there_is_room_all_figures_are_shown(figured, state):
    async with app(figured, "fcn-weights").run_test(size=BESIDE) as pilot:
        await drawn(pilot)
        assert [chart.plot.title for chart in charts(pilot)] == ["", "weights", "training"]
        await pilot.press("i")
        assert [chart.plot.title for chart in charts(pilot)] == ["weights", "training", ""]
        text = "\n".join(screen_text(pilot))
        assert any("⠀" < character <= "⣿" for character in text), "they are drawn"


async def test_in_a_narrow_terminal_words_and_figures_take_turns(figured, state):
    async with app(figured, "fcn-weights").run_test(size=CLOSE) as pilot:
        await drawn(pilot)
        assert charts(pilot) == []
        assert "examples" in line(pilot, "#cell")
        await pilot.press("i")
        await drawn(pilot)
        assert charts(pilot)[0].plot.series[0].label == "fc1"
        assert line(pilot, "#cell").splitlines()[0].startswith("fc1 at checkpoint 0")
        await pilot.press("i", "i", "i")
        assert charts(pilot) == []
        await pilot.click("#cell")
        assert len(charts(pilot)) == 1


async def test_the_histogram_follows_the_cursor_and_is_remembered(figured, state):
    async with app(figured, "fcn-weights").run_test(size=BELOW) as pilot:
        await drawn(pilot)
        assert lyrx(pilot).weights.pid is None, "nothing is read before it is to be seen"
        await pilot.press("i", "right", "down")
        await drawn(pilot)
        (chart,) = charts(pilot)
        assert chart.plot.series[0].label == "checkpoint 1"
        assert "64 × 64" not in line(pilot, "#cell")
        numbers = chart.plot.foot
        assert any(part.startswith("4,096 weights of fc2.weight") for part in numbers)
        pid = lyrx(pilot).weights.pid
        await pilot.press("up")
        await drawn(pilot)
        assert chart.plot.foot != numbers
        await pilot.press("down")
        assert chart.plot.foot == numbers, "at once, without asking again"
        assert lyrx(pilot).weights.pid == pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_reader_that_dies_is_told_and_another_one_reads(figured, state):
    async with app(figured, "fcn-weights").run_test(size=BELOW) as pilot:
        await drawn(pilot)
        await pilot.press("i")
        await drawn(pilot)
        weights = lyrx(pilot).weights
        assert weights.pid is not None
        os.kill(weights.pid, signal.SIGSTOP)
        await pilot.press("right")
        await until(pilot, lambda: weights._asking is not None)
        assert weights.pid is not None
        os.kill(weights.pid, signal.SIGKILL)
        await drawn(pilot)
        assert "killed by SIGKILL" in charts(pilot)[0].plot.empty
        await pilot.press("right")
        await drawn(pilot)
        assert charts(pilot)[0].plot.series[0].label == "checkpoint 2"


async def test_weights_that_cannot_be_read_are_told_in_words(own, state):
    run = Store.open(own).run("fcn-weights")
    for chunk in (run.path / "weights" / "fc1.weight" / "c" / "4").rglob("*"):
        if chunk.is_file():
            data = chunk.read_bytes()
            chunk.unlink()  # it is linked from elsewhere
            chunk.write_bytes(data[:8] + bytes([data[8] ^ 1]) + data[9:])
    async with app(own, "fcn-weights").run_test(size=BELOW) as pilot:
        await drawn(pilot)
        await pilot.press("i", *["right"] * 4)
        await drawn(pilot)
        assert "tensor 'fc1.weight' at checkpoint 8" in charts(pilot)[0].plot.empty
        assert "is damaged" in charts(pilot)[0].plot.empty
        await pilot.press("G")
        assert "choose a layer" in charts(pilot)[0].plot.empty
    run.checkpoints.commits.withdraw((4,))
    async with app(own, "fcn-weights").run_test(size=BELOW) as pilot:
        await drawn(pilot)
        await pilot.press("i", *["right"] * 4)
        await drawn(pilot)
        assert charts(pilot)[0].plot.empty == "checkpoint 8 is not in the store yet"


async def test_a_folded_stage_is_told_by_its_worst_layer(figured, state):
    async with app(figured, "resnet18-real").run_test(size=BESIDE) as pilot:
        await drawn(pilot)
        await pilot.press("Z")
        while not screen_of(pilot).row.key.endswith("layer1"):  # type: ignore[union-attr]
            before = heatmap(pilot).cursor
            await pilot.press("down")
            if heatmap(pilot).cursor == before:
                await pilot.press("Z")
                await pilot.press("g")
        panel = line(pilot, "#cell")
        assert "worst is" in panel
        assert "of 4" in panel
        for name in ("layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2"):
            assert name in panel
        assert "worst of" in charts(pilot)[0].plot.series[0].label


async def test_a_failure_is_told_with_its_message(figured, state):
    async with app(figured, "fcn-weights").run_test(size=BELOW) as pilot:
        await drawn(pilot)
        screen = screen_of(pilot)
        assert screen.key is not None
        lyrx(pilot).measuring.marks.put(screen.key, Cell(0, 1), Mark(State.FAILED, message="the worker died: killed"))
        screen.refresh_marks()
        await settle(pilot)
        assert line(pilot, "#cell").splitlines()[1].startswith("failed: the worker died")


async def test_the_panel_follows_a_terminal_that_is_resized(figured, state):
    async with app(figured, "fcn-weights").run_test(size=BESIDE) as pilot:
        await drawn(pilot)
        for size, count in ((BELOW, 1), ((120, 36), 1), (CLOSE, 0), (BESIDE, 3)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert len(charts(pilot)) == count, size
            assert max(map(len, line(pilot, "#cell").splitlines())) <= pilot.app.screen.query_one("#cell").size.width


# The network


async def test_the_network_is_opened_from_the_heatmap_and_leads_back_to_a_layer(figured, state):
    async with app(figured, "resnet18-real").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "t")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ModelScreen)
        assert here(pilot) == "layer1.0.conv2", "the cursor is where it was, the norm that follows included"
        await pilot.press("j", "j", "j")
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, HeatmapScreen)
        row = screen_of(pilot).row
        assert row is not None
        assert row.name == "layer1.1.conv1"
        await pilot.press("t")
        await settle(pilot)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, HeatmapScreen)


async def test_a_layer_in_a_folded_stage_is_unfolded(figured, state):
    async with app(figured, "resnet18-real").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("Z", "Z", "t")
        await settle(pilot)
        await pilot.press("slash", *"layer4.1.conv2", "enter", "enter")
        await settle(pilot)
        row = screen_of(pilot).row
        assert row is not None
        assert row.name == "layer4.1.conv2"


async def test_the_network_is_opened_from_the_table_of_runs(figured, state):
    async with app(figured).run_test(size=BELOW) as pilot:
        await settle(pilot)
        await pilot.press("j", "t")
        await settle(pilot)
        assert "11,689,512 weights in 62 tensors" in line(pilot, "#title")
        assert "robust" in line(pilot, "#sums")
        await pilot.press("enter")
        await settle(pilot)
        row = screen_of(pilot).row
        assert row is not None
        assert row.name == "conv1"
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_folding_by_keys(figured, state):
    async with app(figured, "resnet18-real").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        count = len(tree(pilot).rows)
        await pilot.press("space")
        assert len(tree(pilot).rows) == count + 1, "conv1 holds one tensor"
        await pilot.press("left")
        assert len(tree(pilot).rows) == count
        await pilot.press("right", "right")
        assert here(pilot) == "conv1.weight"
        await pilot.press("h")
        assert here(pilot) == "conv1"
        await pilot.press("h", "j", "j", "l")
        assert here(pilot) == "layer1.0"
        await pilot.press("z")
        tops = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
        assert [row.node.path for row in tree(pilot).rows] == tops
        assert here(pilot) == "layer1", "what hides the line has the cursor"
        await pilot.press("enter")
        assert len(tree(pilot).rows) == 9, "a stage of several layers is unfolded"
        await pilot.press("Z")
        assert len(tree(pilot).rows) == count
        await pilot.press("Z")
        assert len(tree(pilot).rows) > 120
        await pilot.press("G")
        assert here(pilot) == "fc.bias"
        await pilot.press("g", "pagedown")
        assert tree(pilot).cursor > 5
        await pilot.press("home", "down", "up")
        assert tree(pilot).cursor == 0


async def test_folding_and_choosing_by_mouse(figured, state):
    async with app(figured, "resnet18-real").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        count = len(tree(pilot).rows)
        left = tree(pilot).content_region.x - tree(pilot).region.x
        await pilot.click(ModelTree, offset=(left, 3))
        assert here(pilot) == "layer1"
        assert len(tree(pilot).rows) < count
        await pilot.click(ModelTree, offset=(left + 20, 2))
        assert here(pilot) == "bn1"
        await pilot.click(ModelTree, offset=(left + 20, 2))
        await settle(pilot)
        assert screen_of(pilot).row.name == "conv1"  # type: ignore[union-attr]


async def test_searching_shows_what_is_typed_and_escape_clears(figured, state):
    async with app(figured, "resnet18-real").run_test(size=BELOW) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        count = len(tree(pilot).rows)
        await pilot.press("slash", *"downs")
        await settle(pilot)
        assert here(pilot) == "layer2.0.downsample"
        assert "9 found" in line(pilot, "#note")
        await pilot.press("enter", "j")
        assert here(pilot) == "layer2.0.downsample.0"
        await pilot.press("slash", *"xyz", "enter")
        await settle(pilot)
        assert "nothing is called so" in line(pilot, "#note")
        assert len(tree(pilot).rows) == 0
        await pilot.press("enter", "space", "j")  # on nothing
        await pilot.press("escape")
        await settle(pilot)
        assert len(tree(pilot).rows) == count
        assert pilot.app.screen.query_one("#query", Input).value == ""
        assert isinstance(pilot.app.screen, ModelScreen)
        await pilot.press("q")
        assert isinstance(pilot.app.screen, HeatmapScreen)


async def test_the_largest_first(figured, state):
    async with app(figured, "resnet18-real").run_test(size=BELOW) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        await pilot.press("s")
        assert here(pilot) == "layer4"
        await pilot.press("s")
        assert here(pilot) == "conv1"


async def test_columns_that_tell_are_gone_through(tmp_path, state):
    fakes.kinds_run(Store.open_or_create(tmp_path / "s.zarr"))
    async with app(tmp_path / "s.zarr", "fcn-kinds").run_test(size=BELOW) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        said = [line(pilot, "#sums")]
        for _ in range(4):
            await pilot.press("c")
            said.append(line(pilot, "#sums"))
        assert "at checkpoint 0" in said[0]
        assert any("set to zero" in words for words in said)
        assert len(set(said)) > 3
        assert tree(pilot).here is not None


async def test_verdicts_follow_the_store(own, state):
    async with app(own, "gpt-tied").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        assert "not measured" in line(pilot, "#sums")
        assert "in 3 layers" in line(pilot, "#sums")
        probe = Store.open(own).run("gpt-tied").probe()
        for cell in probe.info.cells():
            fakes_figures.commit(probe, cell)
        await pilot.press("R")
        await settle(pilot)
        assert "in no layer" in line(pilot, "#sums"), "only what no layer resets is left"


async def test_a_run_that_is_removed_meanwhile_is_told(own, state):
    async with app(own, "gpt-tied").run_test(size=BELOW) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        Store.open(own).delete_run("gpt-tied")
        await pilot.press("R")
        await settle(pilot)
        assert "was removed" in line(pilot, "#note")
        assert here(pilot) == "embed"


async def test_names_from_a_file_are_harmless(tmp_path, state):
    tensors = [fakes_figures.tensor(f"{fakes.EVIL}.weight", 4, 4), fakes_figures.tensor("b.weight", 2, 2)]
    layers = fakes_figures.layers_of(tensors, {fakes.EVIL: (fakes.EVIL,), "b": ("b",)})
    fakes_figures.trained_run(Store.open_or_create(tmp_path / "s.zarr"), "evil", tensors, layers)
    async with app(tmp_path / "s.zarr", "evil").run_test(size=BELOW) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        assert "\x1b" not in text
        assert "\\x1b[31m[bold]x" in text
