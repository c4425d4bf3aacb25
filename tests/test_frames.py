"""Only changes are written, and a terminal shows the same as if everything had been: pyte is the judge."""

import io
from itertools import pairwise
from typing import Any

import pyte
import pytest
from driving import until
from hypothesis import given, settings
from hypothesis import strategies as st
from lyrx.explorer.frames import Frames, Look, Pen, ThriftyApp, cells_of, runs
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from screenshot import settle
from textual._compositor import ChopsUpdate, InlineUpdate, LayoutUpdate
from textual.app import ComposeResult
from textual.events import Resize
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widgets import Static

WIDTH, HEIGHT = 24, 5
SYSTEMS = ("standard", "256", "truecolor")

KINDS: list[dict[str, Any]] = [
    {},
    {"color": "red"},
    {"color": "#102030", "bgcolor": "#aabbcc"},
    {"color": "#102030", "bgcolor": "#ddeeff"},
    {"color": "#102030", "bgcolor": "#ddeeff", "bold": True},
    {"bgcolor": "blue", "reverse": True},
    {"color": "bright_red", "underline": True},
    {"bgcolor": "color(200)"},
    {"color": "default", "bgcolor": "default", "italic": True},
    {"color": "red", "bold": True, "link": "https://lyrx.example"},
]
# Made anew each time: a style keeps what it was for the first terminal that it was drawn on.
styles = st.sampled_from(KINDS).map(lambda kind: Style(**kind))
texts = st.text(st.sampled_from("ab  │▁·é表計\u0301"), min_size=1, max_size=7).filter(lambda text: text[0] != "\u0301")


@st.composite
def strips(draw: st.DrawFn, width: int = WIDTH) -> Strip:
    """A strip that fills `width` cells."""
    segments = draw(st.lists(st.tuples(texts, st.one_of(st.none(), styles)), max_size=5))
    return Strip([Segment(text, style) for text, style in segments]).adjust_cell_length(width, draw(styles))


layouts = st.lists(strips(), min_size=HEIGHT, max_size=HEIGHT).map(
    lambda lines: LayoutUpdate([[line] for line in lines], Region(0, 0, WIDTH, HEIGHT))
)


@st.composite
def chops(draw: st.DrawFn) -> ChopsUpdate:
    """Parts of some lines, cut where a compositor may cut: not within what it draws as one."""
    cut = draw(st.integers(1, WIDTH - 1))
    lines = [{0: draw(strips(cut)), cut: draw(strips(WIDTH - cut))} for _ in range(HEIGHT)]
    missing = draw(st.sets(st.tuples(st.integers(0, HEIGHT - 1), st.sampled_from([0, cut]))))
    parts = [{x: None if (y, x) in missing else strip for x, strip in line.items()} for y, line in enumerate(lines)]
    spans = draw(st.lists(st.integers(0, HEIGHT - 1), min_size=1, unique=True).map(sorted))
    ends = sorted((draw(st.integers(0, WIDTH)), draw(st.integers(0, WIDTH))))
    return ChopsUpdate(parts, [(y, *ends) for y in spans], [[cut, WIDTH]] * HEIGHT)


def console(system: str = "truecolor") -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system=system, legacy_windows=False)


class Terminal:
    """What somebody in front of it would see."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(WIDTH + 4, HEIGHT + 1)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self.screen)

    def feed(self, text: str) -> None:
        """Show it as the app does: after each update the cursor is put somewhere, here at the top."""
        self._stream.feed(text + "\x1b[H")

    def seen(self) -> list[list[tuple]]:
        """Every cell as it looks: of a blank, the colour of the text that it has not is not seen."""
        return [[_seen(self.screen.buffer[y][x]) for x in range(WIDTH + 4)] for y in range(HEIGHT + 1)]


def _seen(cell: pyte.screens.Char) -> tuple:
    blank = cell.data in (" ", "") and not (cell.underscore or cell.reverse or cell.strikethrough)
    return cell._replace(fg="", bold=False, italics=False) if blank else cell


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SYSTEMS), st.lists(st.one_of(layouts, chops()), min_size=1, max_size=4))
def test_a_terminal_shows_the_same(system: str, updates: list[LayoutUpdate | ChopsUpdate]):
    frames, ours, theirs = Frames(), Terminal(), Terminal()
    for update in updates:
        theirs.feed(update.render_segments(console(system)))
        ours.feed(frames.only_changes(update).render_segments(console(system)))
        assert ours.seen() == theirs.seen()


@settings(max_examples=20, deadline=None)
@given(layouts)
def test_what_is_shown_already_costs_nothing(update: LayoutUpdate):
    frames = Frames()
    frames.only_changes(update).render_segments(console())
    assert frames.only_changes(update).render_segments(console()) == ""
    frames.forget()
    assert frames.only_changes(update).render_segments(console()) != ""


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.data())
def test_runs_hold_every_change(before: list[str], data: st.DataObject):
    now = data.draw(st.lists(st.sampled_from("abc"), min_size=len(before), max_size=len(before)))
    found = list(runs(before, now))
    mended = list(before)
    for start, stop in found:
        mended[start:stop] = now[start:stop]
        assert before[start] != now[start]
        assert before[stop - 1] != now[stop - 1]
    assert mended == now
    assert all(later[0] - earlier[1] > 4 for earlier, later in pairwise(found))


def test_one_cell_costs_bytes_by_the_cell():
    style = Style(color="#102030", bgcolor="#aabbcc")
    line = Strip([Segment("." * WIDTH, style)])
    region = Region(0, 0, WIDTH, HEIGHT)
    frames = Frames()
    frames.only_changes(LayoutUpdate([[line]] * HEIGHT, region)).render_segments(console())
    other = Strip([*line.crop(0, 9), Segment("x", style), *line.crop(10)])
    update = LayoutUpdate([[line], [line], [other], [line], [line]], region)
    assert frames.only_changes(update).render_segments(console()) == (
        "\x1b[3;10H\x1b[38;2;16;32;48;48;2;170;187;204mx\x1b[39;49m"
    )


class Told(ThriftyApp):
    """An app whose terminal is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    @property
    def is_headless(self) -> bool:
        return False

    def compose(self) -> ComposeResult:
        yield Static("one", id="words")

    def shown(self) -> str:
        """What was written since the last time."""
        found = "".join(self.written)
        self.written.clear()
        return found


async def test_an_app_writes_what_changes_and_nothing_where_nothing_does():
    app = Told()
    async with app.run_test(size=(20, 3)) as pilot:
        assert app._driver is not None
        app._driver.write = app.written.append  # type: ignore[method-assign]
        await until(pilot, lambda: app._resized is None)
        words = app.query_one("#words", Static)
        words.update("two")
        await settle(pilot)
        assert "two" in app.shown()
        words.update("two")
        words.refresh()
        await settle(pilot)
        assert app.shown() == ""
        words.update("twe")
        await settle(pilot)
        changed = app.shown()
        assert "e" in changed
        assert "tw" not in changed
        with app.batch_update():  # what Textual holds back is not taken for shown
            words.update("new")
            await pilot.pause()
        await settle(pilot)
        assert "new" in app.shown()
        app.draw_anew()
        await settle(pilot)
        assert "new" in app.shown()


async def test_a_frame_of_another_size_is_written_whole_whatever_was_written_before_it():
    """A terminal that is smaller already puts what is drawn for its old size anywhere."""
    app = Told()
    async with app.run_test(size=(20, 3)) as pilot:
        assert app._driver is not None
        app._driver.write = app.written.append  # type: ignore[method-assign]
        for size in ((30, 5), (12, 2), (20, 3)):
            app.shown()
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: app._resized is None)
            await settle(pilot)
            terminal = pyte.Screen(*size)
            pyte.Stream(terminal).feed(app.shown())
            assert [line.rstrip() for line in terminal.display] == ["one", *[""] * (size[1] - 1)]
            backs = {terminal.buffer[y][x].bg for y in range(size[1]) for x in range(size[0])}
            assert "default" not in backs


async def test_a_size_that_was_told_late_is_asked_for(monkeypatch):
    app = Told()
    async with app.run_test(size=(20, 3)) as pilot:
        await until(pilot, lambda: app._resized is None)
        # Of two signals at once the second one's size was told first.
        monkeypatch.setattr(app._driver, "_get_terminal_size", lambda: (12, 2), raising=False)
        app.post_message(Resize(Size(30, 5), Size(30, 5)))
        await until(pilot, lambda: app.screen.outer_size == (12, 2))


def test_colours_are_written_where_they_change():
    pen = Pen(console())
    strip = Strip(
        [
            Segment("  ", Style(color="white", bgcolor="#000001")),
            Segment("  ", Style(color="black", bgcolor="#000002")),
            Segment("ab", Style(bold=True, bgcolor="#000002")),
        ]
    )
    cells = cells_of(strip, "truecolor")
    assert cells is not None
    pen.write(0, 0, cells)
    assert pen.finished() == (
        # The colours of text that blanks have not are left out.
        "\x1b[1;1H\x1b[48;2;0;0;1m  \x1b[48;2;0;0;2m  \x1b[0;1;48;2;0;0;2mab\x1b[m"
    )


def test_text_whose_width_only_the_terminal_knows_is_written_whole():
    joined = Strip([Segment("a\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}b")])
    assert cells_of(joined, "truecolor") is None
    update = LayoutUpdate([[joined]], Region(0, 0, joined.cell_length, 1))
    frames = Frames()
    for _ in range(2):
        assert joined.render(console()) in frames.only_changes(update).render_segments(console())


def test_what_is_no_update_of_cells_is_left_alone_and_forgets():
    frames = Frames()
    update = LayoutUpdate([[Strip([Segment("abc")])]], Region(0, 0, 3, 1))
    frames.only_changes(update).render_segments(console())
    inline = InlineUpdate([])
    assert frames.only_changes(inline) is inline
    assert "abc" in frames.only_changes(update).render_segments(console())
    assert frames.only_changes(None) is None


@pytest.mark.parametrize(
    ("style", "look"),
    [
        (Style(color="red", bgcolor="#010203", bold=True), Look("31", "48;2;1;2;3", ("1",))),
        (Style(color="color(200)", bgcolor="bright_blue"), Look("38;5;200", "104")),
        (Style(color="default", bgcolor="default"), Look()),
    ],
)
def test_a_style_as_the_terminal_knows_it(style: Style, look: Look):
    cells = cells_of(Strip([Segment("x", style)]), "truecolor")
    assert cells == [("x", look)]
