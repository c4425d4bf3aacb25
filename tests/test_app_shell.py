"""What is around the screens: help, commands, errors, themes, keys of one's own, views kept; by keys and by mouse."""

import asyncio
from collections.abc import Iterator

import pytest
from driving import app, heatmap, line, screen_of, screen_text, settle, until
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.config import Config, Problem
from lyrx.explorer.core.commands import Command, ranked
from lyrx.explorer.core.incidents import Incidents
from lyrx.explorer.keys import bindings
from lyrx.explorer.remembering import Remembering
from lyrx.explorer.screens.heatmap import HeatmapScreen
from lyrx.explorer.screens.help import Help, active_keys
from lyrx.explorer.screens.incidents import IncidentsPanel
from lyrx.explorer.screens.palette import Palette, screen_commands
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.explorer.widgets.heatmap import Heatmap
from lyrx.explorer.widgets.keybar import KeyBar
from lyrx.store import LyrxError, StoreNotFoundError
from textual.widgets import Input, OptionList, Static

SIZES = [(50, 24), (80, 24), (120, 36), (200, 50)]


def whole(pilot) -> str:
    return "\n".join(screen_text(pilot))


async def click_text(pilot, text: str) -> None:
    """Click where `text` stands on the screen."""
    lines = screen_text(pilot)
    y = next(number for number, found in enumerate(lines) if text in found)
    await pilot.click(offset=(lines[y].index(text), y))
    await pilot.pause()


# Help


@pytest.mark.parametrize("run", [None, "fcn-3x256"])
async def test_help_and_commands_hold_every_binding_of_the_screen(shown, run: str | None):
    async with app(shown, run).run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        screen = pilot.app.screen
        known = {binding.id: binding.description for node in (pilot.app.focused, screen, pilot.app) if node is not None
                 for owner in type(node).__mro__ for binding in owner.__dict__.get("BINDINGS", ())
                 if getattr(binding, "id", None) and not binding.system}  # fmt: skip
        assert len(known) > 10
        assert {key.id for key, _, _ in active_keys(screen)} == set(known)
        titles = {command.title for command in screen_commands(screen)}
        await pilot.press("question_mark")
        await settle(pilot)
        text = line(pilot, "#help-text")
        for name, description in known.items():
            assert description in text, name
            assert description in titles or name == "app.palette", name


def test_every_binding_of_ours_has_an_id_and_a_description():
    found = list(bindings())
    assert len(found) > 40
    assert [binding for binding in found if not binding.id or not binding.description] == []


@pytest.mark.parametrize("size", SIZES)
async def test_all_of_the_help_can_be_read(shown, size: tuple[int, int]):
    async with app(shown, "fcn-3x256").run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await settle(pilot)
        seen = whole(pilot)
        assert "esc close" in seen
        for _ in range(4):
            await pilot.press("pagedown")
            await pilot.pause()
            seen += whole(pilot)
        for words in ("moving", "looking", "measuring", "app", "marks", "read again", "not available", "queued"):
            assert words in seen
        await pilot.press("home", "down", "down", "up")
        await click_text(pilot, "esc close")
        assert isinstance(pilot.app.screen, HeatmapScreen)


async def test_a_click_beside_a_dialog_closes_it(shown):
    async with app(shown, "fcn-3x256").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await settle(pilot)
        await click_text(pilot, "measuring")
        assert isinstance(pilot.app.screen, Help)
        await pilot.click(offset=(1, 1))
        await pilot.pause()
        assert isinstance(pilot.app.screen, HeatmapScreen)


# The line of keys


@pytest.mark.parametrize("size", SIZES)
async def test_the_line_of_keys_has_what_fits_and_works_with_the_mouse(shown, size: tuple[int, int]):
    async with app(shown, "fcn-3x256").run_test(size=size) as pilot:
        await settle(pilot)
        last = screen_text(pilot)[-1]
        assert "⏎ measure" in last
        assert "? help" in last
        assert ("^p commands" in last) == (size[0] >= 60)
        assert ("esc back" in last) == (size[0] >= 50)
        await click_text(pilot, "? help")
        assert isinstance(pilot.app.screen, Help)
        await pilot.press("escape")
        await click_text(pilot, "esc back")
        assert isinstance(pilot.app.screen, RunsScreen)
        await settle(pilot)
        assert "q quit" in screen_text(pilot)[-1]


# Commands


async def test_commands_are_found_by_typing_and_done(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("colon")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Palette)
        await pilot.press(*"digi", "enter")
        await settle(pilot)
        assert screen_of(pilot).view.digits is False
        await pilot.press("ctrl+p")
        await settle(pilot)
        await pilot.press(*"theme lyrx-l", "enter")
        await settle(pilot)
        assert pilot.app.theme == "lyrx-light"
        await pilot.press("ctrl+p")
        await settle(pilot)
        await pilot.press(*"run again", "enter")
        await settle(pilot)
        assert screen_of(pilot).run_name == "fcn-again"
        await pilot.press("ctrl+p")
        await settle(pilot)
        await pilot.press(*"no such thing")
        assert "nothing is called so" in whole(pilot)
        await pilot.press("enter", "escape")
        assert isinstance(pilot.app.screen, HeatmapScreen)
        await pilot.press("ctrl+p")
        await settle(pilot)
        await pilot.press(*"quit", "enter")
        await settle(pilot)
        assert pilot.app._exit


async def test_commands_by_mouse_and_arrows(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await click_text(pilot, "^p commands")
        await settle(pilot)
        await pilot.press(*"metric b")
        await settle(pilot)
        await click_text(pilot, "metric before")
        await settle(pilot)
        assert screen_of(pilot).view.metric == "verdict"
        await pilot.press("ctrl+p")
        await settle(pilot)
        found = pilot.app.screen.query_one(OptionList)
        await pilot.press("down", "down", "ctrl+n", "up", "pagedown", "pageup", "up", "up", "up")
        assert found.highlighted == 0
        await pilot.press("down")
        assert found.highlighted == 1
        await pilot.press("ctrl+p")
        assert isinstance(pilot.app.screen, HeatmapScreen)


async def test_vim_keys_type_into_the_commands(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p", *"qjk?:!")
        await settle(pilot)
        assert pilot.app.screen.query_one(Input).value == "qjk?:!"


def test_what_fits_the_words_best_comes_first():
    known = [
        Command(title) for title in ("all cells", "metric", "metric before", "theme nord", "run small-net", "allow")
    ]

    def titles(query: str, most: int = 9) -> list[str]:
        return [command.title for command in ranked(query, known, most)]

    assert titles("") == [command.title for command in known]
    assert titles("", 2) == ["all cells", "metric"]
    assert titles("all") == ["all cells", "allow", "run small-net"]
    assert titles("ME") == ["metric", "metric before", "theme nord"]
    assert titles("before met") == ["metric before"]
    assert titles("nord theme") == ["theme nord"]
    assert titles("xyz") == []


# What goes wrong


async def test_an_incident_is_told_opened_copied_and_cleared_by_keys(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert not pilot.app.screen.query_one("#incident", Static).display
        running = pilot.app
        assert isinstance(running, LyrxApp)
        running.incident("the worker died", "killed by SIGKILL\x1b[31m", "Ask again.")
        running.incident("the worker died", "killed by SIGKILL\x1b[31m", "Ask again.")
        await asyncio.to_thread(running.incident, "the store is gone", "no [b]such[/b] folder", "Mount it.")
        await settle(pilot)
        assert "! the store is gone  ! shows all 2  no [b]such[/b] folder" in whole(pilot)
        await pilot.press("exclamation_mark")
        await settle(pilot)
        text = whole(pilot)
        for words in (
            "2 things went wrong",
            "no [b]such[/b] folder",
            "→ Mount it.",
            "2 times",
            "killed by SIGKILL\\x1b",
        ):
            assert words in text
        await pilot.press("y")
        assert "→" not in running.clipboard
        assert "killed by SIGKILL\\x1b[31m\nAsk again." in running.clipboard
        assert "copied" in whole(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert "the store is gone" not in whole(pilot), "it was looked at"
        await pilot.press("exclamation_mark")
        await settle(pilot)
        assert "2 things went wrong" in whole(pilot), "and is still there"
        await pilot.press("X")
        assert "Nothing has gone wrong." in whole(pilot)
        await pilot.press("y", "exclamation_mark")
        assert isinstance(pilot.app.screen, HeatmapScreen)


async def test_incidents_by_mouse(shown):
    async with app(shown).run_test(size=(50, 24)) as pilot:
        await settle(pilot)
        assert isinstance(pilot.app, LyrxApp)
        pilot.app.incident("something", "happened", "Look.")
        await settle(pilot)
        await click_text(pilot, "! something")
        assert isinstance(pilot.app.screen, IncidentsPanel)
        await settle(pilot)
        await click_text(pilot, "y copy all")
        assert "happened" in pilot.app.clipboard
        await click_text(pilot, "X clear")
        assert pilot.app.incidents.all == []
        await click_text(pilot, "esc close")
        assert isinstance(pilot.app.screen, RunsScreen)


@pytest.fixture
def patches() -> Iterator[pytest.MonkeyPatch]:
    """What is patched in the course of a test, and undone without its folder being left."""
    with pytest.MonkeyPatch.context() as found:
        yield found


@pytest.mark.parametrize("where", ["handler", "action", "worker", "timer", "callback", "compose"])
async def test_an_exception_that_nobody_expected_is_shown_and_the_app_goes_on(shown, patches, where: str):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    async def broken_later() -> None:
        broken()

    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        running = pilot.app
        assert isinstance(running, LyrxApp)
        running.forgiving = True
        if where == "handler":
            patches.setattr(HeatmapScreen, "on_heatmap_moved", broken)
            await pilot.press("down")
        elif where == "action":
            patches.setattr(Heatmap, "action_move", broken)
            await pilot.press("down")
            patches.undo()
        elif where == "worker":
            running.screen.run_worker(broken_later())
        elif where == "timer":
            running.screen.set_timer(0.001, broken)
        elif where == "callback":
            running.screen.call_after_refresh(broken)
        else:
            patches.setattr(RunsScreen, "content", broken)
            await pilot.press("q")
            await pilot.pause()
            patches.undo()
            running.open_run("fcn-again")
        await until(pilot, lambda: running.incidents.all)
        await settle(pilot)
        assert "! an error in lyrx itself" in whole(pilot)
        # A screen that could not be composed lacks its widgets too: that is told besides.
        found = next(one for one in running.incidents.all if "on purpose" in one.what)
        assert found.what == "ZeroDivisionError: on purpose"
        assert "in broken" in found.trace
        patches.undo()
        await pilot.press("exclamation_mark")
        await settle(pilot)
        await pilot.press("y")
        assert "ZeroDivisionError: on purpose" in running.clipboard
        await pilot.press("escape")
        await pilot.press("down", "right", "m")
        await settle(pilot)
        assert screen_of(pilot).view.metric == "loss", "keys still work"
        assert len(running.incidents.all) == 1 or where == "compose"


async def test_a_widget_that_cannot_be_drawn_leaves_the_others(shown, monkeypatch):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        running = pilot.app
        assert isinstance(running, LyrxApp)
        running.forgiving = True

        def broken(self: Heatmap, y: int) -> None:
            raise ValueError("no strips today")

        monkeypatch.setattr(Heatmap, "render_line", broken)
        heatmap(pilot).refresh()
        await until(pilot, lambda: running.incidents.all)
        await settle(pilot)
        text = whole(pilot)
        assert "× this could not be drawn" in text
        assert "fcn-3x256" in text
        assert "fc1 at checkpoint 0" in text
        monkeypatch.undo()
        heatmap(pilot).refresh()
        await settle(pilot)
        assert "77.8" in whole(pilot)


async def test_tests_are_not_forgiving(shown):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with app(shown).run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            pilot.app.screen.call_later(lambda: 1 / 0)
            await pilot.pause()


def test_incidents_are_counted_bounded_and_made_harmless():
    now = iter(range(10_000))
    found = Incidents(clock=lambda: float(next(now)))
    for number in range(300):
        found.add(f"title {number}", "what")
    assert len(found.all) == found.unseen == 100
    found.see()
    found.add("title 299", "what")
    found.add("title 299", "what")
    assert (found.unseen, found.all[0].count, len(found.all)) == (1, 3, 100)
    found.add("new", "x\x1b]0;y\x07" * 10_000, "do")
    assert "\x1b" not in found.text()
    assert len(found.all[0].what) < 20_000
    found.fail(StoreNotFoundError("no store here"))
    assert isinstance(StoreNotFoundError("x"), LyrxError)
    assert (found.all[0].what, found.all[0].trace) == ("no store here", "")
    found.clear()
    assert (found.all, found.unseen, found.text()) == ([], 0, "")


# Themes, settings, keys of one's own


@pytest.mark.slow
async def test_every_theme_can_be_looked_through(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        running = pilot.app
        assert isinstance(running, LyrxApp)
        assert running.theme == "lyrx-dark"
        seen = set()
        for name in running.available_themes:
            running.choose_theme(name)
            await settle(pilot)
            title = pilot.app.screen.query_one("#title", Static)
            seen.add((title.styles.background, pilot.app.screen.styles.background))
        assert len(seen) > 10
        running.choose_theme("lyrx-light")
        await settle(pilot)
        style = next(
            segment.style for segment in pilot.app.screen.query_one("#title").render_line(0) if segment.text.strip()
        )
        assert style is not None
        assert style.color is not None
        assert style.color.get_truecolor().hex == "#875f00", "words take the new theme's tones"


async def test_settings_are_used(shown):
    config = Config(
        path=shown,
        theme="nord",
        poll_seconds=7,
        keys={"heatmap.metric": "n,f5", "app.help": "f2", "heatmap.digits": "ctrl+i"},
        problems=(Problem("ramp", "there is no 'water'", "There are fire, sea."),),
    )
    running = LyrxApp(shown, run="fcn-3x256", warm_up=False, config=config)
    async with running.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert (running.theme, running.poll_seconds) == ("nord", 7)
        for key, metric in (("n", "loss"), ("f5", "agreement"), ("m", "agreement"), ("d", "agreement")):
            await pilot.press(key)
            assert screen_of(pilot).view.metric == metric
        assert screen_of(pilot).view.digits is False, "the key that was refused stays what it was"
        assert "f2 help" in screen_text(pilot)[-1]
        told = running.incidents.text()
        assert "lyrx.zarr, ramp: there is no 'water'" in told
        assert "keys.heatmap.digits: terminals send 'ctrl+i' as tab" in told
        await pilot.press("f2")
        await settle(pilot)
        assert "n f5  metric" in line(pilot, "#help-text")


async def test_a_theme_is_chosen_for_the_next_time(shown, tmp_path):
    memory = Remembering(shown, tmp_path)
    running = LyrxApp(shown, warm_up=False, poll_seconds=3600, remembering=memory)
    async with running.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p", *"theme nord")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("G", "enter")
        await settle(pilot)
        running.look_around()
    assert Remembering(shown, tmp_path).run == "fcn-3x256"
    again = LyrxApp(shown, warm_up=False, remembering=Remembering(shown, tmp_path))
    assert again.theme == "nord"
    assert LyrxApp(shown, remembering=Remembering(shown, tmp_path), config=Config(theme="gruvbox")).theme == "gruvbox"
    assert LyrxApp(shown, remembering=Remembering(shown, tmp_path, fresh=True)).theme == "lyrx-dark"


async def test_ctrl_c_says_how_to_leave(shown):
    async with app(shown).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+c")
        assert "quits from the table of runs" in line(pilot, "#note")
        assert pilot.app.screen.query_one(KeyBar)
