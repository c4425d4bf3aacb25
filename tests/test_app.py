"""The terminal app, driven as a person would."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import stdev

import fakes
import pytest
from rich.console import Console
from screenshot import export_picture, settle
from textual.pilot import Pilot
from textual.widgets import Static

from lyrx.explorer import ramp
from lyrx.explorer.app import LyrxApp, run_app
from lyrx.explorer.screens.feed import RunFeed, TableFeed
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.screens.help import Help
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.explorer.widgets.heatmap import Heatmap
from lyrx.explorer.widgets.runtable import RunTable
from lyrx.store import Cell, RunNotFoundError, Store, StoreNotFoundError

WORKER = Path(__file__).with_name("fake_worker.py")
NAME = Path("lyrx.zarr")


@pytest.fixture(scope="session")
def filled(tmp_path_factory) -> Path:
    """A store with one run in every state; nobody changes it."""
    path = tmp_path_factory.mktemp("filled") / NAME
    fakes.fill(path)
    return path


@pytest.fixture
def shown(filled: Path, monkeypatch) -> Path:
    """The same, under a path that is the same on every machine."""
    monkeypatch.chdir(filled.parent)
    return NAME


@pytest.fixture
def own(filled: Path, tmp_path, monkeypatch) -> Path:
    """A copy to write to: of links, since a store's files are replaced and never changed in place."""
    shutil.copytree(filled, tmp_path / NAME, copy_function=os.link)
    monkeypatch.chdir(tmp_path)
    return NAME


def app(store: Path, run: str | None = None, *worker: str) -> LyrxApp:
    """The app with a fake worker, started by the first measurement; it looks at the store when told to."""
    return LyrxApp(store, [sys.executable, str(WORKER), *worker], run, warm_up=False, poll_seconds=3600)


def heatmap(pilot: Pilot) -> Heatmap:
    return pilot.app.screen.query_one(Heatmap)


def line(pilot: Pilot, selector: str) -> str:
    """What a widget of text says."""
    return str(pilot.app.screen.query_one(selector, Static).render())


def screen_text(pilot: Pilot) -> list[str]:
    """The whole screen as text."""
    return ["".join(segment.text for segment in strip) for strip in pilot.app.screen._compositor.render_strips()]


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


# Pictures: looked at before they were accepted

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

    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        await pilot.press(*keys)
        await settle(pilot)

    assert snap_compare(app(shown, run), terminal_size=size, run_before=press)


@pytest.mark.parametrize("size", [(63, 24), (80, 24)], ids=["too-small", "80x24"])
def test_picture_of_an_empty_store(tmp_path, monkeypatch, snap_compare, size: tuple[int, int]):
    monkeypatch.chdir(tmp_path)
    Store.open_or_create(NAME)
    assert snap_compare(app(NAME), terminal_size=size, run_before=settle)


# The table of runs


async def test_runs_are_listed_and_opened(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        for word in ("fcn-3x256", "FCN 3 x 256", "MNIST", "1.52 %", "● complete", "○ interrupted 42 %", "42/100"):
            assert word in text
        await pilot.press("j", "enter")
        await settle(pilot)
        assert screen_of(pilot).run_name == "fcn-again"
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen)


async def test_a_run_that_comes_and_one_that_goes(own):
    async with app(own).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        store = Store.open(own)
        fakes.training_run(store, "new-one", epochs_done=3, created=fakes.START + 99)
        store.delete_run("resnet18")
        await pilot.press("r")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        assert screen.table is not None
        assert [row.name for row in screen.table.rows] == ["fcn-3x256", "fcn-again", "vit-b16", fakes.EVIL, "new-one"]
        shutil.rmtree(own)
        await pilot.press("r")
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
            ("down right", (1, 2)), ("j l l", (2, 4)), ("k h", (1, 3)), ("up left", (0, 2)), ("G", (4, 2)), ("j", (4, 2)),
            ("end", (4, 9)), ("l", (4, 9)), ("home", (4, 0)), ("h", (4, 0)), ("g", (0, 0)), ("pagedown", (4, 0)),
            ("pageup", (0, 0)),
        ]:  # fmt: skip
            await pilot.press(*keys.split())
            assert heatmap(pilot).cursor == cursor, keys


async def test_the_panel_tells_the_cell_under_the_cursor(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        panel = line(pilot, "#cell")
        for words in ("fc1 at checkpoint 0", "77.80 %", "critical", "10,000, all: exact", "6.52 % (baseline + 5)",
                      "loss", "agreement", "l2 0", "linf 0", "200,960 weights"):  # fmt: skip
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


async def test_a_click_moves_the_cursor(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        grid = heatmap(pilot)._grid
        assert grid is not None
        await pilot.click(Heatmap, offset=(grid.x(5) + 2, 2 + 2 * grid.cell_height))
        assert heatmap(pilot).cursor == (2, 5)
        await pilot.click(Heatmap, offset=(1, 1))
        assert heatmap(pilot).cursor == (2, 5), "names and heads are no cells"


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
            assert widget.picture is not None
            name = "whole network" if layer is None else widget.picture.layer_names[layer][-6:]
            marked = [line for line in screen_text(pilot) if line.lstrip().startswith("▸")]
            assert len(marked) == 1, keys
            assert name in marked[0], keys
            assert "▌" in marked[0], keys
            assert widget.picture.columns[column].label in widget.render_line(1).text.split(), keys
            assert "whole network" in text


async def test_metrics_and_digits(shown):
    async with app(shown, "fcn-3x256").run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        for title in ("test loss", "agreement", "2-norm", "largest change", "test error"):
            await pilot.press("m")
            assert title in line(pilot, "#legend")
        assert any("77.8" in text for text in screen_text(pilot)[:12])
        await pilot.press("d")
        assert not any("77.8" in text for text in screen_text(pilot)[:12])


async def test_every_level_differs_from_the_others_on_a_terminal_with_256_colours(shown):
    async with app(shown, "vit-b16").run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        widget = heatmap(pilot)
        console = Console(color_system="256", force_terminal=True)
        seen = set()
        for y in range(widget.size.height):
            for segment in widget.render_line(y):
                if segment.style and segment.style.bgcolor and segment.style.bgcolor.triplet:
                    drawn = segment.style.render("x", color_system=console._color_system)
                    seen.add(drawn.split("48;5;")[1].split("m")[0].split(";")[0])
        numbers = {int(number) for number in seen}
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
                    light, dark = sorted((ramp.luminance(fore.get_truecolor()), ramp.luminance(back.get_truecolor())))[::-1]
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
        text = "\n".join(screen_text(pilot))
        for word in ("measure", "all missing", "cancel", "metric", "digits", "last column", "back", "read again"):
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
        await pilot.resize_terminal(40, 10)
        await settle(pilot)
        text = " ".join(" ".join(screen_text(pilot)).split())
        assert "lyrx needs 64 × 16 characters; here are 40 × 10" in text
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


# Following what others commit


async def test_what_another_process_commits_appears(own):
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert heatmap(pilot).look((3, 9))[0].value is None
        code = (
            "import sys, fakes; from lyrx.store import Cell, Store;"
            "probe = Store.open(sys.argv[1]).run('fcn-again').probe(); fakes.commit_cells(probe, [Cell(3, 9)])"
        )
        done = await _run(code, str(own))
        assert done == 0
        screen_of(pilot).read()
        await settle(pilot)
        assert heatmap(pilot).look((3, 9))[0].value == pytest.approx(0.0152)
        assert any("20/57 cells" in text for text in screen_text(pilot))


async def _run(code: str, *arguments: str) -> int:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, env={**os.environ, "PYTHONPATH": str(WORKER.parent)}
    )
    return await process.wait()


async def test_it_looks_by_itself(own):
    short = LyrxApp(own, None, "fcn-again", warm_up=False, poll_seconds=0.05)
    async with short.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [Cell(3, 9)])
        await until(pilot, lambda: heatmap(pilot).look((3, 9))[0].value is not None)


async def test_a_run_that_is_removed_is_said_to_be(own):
    async with app(own, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        Store.open(own).delete_run("fcn-3x256")
        screen_of(pilot).read()
        await settle(pilot)
        assert "the run 'fcn-3x256' was removed. What was read before is still shown." in line(pilot, "#note")
        await pilot.press("enter")
        assert not screen_of(pilot).lyrx.measuring.requests
        fakes.training_run(Store.open(own), "fcn-3x256")
        screen_of(pilot).read()
        await settle(pilot)
        assert "epoch 42 of 100" in line(pilot, "#title"), "and one made anew is shown"


async def test_a_newer_probe_is_announced_and_shown_on_demand(own):
    async with app(own, "fcn-3x256").run_test(size=(100, 24)) as pilot:
        await settle(pilot)
        info = fakes.probe_info(["all"], granularity="block", created=fakes.START + 999)
        Store.open(own).run("fcn-3x256").create_probe(info)
        screen_of(pilot).read()
        await settle(pilot)
        assert "a newer probe is there: block-5eed5eed (p shows it)" in line(pilot, "#note")
        await pilot.press("p")
        await settle(pilot)
        assert screen_of(pilot).key == ("fcn-3x256", "block-5eed5eed")
        assert "newer" not in line(pilot, "#note")


def test_a_feed_says_nothing_while_nothing_changes(own):
    feed, table = RunFeed(own, "fcn-again"), TableFeed(own)
    assert feed.poll() is not None
    assert table.poll() is not None
    assert feed.poll() is None
    assert table.poll() is None
    assert feed.poll(force=True) is not None
    fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [Cell(2, 1)])
    assert feed.poll() is not None
    assert feed.poll() is None
    assert table.poll() is not None


# Measuring


async def test_enter_measures_all_draws_of_the_cell_and_the_result_appears(own):
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "left")
        await pilot.press("enter")
        work = screen_of(pilot).lyrx.measuring
        (request,) = work.requests.values()
        assert request.key == ("fcn-again", "layer-5eed5eed")
        assert request.cells == [Cell(2, 0, 0), Cell(2, 0, 1), Cell(2, 0, 2)]
        assert not request.again
        await pilot.pause()
        assert "queued" in line(pilot, "#cell") or "running" in line(pilot, "#cell") or not work.requests
        await until(pilot, lambda: not work.requests and not work.landed(request.key))
        assert heatmap(pilot).look((2, 0))[0].value is not None
        assert "mean of 3 draws" in line(pilot, "#cell")


async def test_enter_on_what_is_committed_measures_again(own):
    async with app(own, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        commits = Store.open(own).run("fcn-3x256").probe().path / "estimate" / "commits" / "0.1.0.json"
        before = commits.stat().st_mtime_ns
        await pilot.press("enter")
        work = screen_of(pilot).lyrx.measuring
        assert [request.again for request in work.requests.values()] == [True]
        await until(pilot, lambda: not work.requests and not work.landed(("fcn-3x256", "layer-5eed5eed")))
        assert commits.stat().st_mtime_ns > before
        assert heatmap(pilot).look((0, 1))[0].value == pytest.approx(0.778)


async def test_all_missing(own):
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("a")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: not work.requests and not work.landed(("fcn-again", "layer-5eed5eed")))
        picture = screen_of(pilot).picture
        assert picture is not None
        assert picture.missing() == 0
        assert "complete" in line(pilot, "#title")
        await pilot.press("a")
        assert "every cell is measured" in line(pilot, "#note")


async def test_running_and_cancelled(own):
    async with app(own, "fcn-again", "--hold").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: "running" in line(pilot, "#cell"))
        assert "running, 40 % of examples seen" in line(pilot, "#cell")
        assert "▶40%" in "\n".join(screen_text(pilot))
        assert "measuring on cpu: 0 of 1 cells" in line(pilot, "#note")
        await pilot.press("x")
        await until(pilot, lambda: not work.requests)
        assert "cancelled" in line(pilot, "#note")
        assert "▶" not in "\n".join(screen_text(pilot))


async def test_a_worker_that_is_killed_is_reported_and_replaced(own):
    async with app(own, "fcn-again", "--hold").run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: "running" in line(pilot, "#cell"))
        pid = work.client.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(pilot, lambda: "SIGKILL" in line(pilot, "#note"))
        assert "the worker died: killed by SIGKILL" in line(pilot, "#note")
        assert "failed: the worker died" in line(pilot, "#cell")
        assert heatmap(pilot).look((2, 1))[0].text("error", 5) == "!"
        await until(pilot, lambda: work.client.ready)
        assert work.client.pid != pid


async def test_a_refusal_is_shown_as_it_is(own):
    async with app(own, "fcn-again", "--refuse", "run 'x' is being written [bold]by 7").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: "written" in line(pilot, "#note"))
        assert "run 'x' is being written [bold]by 7" in line(pilot, "#note")


async def test_what_cannot_be_measured_says_why(own):
    async with app(own, "resnet18").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        assert "not trained yet" in line(pilot, "#note")
        await pilot.press("x")
        assert "nothing is being measured" in line(pilot, "#note")
    async with app(own, "fcn-again").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("G", "home", "enter")
        assert "never re-randomised" in line(pilot, "#note")


async def test_leaving_ends_the_worker(own):
    import psutil

    async with app(own, "fcn-again", "--hold").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "enter")
        work = screen_of(pilot).lyrx.measuring
        await until(pilot, lambda: work.client.ready)
        pid = work.client.pid
        assert pid is not None
    assert not psutil.pid_exists(pid)


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
    code = "import sys, lyrx.explorer.app; print([m for m in ('torch', 'zarr', 'numpy', 'plotext', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_picture_for_the_readme(shown, tmp_path):
    out = await export_picture(shown, tmp_path / "app.svg", run="fcn-3x256", size=(120, 30), keys=["right"])
    text = out.read_text()
    assert text.startswith("<svg")
    assert "fc1" in text
    assert ramp.COLOURS[0] in text.lower()
