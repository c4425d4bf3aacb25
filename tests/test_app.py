"""The terminal app: its screens, keys and start."""

import os
import shutil
import subprocess
import sys
from statistics import stdev

import fakes
import pytest
from driving import WORKER, app, heatmap, line, screen_of, screen_text, settle
from lyrx.explorer.core import ramp
from lyrx.explorer.launch import run_app
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.screens.help import Help
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.explorer.widgets.heatmap import Heatmap
from lyrx.explorer.widgets.runtable import RunTable
from lyrx.store import Cell, RunNotFoundError, Store, StoreNotFoundError
from rich.color import ColorSystem
from screenshot import export_picture

# The table of runs


async def test_runs_are_listed_and_opened(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        for word in ("fcn-3x256", "FCN 3 x 256", "MNIST", "1.52 %", "● complete", "○ interrupted 42 %", "3 d"):
            assert word in text
        await pilot.press("G", "k", "enter")
        await settle(pilot)
        assert screen_of(pilot).run_name == "fcn-again", "the newest stands on top"
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_a_run_that_comes_and_one_that_goes(own):
    async with app(own).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        store = Store.open(own)
        fakes.training_run(store, "new-one", epochs_done=3, created=fakes.START + 99)
        store.delete_run("resnet18")
        await pilot.press("R")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        assert screen.table is not None
        assert [row.name for row in screen.table.rows] == ["fcn-3x256", "fcn-again", "vit-b16", fakes.EVIL, "new-one"]
        shutil.rmtree(own)
        await pilot.press("R")
        await settle(pilot)
        assert "there is no store" in line(pilot, "#note")


async def test_a_living_writer_shows_as_training_and_the_curve_grows(own):
    run = Store.open(own).run("resnet18")
    with run.writing("train"):
        async with app(own, "resnet18").run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            assert "training, epoch 42 of 100" in line(pilot, "#title")
            fakes.commit_history(run, 43, since=43)
            screen_of(pilot).read()
            await settle(pilot)
            assert "training, epoch 43 of 100" in line(pilot, "#title")
            await pilot.press("q")
            await settle(pilot)
            assert "◐ training 43 %" in "\n".join(screen_text(pilot))


async def test_a_damaged_run_is_named_and_the_others_are_shown(own):
    broken = own / "runs" / "vit-b16" / "zarr.json"
    broken.unlink()
    broken.write_text("{")
    async with app(own).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "vit-b16/zarr.json is damaged" in line(pilot, "#note")
        assert pilot.app.screen.query_one(RunTable).row_count == 4


# The heatmap


async def test_the_cursor_moves_and_stays_inside(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert heatmap(pilot).cursor == (0, 1), "on the first checkpoint"
        for keys, cursor in [
            ("down right", (1, 2)), ("j l l", (2, 4)), ("k h", (1, 3)), ("up left", (0, 2)), ("G", (4, 2)),
            ("j", (4, 2)), ("end", (4, 9)), ("l", (4, 9)),
            ("home", (4, 0)), ("h", (4, 0)), ("g", (0, 0)), ("pagedown", (4, 0)),
            ("pageup", (0, 0)),
        ]:  # fmt: skip
            await pilot.press(*keys.split())
            assert heatmap(pilot).cursor == cursor, keys


async def test_the_panel_tells_the_cell_under_the_cursor(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        panel = line(pilot, "#cell")
        for words in ("fc1 at checkpoint 0", "77.80 %", "critical", "all 10,000: exact", "6.52 % baseline + 5",
                      "loss", "agrees", "l2 0", "l∞ 0", "200,960 weights"):  # fmt: skip
            assert words in panel
        await pilot.press("left")
        panel = line(pilot, "#cell")
        run = Store.open(shown).run("fcn-3x256")
        draws = [run.probe().read(Cell(0, 0, draw)) for draw in range(3)]
        assert " ".join(f"{100 * draw.error:.1f}" for draw in draws if draw) in panel
        spread = 100 * stdev(draw.error for draw in draws if draw)
        assert f"mean of 3 draws ± {spread:.2f}" in panel
        await pilot.press("G", "end")
        assert "whole network at checkpoint 100" in line(pilot, "#cell")


async def test_an_interval_is_told_while_examples_are_missing(shown):
    async with app(shown, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        panel = line(pilot, "#cell")
        assert "4,000 of 10,000" in panel
        assert "76.62 to 78.98 %" in panel


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_the_panel_tells_how_a_cell_was_measured_and_why_not_otherwise(tmp_path, state, size: tuple[int, int]):
    fakes.kinds_run(Store.open_or_create(tmp_path / "s.zarr"))
    async with app(tmp_path / "s.zarr", "fcn-kinds").run_test(size=size) as pilot:
        await settle(pilot)
        assert "4,000 of 10,000 replay" in line(pilot, "#cell")
        await pilot.press("j", "j", "j", "home", "l", "l")
        panel = line(pilot, "#cell")
        assert "output with noise of 0.1" in panel
        assert "~2.91 %  robust" in panel
        assert "2.34 to 3.49 % ±0.6" in panel
        assert "512 of 10,000 full" in panel
        assert "its input is altered in place" in " ".join(panel.split())
        await pilot.press("j")
        # Eight lines below the heatmap are taken by the numbers and their draws.
        assert ("131,584 weights" if size[0] == 200 else "fc2+fc3 with noise of 0.1") in line(pilot, "#cell")
        for words in ("set to zero", "50 % of the way from 0", "50 % of the way from 8", "at checkpoint 0"):
            await pilot.press("l")
            assert words in line(pilot, "#cell")


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 50)])
async def test_heads_of_every_kind_stand_above_their_columns(tmp_path, state, size: tuple[int, int]):
    fakes.kinds_run(Store.open_or_create(tmp_path / "s.zarr"))
    async with app(tmp_path / "s.zarr", "fcn-kinds").run_test(size=size) as pilot:
        await settle(pilot)
        upper, lower = (heatmap(pilot).render_line(y).text for y in (0, 1))
        shuffle = "shuf" if size[0] == 80 else "shuffle"
        assert lower.split() == ["random", shuffle, "0.1", "zero", "0.5", "8:0.5", "0", "8", "100"]
        grid = heatmap(pilot)._grid
        assert grid is not None
        for column, title in ((2, "noise"), (4, "path"), (6, "checkpoint" if size[0] == 80 else "re-initialised")):
            start = grid.x(column)
            assert title in upper[start:]
            assert upper[start - 1] == " "
        assert "noise" not in upper[: grid.x(2)]
        assert "checkpoint" not in upper[: grid.x(6)]


async def test_a_click_moves_the_cursor(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        grid = heatmap(pilot)._grid
        assert grid is not None
        await pilot.click(Heatmap, offset=(grid.x(5) + 2, 2 + 2 * grid.cell_height))
        assert heatmap(pilot).cursor == (2, 5)
        await pilot.click(Heatmap, offset=(2, 2 + grid.cell_height))
        assert heatmap(pilot).cursor == (1, 5), "a name is its row"
        await pilot.click(Heatmap, offset=(grid.x(3) + 2, 1))
        assert heatmap(pilot).cursor == (1, 3), "a head is its column"
        await pilot.click(Heatmap, offset=(1, 1))
        assert heatmap(pilot).cursor == (1, 3), "the corner is nothing"


@pytest.mark.parametrize("size", [(80, 24), (64, 16), (200, 50)])
async def test_names_heads_and_cursor_stay_in_view_with_many_layers(shown, size: tuple[int, int]):
    async with app(shown, "vit-b16").run_test(size=size) as pilot:
        await settle(pilot)
        for keys in ("pagedown pagedown down", "end", "G", "k", "home", "pageup", "end pagedown"):
            await pilot.press(*keys.split())
            await pilot.pause()
            text = "\n".join(screen_text(pilot))
            layer, column = heatmap(pilot).position
            widget = heatmap(pilot)
            assert widget.scene is not None
            name = "whole network" if layer is None else widget.scene.rows[widget.cursor[0]].name[-6:]
            marked = [line for line in screen_text(pilot) if line.lstrip().startswith("▸")]
            assert len(marked) == 1, keys
            assert name in marked[0], keys
            assert "▌" in marked[0], keys
            assert widget.scene.columns[column].label in widget.render_line(1).text.split(), keys
            assert "whole network" in text


async def test_metrics_and_digits(shown):
    async with app(shown, "fcn-3x256").run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        for title in ("test loss", "agreement", "2-norm", "largest change", "95 % interval", "verdict", "test error"):
            await pilot.press("m")
            assert title in line(pilot, "#legend")
        assert any("77.8" in text for text in screen_text(pilot)[:12])
        await pilot.press("d")
        assert not any("77.8" in text for text in screen_text(pilot)[:12])


async def test_every_level_differs_from_the_others_on_a_terminal_with_256_colours(shown):
    async with app(shown, "vit-b16").run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        widget = heatmap(pilot)
        # (Not by drawing them: a style remembers the codes of the terminal that it was first drawn on.)
        numbers = {
            segment.style.bgcolor.downgrade(ColorSystem.EIGHT_BIT).number
            for y in range(widget.size.height)
            for segment in widget.render_line(y)
            if segment.style and segment.style.bgcolor
        }
        levels = numbers & set(ramp.XTERM)
        assert len(levels) > 8
        assert len(numbers - set(ramp.XTERM)) <= 1, "besides the levels there is the background only"


async def test_the_cursor_shows_without_colours_and_on_every_colour(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        widget = heatmap(pilot)
        for _ in range(10):
            strip = widget.render_line(2)
            assert "▌" in strip.text
            assert "▐" in strip.text
            for segment in strip:
                if "▌" in segment.text:
                    assert segment.style is not None
                    fore, back = segment.style.color, segment.style.bgcolor
                    assert fore is not None
                    assert back is not None
                    dark, light = sorted(ramp.luminance(colour.get_truecolor()) for colour in (fore, back))
                    assert (light + 0.05) / (dark + 0.05) >= 4.5
            await pilot.press("right")


async def test_neighbours_of_one_colour_are_one_segment(shown):
    async with app(shown, "fcn-3x256").run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        await pilot.press("d", "G")
        widget = heatmap(pilot)
        segments = list(widget.render_line(2 + 2 * (widget._grid.cell_height if widget._grid else 1)))
        assert len(segments) < 8
        assert widget.render_line(4) is widget.render_line(4), "strips are kept"


async def test_help_tells_every_key(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(pilot.app.screen, Help)
        text = line(pilot, "#help-text")
        for word in (
            "measure, sharpen",
            "all missing",
            "estimate",
            "cancel",
            "metric",
            "digits",
            "last column",
            "back",
            "read again",
        ):
            assert word in text
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, HeatmapScreen)


def test_bindings_have_ids_and_avoid_what_terminals_rewrite():
    from textual.binding import Binding

    for owner in (Heatmap, HeatmapScreen, RunsScreen, RunTable, Help):
        for binding in owner.BINDINGS:
            assert isinstance(binding, Binding)
            assert binding.id
            assert not {"ctrl+h", "ctrl+j", "ctrl+m"} & set(binding.key.split(","))


async def test_too_small_and_back(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "right")
        await pilot.resize_terminal(39, 10)
        await settle(pilot)
        text = " ".join(" ".join(screen_text(pilot)).split())
        assert "lyrx needs 40 × 12 characters; here are 39 × 10" in text
        assert "fc1" not in text
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert "lyrx needs" not in " ".join(screen_text(pilot))
        assert heatmap(pilot).cursor == (1, 2)
        await pilot.press("down")
        assert heatmap(pilot).cursor == (2, 2)


async def test_names_from_files_are_shown_as_they_are(shown):
    async with app(shown, fakes.EVIL).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "\\x1b[31m[bold]x[/bold]\\x1b[0m" in line(pilot, "#title")
        assert "\x1b" not in "".join(screen_text(pilot))
        assert "1 damaged (×)" in line(pilot, "#note")


# Starting


def test_wrong_paths_and_names_are_errors_before_anything_is_drawn(own, tmp_path):
    with pytest.raises(StoreNotFoundError):
        run_app(tmp_path / "no.zarr", None, None)
    with pytest.raises(RunNotFoundError, match="fcn-3x256"):
        run_app(own, None, "fcn-3x257")


def test_the_apps_process_imports_neither_torch_nor_zarr(shown):
    code = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(WORKER.parent)!r})
from screenshot import export_picture
asyncio.run(export_picture(Path({str(shown)!r}), Path(sys.argv[1]), run="fcn-again", keys=["m", "left", "escape", "j"]))
assert "plotext" in sys.modules
print([name for name in ("torch", "torchvision", "accelerate", "zarr", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, os.devnull], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_app_leaves_the_slow_things_for_later():
    slow = ["torch", "zarr", "numpy", "plotext", "pydantic"]
    code = f"import sys, lyrx.explorer.app; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_picture_for_the_readme(shown, tmp_path):
    out = await export_picture(shown, tmp_path / "app.svg", run="fcn-3x256", size=(120, 30), keys=["right"])
    text = out.read_text()
    assert text.startswith("<svg")
    assert "fc1" in text
    assert ramp.COLOURS[0] in text.lower()
