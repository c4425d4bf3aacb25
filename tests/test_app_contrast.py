"""Words as they are drawn, on what is really behind them: chosen lines of tables, lists and trees in our two themes."""

import pytest
from driving import app, settle
from lyrx.explorer.core.tones import WORDS_CONTRAST, contrast
from lyrx.explorer.screens.compare_pick import PickRuns
from lyrx.explorer.screens.model import ModelScreen
from lyrx.explorer.screens.palette import Palette
from lyrx.explorer.screens.probes import ProbeChooser
from lyrx.explorer.screens.runs import RunsScreen
from lyrx.explorer.themes import OURS, colours_of
from lyrx.explorer.widgets.modeltree import ModelTree
from lyrx.explorer.widgets.runtable import RunTable
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import OptionList


def lines(pilot: Pilot, widget: Widget) -> list[list[tuple[str, str, str]]]:
    """(text, colour, background) of the words on the lines of `widget`, as they are on the screen."""
    x, y, width, height = widget.region
    found = []
    for strip in pilot.app.screen._compositor.render_strips()[y : y + height]:
        line = []
        for segment in strip.crop(x, x + width):
            style = segment.style
            if any(map(str.isalnum, segment.text)) and style and style.color and style.bgcolor:
                line.append((segment.text, style.color.get_truecolor().hex, style.bgcolor.get_truecolor().hex))
        found.append(line)
    return found


def check(pilot: Pilot, widget: Widget, behind: str) -> None:
    """All words of `widget` are legible, and it has a line that is the chosen one."""
    chosen = 0
    for line in lines(pilot, widget):
        for text, front, back in line:
            assert contrast(front, back) >= WORDS_CONTRAST, (text, front, back)
        chosen += any(back == behind for *_, back in line)
    assert chosen == 1


@pytest.mark.slow
@pytest.mark.parametrize("theme", OURS)
async def test_words_on_chosen_lines_and_beside_them_are_legible(shown, theme: str):
    async with app(shown).run_test(size=(120, 36)) as pilot:
        pilot.app.theme = theme
        colours = colours_of(pilot.app.current_theme)
        await settle(pilot)
        assert isinstance(pilot.app.screen, RunsScreen)
        table = pilot.app.screen.query_one(RunTable)
        states = set()
        for _ in table.rows:
            check(pilot, table, colours.lines[0])
            states.add(table.chosen.status if table.chosen else None)
            await pilot.press("down")
            await settle(pilot)
        assert len(states) > 1
        await pilot.press("ctrl+p")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Palette)
        for key in ("down", "down", "pagedown"):
            check(pilot, pilot.app.screen.query_one(OptionList), colours.cursor[1])
            await pilot.press(key)
            await settle(pilot)
        await pilot.press("escape", "home", "v")
        await settle(pilot)
        assert isinstance(pilot.app.screen, PickRuns)
        await pilot.press("tab", "up")
        await settle(pilot)
        check(pilot, pilot.app.screen.query_one(OptionList), colours.cursor[1])
        await pilot.press("escape", "t")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ModelScreen)
        for _ in range(3):
            check(pilot, pilot.app.screen.query_one(ModelTree), colours.lines[0])
            await pilot.press("down")
            await settle(pilot)
        await pilot.press("escape", "enter", "p")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ProbeChooser)
        check(pilot, pilot.app.screen.query_one(OptionList), colours.cursor[1])
