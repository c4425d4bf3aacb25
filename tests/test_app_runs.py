"""The table of runs in the app: finding, sorting, marking, following; by key and by mouse."""

import shutil
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
from driving import NOW, app, line, screen_of, screen_text, settle, until
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.core.picture import take_picture
from lyrx.explorer.core.query import KEYS
from lyrx.explorer.core.runrow import RunRow, Table
from lyrx.explorer.core.scene import Scene
from lyrx.explorer.core.survey import scene, survey
from lyrx.explorer.core.view import HeatView, TableView
from lyrx.explorer.remembering import Remembering
from lyrx.explorer.screens.runs import FilterInput, RunsScreen
from lyrx.explorer.widgets.heatmap import Heatmap
from lyrx.explorer.widgets.runtable import RunTable
from lyrx.store import Cell, Store
from textual.pilot import Pilot

NEWEST_FIRST = [fakes.EVIL, "vit-b16", "resnet18", "fcn-again", "fcn-3x256"]


def runs(pilot: Pilot) -> RunsScreen:
    assert isinstance(pilot.app.screen, RunsScreen)
    return pilot.app.screen


def table(pilot: Pilot) -> RunTable:
    return pilot.app.screen.query_one(RunTable)


def names(pilot: Pilot) -> list[str]:
    return [row.name for row in table(pilot).rows]


def scene_of(store: Path, run: str) -> Scene:
    """What a glance at a run shows."""
    return scene(survey(take_picture(Store.open(store).run(run)), "error"), HeatView(digits=False))


class Still:
    """A feed that knows one table."""

    unread = 0

    def __init__(self, rows: list[RunRow]):
        self._table: Table | None = Table(tuple(rows))

    def poll(self, *, budget: float | None = None) -> Table | None:
        table, self._table = self._table, None
        return table


async def test_the_filter_narrows_while_it_is_typed_and_escape_shows_all(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert names(pilot) == NEWEST_FIRST
        await pilot.press("slash", *"fcn")
        assert names(pilot) == ["\x1b[31m[bold]x[/bold]\x1b[0m", "fcn-again", "fcn-3x256"], "the model counts"
        assert "3 of 5 runs" in line(pilot, "#title")
        await pilot.press("space", *"error<1.6%", "space", "-", *"again")
        assert names(pilot) == [fakes.EVIL, "fcn-3x256"]
        await pilot.press("down", "enter")
        assert table(pilot).has_focus
        assert runs(pilot).chosen.name == "fcn-3x256"
        assert runs(pilot).has_class("-filtering"), "it stays in sight while it holds"
        await pilot.press("escape")
        assert names(pilot) == NEWEST_FIRST
        assert runs(pilot).chosen.name == "fcn-3x256", "the cursor stays on its run"
        assert not runs(pilot).has_class("-filtering")
        await pilot.press("slash", "enter")
        assert not runs(pilot).has_class("-filtering")


async def test_a_filter_by_mouse(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        keys = screen_text(pilot)[-1]
        await pilot.click(offset=(keys.index("filter"), 23))
        assert pilot.app.screen.query_one(FilterInput).has_focus
        await pilot.press("v", "i", "t")
        assert names(pilot) == ["vit-b16"]


async def test_a_wrong_filter_says_what_is_wrong_and_counts_for_the_rest(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"vit eror<5")
        assert "nothing is called 'eror'" in line(pilot, "#note")
        assert names(pilot) == ["vit-b16"]
        await pilot.press("escape")
        assert line(pilot, "#note") == ""


async def test_a_filter_that_nothing_matches(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"[red]zzz")
        text = "\n".join(screen_text(pilot))
        assert "No run matches [red]zzz." in text
        assert runs(pilot).chosen is None
        await pilot.press("enter", "enter", "space", "j", "escape")
        await settle(pilot)
        assert runs(pilot).chosen is not None


async def test_sorting_by_key_goes_through_the_columns_and_turns_round(shown):
    async with app(shown).run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        seen = []
        for _ in KEYS:
            await pilot.press("s")
            seen.append(runs(pilot).sort)
            assert f"▲ {'ckpts' if seen[-1] == 'checkpoints' else seen[-1]}" in screen_text(pilot)[1] or (
                f"{seen[-1]} ▲" in screen_text(pilot)[1]
            )
        assert sorted(seen) == sorted(KEYS)
        await pilot.press("S")
        assert names(pilot) == NEWEST_FIRST[::-1]
        await pilot.press("S", "s")
        assert runs(pilot).sort == "run"
        assert not runs(pilot).descending
        assert names(pilot) == sorted(NEWEST_FIRST)


async def test_sorting_by_a_click_on_the_head(shown):
    async with app(shown).run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        at = screen_text(pilot)[1].index("error")
        await pilot.click(offset=(at, 1))
        assert runs(pilot).sort == "error"
        assert names(pilot)[0] != "resnet18"
        at = screen_text(pilot)[1].index("error")
        await pilot.click(offset=(at, 1))
        assert runs(pilot).descending
        assert names(pilot)[0] == "resnet18"


async def test_marks_by_key_and_by_mouse(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("space", "j", "space")
        assert runs(pilot).marked == [fakes.EVIL, "resnet18"]
        assert "◆ 2 marked" in line(pilot, "#title")
        assert [text[3] for text in screen_text(pilot)[2:7]] == ["◆", " ", "◆", " ", " "]
        await pilot.click(offset=(3, 6))
        assert runs(pilot).marked == [fakes.EVIL, "resnet18", "fcn-3x256"]
        await pilot.click(RunTable, offset=(20, 3), control=True)
        assert runs(pilot).marked == [fakes.EVIL, "fcn-3x256"]
        await pilot.press("slash", *"vit", "enter")
        assert runs(pilot).marked == [fakes.EVIL, "fcn-3x256"], "marks of runs that are filtered out hold"


async def test_the_cursor_by_key_and_by_mouse(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key, row in (("j", 1), ("down", 2), ("k", 1), ("up", 0), ("up", 0), ("G", 4), ("g", 0), ("end", 4),
                         ("home", 0), ("pagedown", 4), ("pageup", 0)):  # fmt: skip
            await pilot.press(key)
            assert table(pilot).cursor_row == row, key
            assert [text[1] for text in screen_text(pilot)[2:7]].index("▸") == row
        await pilot.click(RunTable, offset=(20, 3))
        assert runs(pilot).chosen.name == "resnet18"
        await pilot.click(RunTable, offset=(20, 9))
        assert runs(pilot).chosen.name == "resnet18", "there is no run"
        await pilot.click(RunTable, offset=(20, 4), times=2)
        await settle(pilot)
        assert screen_of(pilot).run_name == "fcn-again"


async def test_the_cursor_stays_on_its_run_when_the_table_changes(own):
    async with app(own).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("j", "j")
        assert runs(pilot).chosen.name == "resnet18"
        store = Store.open(own)
        fakes.training_run(store, "newer", created=fakes.START + 99)
        store.delete_run("vit-b16")
        fakes.training_run(store, "newest", created=fakes.START + 100)
        runs(pilot).read()
        await settle(pilot)
        assert names(pilot)[:2] == ["newest", "newer"]
        assert runs(pilot).chosen.name == "resnet18"
        assert table(pilot).cursor_row == 3
        store.delete_run("resnet18")
        runs(pilot).read()
        await settle(pilot)
        assert runs(pilot).chosen.name == "fcn-again", "the next one"


async def test_the_glance_follows_the_cursor_and_the_store(own):
    async with app(own).run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        glance = pilot.app.screen.query_one("#glance", Heatmap)
        await pilot.press("G")
        await settle(pilot)
        assert glance.scene == scene_of(own, "fcn-3x256")
        assert "FCN 3 x 256 on MNIST, 4 layers, 9 of 9 checkpoints" in " ".join(line(pilot, "#run-facts").split())
        await pilot.press("k")
        await settle(pilot)
        before = glance.scene
        assert before == scene_of(own, "fcn-again")
        fakes.commit_cells(Store.open(own).run("fcn-again").probe(), [Cell(2, 1)])
        runs(pilot)._kick_glance()
        await settle(pilot)
        assert before != glance.scene == scene_of(own, "fcn-again")
        assert glance.region.x > table(pilot).region.right - 1, "beside the table"
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert glance.region.y >= table(pilot).region.bottom, "below it"
        await pilot.resize_terminal(80, 14)
        await settle(pilot)
        assert not glance.region
        await pilot.press("j", "k")
        await settle(pilot)


async def test_a_failure_is_shown_with_its_reason(own):
    Store.open(own).run("resnet18").failure.write("training", "OutOfMemoryError: \x1b[31mno room\nfor 2 GiB")
    async with app(own).run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("j", "j")
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        assert "✗ failed" in text
        assert "no room for 2 GiB" in " ".join(line(pilot, "#run-facts").split())
        assert "\x1b" not in text
        await pilot.press("slash", *"state:failed")
        assert names(pilot) == ["resnet18"]


async def test_a_run_that_is_silent_for_long_is_stalled(own):
    made = app(own)
    with Store.open(own).run("resnet18").writing("train"):
        async with made.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            assert "◐ training 42 %" in "\n".join(screen_text(pilot))
            row = next(row for row in runs(pilot).table.rows if row.name == "resnet18")
            made.clock = lambda: row.touched + 3 * 3600
            table(pilot)._clock = made.clock
            runs(pilot).read()
            await settle(pilot)
            assert "◌ stalled" in "\n".join(screen_text(pilot))


async def test_the_store_goes_and_comes_back(own):
    async with app(own).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        own.rename(own.with_name("away"))
        await pilot.press("R")
        await settle(pilot)
        assert "there is no store" in line(pilot, "#note")
        assert names(pilot) == NEWEST_FIRST, "what was read stays"
        own.with_name("away").rename(own)
        await pilot.press("R")
        await settle(pilot)
        assert line(pilot, "#note") == ""


@pytest.mark.parametrize("keys", [(), ("slash", "x", "escape")], ids=["waiting", "filtering"])
async def test_an_empty_store_says_what_to_do_and_fills(tmp_path, state, keys: tuple[str, ...]):
    store = Store.open_or_create(tmp_path / "s.zarr")
    async with app(store.path).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "lyrx batch SPEC.toml" in "\n".join(screen_text(pilot))
        await pilot.press("enter", "space", "j", "s", *keys)
        await settle(pilot)
        fakes.training_run(store, "first")
        runs(pilot).read()
        await settle(pilot)
        assert names(pilot) == ["first"]
        assert table(pilot).region.height > 1
        assert table(pilot).has_focus, "its keys work"
        assert "open" in screen_text(pilot)[-1]
        shutil.rmtree(tmp_path / "s.zarr" / "runs" / "first")
        runs(pilot).read()
        await settle(pilot)
        assert "This store has no runs yet" in "\n".join(screen_text(pilot))


async def test_it_looks_by_itself(own):
    short = LyrxApp(own, None, None, warm_up=False, poll_seconds=0.05)
    async with short.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: table(pilot).row_count == 5)
        fakes.training_run(Store.open(own), "new")
        await until(pilot, lambda: table(pilot).row_count == 6)


def remembering(store: Path, folder: Path, **options: bool) -> LyrxApp:
    """The app as a person opens it who was there before."""
    made = LyrxApp(store, warm_up=False, poll_seconds=3600, remembering=Remembering(store, folder, **options))
    made.clock = lambda: NOW
    return made


async def test_filter_sort_and_cursor_are_there_when_it_is_opened_again(shown, tmp_path):
    first = remembering(shown, tmp_path)
    async with first.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert runs(pilot).view == TableView(run=NEWEST_FIRST[0])
        await pilot.press("slash", *"fcn error<50%", "enter")
        runs(pilot).sort_by("error", descending=True)
        before = names(pilot)
        assert 1 < len(before) < 5
        await pilot.press("G")
        chosen = runs(pilot).chosen.name
        first.exit(0)
    async with remembering(shown, tmp_path).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert names(pilot) == before
        assert runs(pilot).view == TableView("fcn error<50%", "error", True, chosen)
        assert runs(pilot).chosen.name == chosen
        assert table(pilot).has_focus
        text = "\n".join(screen_text(pilot))
        assert "/ fcn error<50%" in text, "why some runs are missing is in sight"
        await pilot.press("escape")
        assert names(pilot) == [row.name for row in runs(pilot)._sorted]
        assert len(names(pilot)) == 5
    async with remembering(shown, tmp_path, fresh=True).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert names(pilot) == NEWEST_FIRST
        assert runs(pilot).view == TableView(run=NEWEST_FIRST[0])


async def test_back_from_a_heatmap_the_table_is_as_it_was(shown, tmp_path):
    memory = Remembering(shown, tmp_path)
    memory.keep_table(TableView("fcn", "run", True, "fcn-3x256"))
    memory.keep_place(run="vit-b16")
    memory.write()
    made = LyrxApp(shown, None, "vit-b16", warm_up=False, poll_seconds=3600, remembering=Remembering(shown, tmp_path))
    async with made.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        made.look_around()
        assert made.remembering.table.filter == "fcn", "it was not seen, and is kept"
        await pilot.press("q")
        await settle(pilot)
        assert runs(pilot).view == TableView("fcn", "run", True, "fcn-3x256")
        assert runs(pilot).chosen.name == "fcn-3x256"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b'{"version": 1, "kept": {"table": 3}}', b"\xff\xfe", b"[" * 30_000, None],
    ids=["empty", "cut", "another", "no-text", "deep", "wrong-values"],
)
async def test_a_damaged_state_file_does_not_matter(shown, tmp_path, raw: bytes | None):
    memory = Remembering(shown, tmp_path)
    memory.keep_place(table={"filter": ["x"], "sort": "nothing", "descending": 1, "run": {}})
    memory.write()
    if raw is not None:
        [path] = tmp_path.iterdir()
        path.write_bytes(raw)
    async with remembering(shown, tmp_path).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert names(pilot) == NEWEST_FIRST
        await pilot.press("slash", *"vit", "enter")
        assert names(pilot) == ["vit-b16"]
        pilot.app.exit(0)
    assert Remembering(shown, tmp_path).table.filter == "vit"


def silent() -> Still:
    """A feed that has told its table."""
    feed = Still([])
    feed.poll()
    return feed


@pytest.mark.parametrize(("keys", "name"), [((), "run-4"), (("j", "k"), "run-0")], ids=["waits", "moved"])
async def test_the_cursor_goes_to_its_run_when_that_has_been_read_unless_it_is_moved(shown, keys, name: str):
    rows = tuple(replace(row, created=fakes.START - number) for number, row in enumerate(thousand()[:6]))
    screen = RunsScreen(silent(), view=TableView(run="run-4"))  # type: ignore[arg-type]
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.app.push_screen(screen)
        screen._show(Table(rows[:3], unread=3))
        await pilot.pause()
        assert runs(pilot).chosen.name == "run-0"
        assert runs(pilot).view.run == "run-4", "left now, it is still the one"
        await pilot.press(*keys)
        screen._show(Table(rows))
        await pilot.pause()
        assert runs(pilot).chosen.name == name
        screen._show(Table(rows[::-1]))
        await pilot.pause()
        assert runs(pilot).view.run == name


@pytest.mark.parametrize(("keys", "name"), [((), "run-0"), (("down",), "run-4")], ids=["untouched", "moved"])
async def test_while_the_first_runs_are_read_the_cursor_stays_on_top_unless_it_is_moved(shown, keys, name: str):
    rows = tuple(replace(row, created=fakes.START - number) for number, row in enumerate(thousand()[:6]))
    screen = RunsScreen(silent())  # type: ignore[arg-type]
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.app.push_screen(screen)
        screen._show(Table(rows[3:], unread=3))
        await pilot.pause()
        assert runs(pilot).chosen.name == "run-3"
        await pilot.press(*keys)
        screen._show(Table(rows[1:], unread=1))
        screen._show(Table(rows))
        await pilot.pause()
        assert runs(pilot).chosen.name == name
        newer = replace(rows[0], name="run-9", created=fakes.START + 1)
        screen._show(Table((*rows, newer)))
        await pilot.pause()
        assert runs(pilot).chosen.name == name, "a run that is begun later takes nobody away from the one looked at"


async def test_a_store_that_is_slow_to_read_is_not_called_empty(shown):
    screen = RunsScreen(silent())  # type: ignore[arg-type]
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.app.push_screen(screen)
        screen._show(Table((), unread=6))
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        assert "no runs yet" not in text
        assert "reading 6 …" in text
        assert table(pilot).has_focus
        screen._show(Table(()))
        await settle(pilot)
        assert "no runs yet" in "\n".join(screen_text(pilot))


async def test_a_run_that_is_gone_is_not_waited_for(shown):
    screen = RunsScreen(silent(), view=TableView(run="run-9"))  # type: ignore[arg-type]
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.app.push_screen(screen)
        screen._show(Table(tuple(thousand()[:6])))
        await pilot.pause()
        before = runs(pilot).chosen.name
        screen._show(Table(tuple(thousand()[:10])))
        await pilot.pause()
        assert runs(pilot).chosen.name == before != "run-9"


def thousand() -> list[RunRow]:
    row = RunRow("x", "ResNet-18", "CIFAR-10", "complete", 0.05, 100, 100, 57, 57, 57, 20, 9, 9, trained=True)
    return [replace(row, name=f"run-{n}", created=fakes.START + n, error=n / 1_000) for n in range(1_000)]


async def test_a_thousand_runs_draw_what_is_seen_only(shown, monkeypatch):
    drawn: list[str] = []
    from lyrx.explorer.widgets import runtable

    make = runtable.line
    monkeypatch.setattr(runtable, "line", lambda row, *rest: drawn.append(row.name) or make(row, *rest))
    screen = RunsScreen(Still(thousand()))  # type: ignore[arg-type]
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        drawn.clear()
        await pilot.app.push_screen(screen)
        await settle(pilot)
        assert names(pilot)[:2] == ["run-999", "run-998"]
        assert 0 < len(set(drawn)) < 24
        drawn.clear()
        await pilot.press("j")
        assert sorted(set(drawn)) == ["run-998", "run-999"], "the cursor's lines"
        drawn.clear()
        await pilot.press("G")
        await pilot.pause()
        assert runs(pilot).chosen.name == "run-0"
        assert len(drawn) < 60
        assert "run-0 " in "\n".join(screen_text(pilot))
        drawn.clear()
        await pilot.press("slash", *"error<0.0105", "enter", "g")
        await pilot.pause()
        assert table(pilot).row_count == 11
        assert len(set(drawn)) < 100


@pytest.mark.parametrize("size", [(50, 24), (80, 24), (120, 36), (200, 50)])
async def test_resized_while_running_nothing_is_cut(shown, size: tuple[int, int]):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.resize_terminal(*size)
        await settle(pilot)
        text = screen_text(pilot)
        assert all(len(line_) <= size[0] for line_ in text)
        # Where there is not room for both, the names of runs are worth more than their age.
        assert ("▲ age" in text[1]) == (size[0] >= 80)
        assert "…" not in text[3][:30]
        assert "1.52 %" in text[2]
        for row in range(2, 7):
            assert text[row].count("%") >= 1


async def test_columns_that_are_not_shown_can_be_sorted_by_too(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "layers" not in [column.spec.id for column in table(pilot).shown]
        await pilot.press("ctrl+p")
        await settle(pilot)
        await pilot.press(*"sort by layers", "enter")
        await settle(pilot)
        assert runs(pilot).sort == "layers"
        assert [row.layers for row in table(pilot).rows] == sorted(row.layers for row in table(pilot).rows)
        assert "sorted by layers" in line(pilot, "#note")
