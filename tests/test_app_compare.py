"""Comparing runs in the app: by keys and by mouse, while the store changes."""

import sys

import comparable
import fakes
import pytest
from comparable import FIRST, WORSE
from comparing import maps, opened, screen
from driving import app, line, screen_text, settle, until
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.screens.compare_pane import Pane
from lyrx.explorer.screens.compare_pick import PickRuns
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.explorer.widgets.chart import Chart
from lyrx.explorer.widgets.keybar import KeyBar
from lyrx.store import Cell, Store
from textual.widgets import Input

WIDE = (200, 50)


@pytest.fixture(scope="session")
def compared_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("compared") / "lyrx.zarr"
    comparable.fill(path)
    return path


@pytest.fixture
def store(compared_store, state, monkeypatch):
    monkeypatch.chdir(compared_store.parent)
    return compared_store


@pytest.fixture
def mine(compared_store, state, tmp_path):
    """A copy to write to."""
    import os
    import shutil

    path = tmp_path / "lyrx.zarr"
    shutil.copytree(compared_store, path, copy_function=os.link)
    return path


# Opening


async def test_marked_runs_are_compared(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await settle(pilot)
        assert isinstance(pilot.app.screen, RunsScreen)
        names = [row.name for row in pilot.app.screen._sorted]
        assert len(names) == 6
        await pilot.press("space", "down", "space")
        await settle(pilot)
        marked = pilot.app.screen.marked
        assert len(marked) == 2
        await pilot.press("v")
        await settle(pilot)
        assert screen(pilot).runs == tuple(marked)
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_one_run_asks_for_the_others(store):
    async with app(store).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        chosen = pilot.app.screen.chosen.name  # pyright: ignore
        await pilot.press("v")
        await settle(pilot)
        assert isinstance(pilot.app.screen, PickRuns)
        picker = pilot.app.screen
        assert chosen not in [run.name for run in picker.shown]
        await pilot.press(*"vit")
        await settle(pilot)
        assert {run.name for run in picker.shown} | {chosen} >= {"vit-b16", "vit-b16-again"}
        assert all(run.name.startswith("vit") for run in picker.shown)
        picker.query_one(Input).value = "nothing is called so"
        await settle(pilot)
        assert "no run is called so" in line(pilot, "#pick-note")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_a_heatmaps_run_is_compared_with_several_that_are_picked(store):
    async with app(store, FIRST).run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("v")
        await settle(pilot)
        picker = pilot.app.screen
        assert isinstance(picker, PickRuns)
        assert [run.model for run in picker.shown][:2] == ["FCN 3 x 256"] * 2, "the same model first"
        await pilot.press("tab", "tab")
        assert len(picker.marked) == 2
        await pilot.press("up", "tab")
        assert len(picker.marked) == 1, "a mark is taken away again"
        await pilot.press("tab", "enter")
        await settle(pilot)
        assert screen(pilot).runs == (FIRST, *picker.marked)
        await pilot.press("q")
        assert isinstance(pilot.app.screen, HeatmapScreen), "back to where it was opened"


async def test_a_run_is_picked_by_mouse(store):
    async with app(store, FIRST).run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("v")
        await settle(pilot)
        assert isinstance(pilot.app.screen, PickRuns)
        second = pilot.app.screen.shown[1].name
        await pilot.click("#pick-list", offset=(4, 1))
        await settle(pilot)
        assert screen(pilot).runs == (FIRST, second)


# Side by side


@pytest.mark.parametrize("size", [(120, 36), WIDE])
async def test_one_cursor_moves_in_all(store, size):
    async with app(store).run_test(size=size) as pilot:
        await opened(pilot, FIRST, WORSE)
        assert [pane.display for pane in screen(pilot).panes()] == [True, True]
        for keys in ("down", "right", "G", "l", "g", "j j", "home", "end"):
            await pilot.press(*keys.split())
            one, other = maps(pilot)
            assert one.cursor == other.cursor, keys
        assert one.row_key == "skip"
        assert "skip at checkpoint 100" in line(pilot, "#compare-place")
        assert "has no such place" in line(pilot, "#compare-place")


async def test_the_panel_has_the_numbers_of_both_and_the_difference(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await opened(pilot, FIRST, WORSE)
        panel = line(pilot, "#compare-place")
        for words in ("fc1 at checkpoint 0", "77.80 %", "65.80 %", "−12.00", "lower", "critical"):
            assert words in panel
        await pilot.press("left")
        panel = line(pilot, "#compare-place")
        assert "≥ 95 %" in panel, "one of them saw all examples"
        whole = line(pilot, "#compare-whole")
        for words in ("largest", "Spearman", "verdicts", "robust → critical"):
            assert words in whole
        assert "with at least 90 %" in line(pilot, "#compare-about")


async def test_a_click_in_one_moves_the_cursor_in_the_other(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await opened(pilot, FIRST, WORSE)
        one, other = maps(pilot)
        grid = one._grid
        assert grid
        await pilot.click(other, offset=(grid.names + grid.x(3) - grid.x(0) + 2, 10))
        await settle(pilot)
        assert one.cursor == other.cursor != (0, 1)
        assert screen(pilot).chosen == 1
        assert "▸ B" in "\n".join(screen_text(pilot))


async def test_keys_work_while_the_chosen_run_has_nothing_to_show(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        view = await opened(pilot, FIRST, "no-such-run")
        await pilot.press("tab", "down")
        await settle(pilot)
        assert view.chosen == 1
        assert maps(pilot)[0].row_key == "fc2"
        assert "fc2 at checkpoint 0" in line(pilot, "#compare-place")
        await pilot.click("#pane-0 .pane-head")
        await settle(pilot)
        assert view.chosen == 0


async def test_narrow_terminals_show_one_at_a_time_and_tab_changes(store):
    async with app(store).run_test(size=(50, 24)) as pilot:
        view = await opened(pilot, "vit-b16", "vit-b16-again")
        assert [pane.display for pane in view.panes()] == [True, False]
        await pilot.press("down", "down", "tab")
        await settle(pilot)
        assert [pane.display for pane in view.panes()] == [False, True]
        assert maps(pilot)[1].cursor[0] == 2, "the cursor came along"
        assert view.focused is maps(pilot)[1]
        await pilot.press("shift+tab")
        assert [pane.display for pane in view.panes()] == [True, False]


async def test_a_resized_terminal_is_used(store):
    async with app(store).run_test(size=(50, 24)) as pilot:
        view = await opened(pilot, "vit-b16", "vit-b16-again")
        await pilot.resize_terminal(160, 40)
        await settle(pilot)
        assert [pane.display for pane in view.panes()] == [True, True]
        await pilot.resize_terminal(50, 24)
        await settle(pilot)
        assert sum(pane.display for pane in view.panes()) == 1


async def test_deep_networks_scroll_together(store):
    async with app(store).run_test(size=(120, 24)) as pilot:
        await opened(pilot, "vit-b16", "vit-b16-again")
        one, other = maps(pilot)
        await pilot.press(*["down"] * 25)
        await settle(pilot)
        assert one.scroll_y == other.scroll_y > 0
        before = one.scroll_y
        other.scroll_to(0, 0, animate=False)
        other.mouse_hover = True
        other.scroll_to(0, 3, animate=False)
        await settle(pilot)
        assert one.scroll_y == other.scroll_y == 3 != before


async def test_how_they_are_looked_at(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        view = await opened(pilot, FIRST, WORSE)
        one, other = maps(pilot)
        await pilot.press("m")
        assert one.scene.metric.name == other.scene.metric.name == "loss"  # pyright: ignore
        assert one.scene.scale == other.scene.scale  # pyright: ignore
        await pilot.press("M", "d", "C")
        assert not one.scene.digits  # pyright: ignore
        assert one.scene.scale.ramp.name == "viridis"  # pyright: ignore
        await pilot.press("s")
        assert "sorted by criticality" in line(pilot, "#legend")
        assert [row.key for row in one.scene.rows] == [row.key for row in other.scene.rows]  # pyright: ignore
        await pilot.press("o")
        assert view.view.overview
        assert one.scene.overview  # pyright: ignore


async def test_the_marks_of_either_run_are_told(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await opened(pilot, FIRST, WORSE)
        legend = line(pilot, "#legend")
        assert "· not measured" in legend, "in the second run alone"
        assert "~ estimate" in legend
        assert "– not available" in legend, "in the first run alone"


async def test_columns_that_only_some_have(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, "fcn-kinds")
        assert [column.label for column in maps(pilot)[0].scene.columns] == ["random", "0", "8", "100"]  # pyright: ignore
        assert "columns that not all have: shuffle" in line(pilot, "#note")
        await pilot.press("a")
        labels = [column.label for column in maps(pilot)[0].scene.columns]  # pyright: ignore
        assert "shuffle" in labels
        assert "90" in labels
        await pilot.press("a")
        assert len(maps(pilot)[0].scene.columns) == 4  # pyright: ignore


# The difference


async def test_the_difference_and_back(store):
    async with app(store).run_test(size=(80, 24)) as pilot:
        view = await opened(pilot, FIRST, WORSE)
        await pilot.press("down", "D")
        await settle(pilot)
        pane = view.query_one("#pane-difference", Pane)
        assert pane.display
        assert pane.map.row_key == "fc2", "the cursor stays"
        assert view.focused is pane.map
        assert "B − A  test error, points" in line(pilot, "#legend")
        assert "+21" in "\n".join(screen_text(pilot))
        await pilot.press("s")
        assert pane.map.scene.rows[0].key == "fc2", "the largest difference first"  # pyright: ignore
        await pilot.press("r")
        assert "A − B" in line(pilot, "#legend")
        assert "−21.00" in line(pilot, "#compare-place")
        await pilot.press("tab")
        assert "only two runs" in line(pilot, "#note")
        await pilot.press("l", "D")
        await settle(pilot)
        assert maps(pilot)[0].row_key == "fc2"
        assert maps(pilot)[0].cursor == maps(pilot)[1].cursor


async def test_of_three_runs_the_two_are_chosen(store):
    async with app(store).run_test(size=WIDE) as pilot:
        view = await opened(pilot, FIRST, WORSE, "fcn-kinds")
        await pilot.press("D")
        heads = []
        for _ in range(4):
            await settle(pilot)
            heads.append(line(pilot, "#legend").split("  ")[0])
            await pilot.press("tab")
        assert heads == ["B − A", "C − A", "C − B", "B − A"]
        await pilot.press("shift+tab")
        assert view.pair == (0, 1)


async def test_verdicts_as_differences(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await pilot.press("D", "M")
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        assert "worse" in text
        assert "same" in text


async def test_the_numbers_of_the_whole_where_there_is_no_room_for_both(store):
    async with app(store).run_test(size=(80, 24)) as pilot:
        await opened(pilot, FIRST, WORSE)
        assert not screen(pilot).query_one("#compare-whole").display
        await pilot.press("i")
        await settle(pilot)
        assert screen(pilot).query_one("#compare-whole").display
        assert "Spearman" in "\n".join(screen_text(pilot))
        await pilot.press("i")
        assert not screen(pilot).query_one("#compare-whole").display


# Curves


async def test_the_curves_of_all_runs(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        view = await opened(pilot, FIRST, WORSE, "resnet18")
        await pilot.press("K")
        await settle(pilot)
        charts = list(view.query(Chart))
        await until(pilot, lambda: "plotext" in sys.modules)
        await until(pilot, lambda: all(any(0x2800 < ord(c) < 0x2900 for c in str(chart.render())) for chart in charts))
        for chart in charts:
            drawn = str(chart.render())
            assert all(letter in drawn.split("\n", 1)[1] for letter in "ABC"), "letters on the curves themselves"
        assert "epoch 42 of 100" in line(pilot, "#compare-place")
        assert "lowest" in line(pilot, "#compare-place")
        await pilot.press("K")
        await settle(pilot)
        assert maps(pilot)[0].display
        assert not view.has_class("-curves")


# What stands in the way


async def test_no_layer_in_common(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, "vit-b16")
        assert "no layer in common" in "\n".join(screen_text(pilot))
        await pilot.press("D")
        await settle(pilot)
        assert "no layer in common" in "\n".join(screen_text(pilot))
        await pilot.press("down", "m", "s", "tab", "i", "D", "K")
        await settle(pilot)


async def test_a_run_without_a_probe(mine):
    import shutil

    run = Store.open(mine).run("resnet18")
    for probe in (run.path / "probes").iterdir():
        if probe.is_dir():
            shutil.rmtree(probe)
    async with app(mine).run_test(size=(120, 36)) as pilot:
        view = await opened(pilot, FIRST, "resnet18")
        text = "\n".join(screen_text(pilot))
        assert "has no probe" in text
        assert "77.8" in text, "the other is shown"
        assert view.sides[1].trained is not None
        await pilot.press("D")
        await settle(pilot)
        assert "no difference to show" in "\n".join(screen_text(pilot))


async def test_a_run_that_is_deleted_meanwhile(mine):
    async with app(mine).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        Store.open(mine).delete_run(WORSE)
        await pilot.press("R")
        await settle(pilot)
        assert "was removed" in line(pilot, "#note")
        assert "still shown" in line(pilot, "#note")
        assert "65.8" in "\n".join(screen_text(pilot))


async def test_a_run_that_was_never_there(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, "no-such-run")
        assert "no-such-run" in line(pilot, "#note")
        assert "77.8" in "\n".join(screen_text(pilot))


async def test_both_runs_may_grow(mine):
    async with app(mine).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        await pilot.press("G", "k", "l", "l", "l", "l")
        assert "not measured" in line(pilot, "#compare-place")
        probe = Store.open(mine).run(WORSE).probe()
        probe.write(Cell(4, 5, 0), fakes.estimate(0.0333), seconds=0.1)
        screen(pilot).read()
        await until(pilot, lambda: "3.33 %" in line(pilot, "#compare-place"))


async def test_a_theme_is_followed_and_help_lists_the_keys(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, FIRST, WORSE)
        pilot.app.theme = "lyrx-light"
        await settle(pilot)
        await pilot.press("question_mark")
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        for words in ("difference", "curves", "next run", "turn the difference round"):
            assert words in text


async def test_the_key_bar_works_by_mouse(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        view = await opened(pilot, FIRST, WORSE)
        bar = view.query_one(KeyBar)
        start = next(start for start, _, action, _ in bar._places if "difference" in action)
        await pilot.click(bar, offset=(start + 2, 0))
        await settle(pilot)
        assert view.mode == "difference"


@pytest.mark.parametrize("mouse", [False, True], ids=["keys", "mouse"])
async def test_runs_are_compared_from_the_table_in_the_colours_and_with_the_digits_of_the_settings(store, mouse: bool):
    from lyrx.explorer.config import Config

    running = LyrxApp(store, warm_up=False, poll_seconds=3600, config=Config(ramp="viridis", digits=False))
    async with running.run_test(size=WIDE) as pilot:
        await settle(pilot)
        if mouse:
            await pilot.press("slash", *"fcn", "enter", "space", "down", "space", "ctrl+p", *"compare")
            await settle(pilot)
            await pilot.click("#found", offset=(4, 0))
        else:
            await pilot.press("v")
            await settle(pilot)
            await pilot.press("enter")
        await settle(pilot)
        assert (screen(pilot).view.ramp, screen(pilot).view.digits) == ("viridis", False)
        scenes = [shown.scene for shown in maps(pilot) if shown.scene is not None]
        assert scenes
        assert {(scene.scale.ramp.name, scene.digits) for scene in scenes} == {("viridis", False)}


async def test_a_heatmap_is_compared_as_it_was_looked_at_whatever_the_settings_are(store):
    from lyrx.explorer.config import Config

    running = LyrxApp(store, run=FIRST, warm_up=False, poll_seconds=3600, config=Config(ramp="viridis", digits=False))
    async with running.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("d", "C", "v")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert (screen(pilot).view.ramp, screen(pilot).view.digits) == ("grey", True)
