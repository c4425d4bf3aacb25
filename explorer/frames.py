"""Only what has changed goes to the terminal: over SSH, a key should cost bytes by the cell that it changes.

Textual writes a widget anew, whole, when anything about it has changed: a panel of numbers and its curve beside a
moving cursor are tens of kilobytes a second.  :class:`Frames` knows what the terminal shows, compares each update with
it, and has only those runs of cells written that look otherwise, each where it is.  Colours and attributes are written
where they change, not around every piece of text.

What the terminal shows is forgotten when it may be something else: at another size, after a suspension, and whenever
:meth:`Frames.forget` is called; the next update is then written whole.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import compress, count
from operator import ne
from typing import Any, NamedTuple, cast

from rich.cells import get_character_cell_size
from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.events import Resize
from textual.geometry import Size
from textual.strip import Strip
from textual.timer import Timer

GAP = 4
"""Unchanged cells between two changed ones that cost no more than to move the cursor over them."""

RESTED = 0.2
"""Seconds after which a terminal that has had several sizes is taken to keep its last one."""

UNKNOWN = object()
"""In the place of a cell that may show anything."""

_SEEN_ON_BLANKS = frozenset(("4", "7", "9", "21", "53"))
"""Underlined, reversed, struck through, underlined twice, overlined: there the colour of blanks' text is seen."""


class Look(NamedTuple):
    """How a cell is drawn: parameters of the terminal's sequences."""

    fore: str = ""
    back: str = ""
    attributes: tuple[str, ...] = ()
    link: str = ""


PLAIN = Look()


class Frames:
    """What a terminal shows, as far as it is known."""

    def __init__(self) -> None:
        self._lines: dict[int, list[Any]] = {}
        """By line: for each cell (its text, its look); the right half of a wide one has no text."""

    def forget(self) -> None:
        """The terminal may show anything: what comes next is written whole."""
        self._lines.clear()

    def only_changes(self, update: Any) -> Any:
        """The same update, less what the terminal shows already; what is no update of cells is left as it is."""
        if isinstance(update, LayoutUpdate | ChopsUpdate):
            return Changes(self, update)
        if update is not None:
            self.forget()
        return update

    def write(self, y: int, x: int, strip: Strip, pen: "Pen") -> None:
        """Have `pen` write what `strip`, put at column `x` of line `y`, changes."""
        cells = cells_of(strip, pen.colours)
        line = self._lines.setdefault(y, [])
        end = x + (strip.cell_length if cells is None else len(cells))
        line.extend([UNKNOWN] * (end + 1 - len(line)))
        if cells is None:
            pen.write_strip(y, x, strip)
            line[x - 1 if x else 0 : end + 1] = [UNKNOWN] * (end + 1 - (x - 1 if x else 0))
            return
        before = line[x:end]
        if before == cells:
            return
        # A terminal blanks the other half of a wide character that is written over: that half may show anything.
        if x and before[0] is not UNKNOWN and not before[0][0]:
            line[x - 1] = UNKNOWN
        if line[end] is not UNKNOWN and not line[end][0]:
            line[end] = UNKNOWN
        line[x:end] = cells
        for start, stop in runs(before, cells):
            pen.write(y, x + start, cells[start:stop])


def runs(before: list[Any], now: list[Any]) -> Iterator[tuple[int, int]]:
    """(start, stop) of what is to be written to make `now` of `before`, few cells in between written again."""
    start = stop = -1
    for place in compress(count(), map(ne, before, now)):
        if start < 0:
            start = place
        elif place - stop > GAP:
            yield _whole(now, start, stop)
            start = place
        stop = place + 1
    if start >= 0:
        yield _whole(now, start, stop)


def _whole(cells: list[Any], start: int, stop: int) -> tuple[int, int]:
    """The same, not beginning or ending within a wide character."""
    while start and not cells[start][0]:
        start -= 1
    while stop < len(cells) and not cells[stop][0]:
        stop += 1
    return start, stop


def cells_of(strip: Strip, colours: str) -> list[Any] | None:
    """Each cell's text and look; None where text has a width that cannot be told character by character."""
    found: list[Any] = []
    for text, style, control in strip:
        if control:
            return None
        pieces = _pieces(text)
        if pieces is None:
            return None
        look = PLAIN if style is None else _look(style, colours)
        found += [(piece, look) for piece in pieces]
    return found if len(found) == strip.cell_length else None


@lru_cache(8192)
def _pieces(text: str) -> tuple[str, ...] | None:
    """A cell's text each."""
    if text.isascii():
        return tuple(text)
    if "\u200d" in text or "\ufe0f" in text:
        return None  # joined characters are as wide as the terminal thinks
    pieces: list[str] = []
    for character in text:
        width = get_character_cell_size(character)
        if width:
            pieces += [character, *[""] * (width - 1)]
        elif pieces:
            at = len(pieces) - 1
            while at and not pieces[at]:
                at -= 1
            pieces[at] += character
        else:
            return None
    return tuple(pieces)


@lru_cache(8192)
def _look(style: Style, colours: str) -> Look:
    """What a style is for a terminal with these colours ('standard', '256', 'truecolor')."""
    rendered = style.render("\0", color_system=COLOR_SYSTEMS[colours])
    before = rendered.partition("\0")[0]
    link, _, codes = before.rpartition("\x1b[")
    if not codes.endswith("m"):
        return Look(link=before)
    return _sorted_codes(codes[:-1].split(";"), link)


def _sorted_codes(codes: list[str], link: str) -> Look:
    fore = back = ""
    attributes = []
    rest = iter(codes)
    for code in rest:
        if code in ("38", "48"):
            kind = next(rest)
            colour = ";".join([code, kind, *(next(rest) for _ in range(3 if kind == "2" else 1))])
        else:
            colour = code
        number = int(code)
        if number == 38 or 30 <= number <= 39 or 90 <= number <= 97:
            fore = "" if number == 39 else colour
        elif number == 48 or 40 <= number <= 49 or 100 <= number <= 107:
            back = "" if number == 49 else colour
        else:
            attributes.append(code)
    return Look(fore, back, tuple(attributes), link)


class Pen:
    """Writes runs of cells, changing the terminal's colours and attributes only where they change."""

    def __init__(self, console: Console):
        self.console = console
        self.colours = console.color_system or "truecolor"
        if self.colours not in COLOR_SYSTEMS:
            self.colours = "truecolor"
        self._out: list[str] = []
        self._look = PLAIN
        self._place = (-1, -1)

    def write(self, y: int, x: int, cells: list[Any]) -> None:
        """Write `cells` at column `x` of line `y`."""
        self._move(y, x)
        out, start, last = self._out, 0, len(cells)
        while start < last:
            look = cells[start][1]
            stop = start + 1
            while stop < last and cells[stop][1] is look:
                stop += 1
            text = "".join([piece for piece, _ in cells[start:stop]])
            self._become(look, blank=not text.strip(" "))
            out.append(text)
            start = stop
        self._place = (y, x + last)

    def write_strip(self, y: int, x: int, strip: Strip) -> None:
        """Write a strip as Textual does; nobody knows where the cursor is afterwards."""
        self._become(PLAIN)
        self._move(y, x)
        self._out.append(strip.render(self.console))
        self._place = (-1, -1)

    def finished(self) -> str:
        """All that was written; the terminal's colours are its own again."""
        self._become(PLAIN)
        return "".join(self._out)

    def _move(self, y: int, x: int) -> None:
        line, column = self._place
        if (line, column) == (y, x):
            return
        self._out.append(f"\x1b[{x - column}C" if line == y and x > column >= 0 else f"\x1b[{y + 1};{x + 1}H")

    def _become(self, look: Look, *, blank: bool = False) -> None:
        now = self._look
        if blank and look.fore != now.fore and not _SEEN_ON_BLANKS.intersection(look.attributes):
            look = look._replace(fore=now.fore)
        if look == now:
            return
        if look.link != now.link:
            self._out.append(look.link or "\x1b]8;;\x1b\\")
        if look.attributes != now.attributes:
            codes = [code for code in ("0", *look.attributes, look.fore, look.back) if code]
            if codes == ["0"]:
                codes = [""]
        else:
            codes = []
            if look.fore != now.fore:
                codes.append(look.fore or "39")
            if look.back != now.back:
                codes.append(look.back or "49")
        if codes:
            self._out.append(f"\x1b[{';'.join(codes)}m")
        self._look = look


class Changes(CompositorUpdate):
    """An update that writes only what changes; when it is written, the terminal is known to show all of it."""

    def __init__(self, frames: Frames, update: LayoutUpdate | ChopsUpdate):
        self._frames, self._update = frames, update
        self._text: str | None = None

    def render_segments(self, console: Console) -> str:
        """What to write: whoever asks must write it."""
        if self._text is None:
            pen = Pen(console)
            parts = _of_layout if isinstance(self._update, LayoutUpdate) else _of_chops
            for y, x, strip in parts(self._update):  # type: ignore[arg-type]
                self._frames.write(y, x, strip, pen)
            self._text = pen.finished()
        return self._text


def _of_layout(update: LayoutUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, strips in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in strips:
            yield y, x, strip
            x += strip.cell_length


def _of_chops(update: ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    for y, first, last in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x > last or end <= first:
                continue
            whole = first <= x < last and end <= last
            yield y, x, strip if whole else strip.crop(0, min(end, last) - x)


class ThriftyApp(App[int], inherit_bindings=False):
    """An app of Textual's whose terminal is sent only what changes."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = Frames()
        self._cursor_left: Any = None
        self._drawn_size: Size | None = None
        self._resized: Timer | None = None

    def _display(self, screen: Any, renderable: Any) -> None:
        # A terminal that has another size already may have shown the last frames of the old one anywhere.
        if screen.outer_size != self._drawn_size:
            self._drawn_size = screen.outer_size
            self.frames.forget()
        update = self.frames.only_changes(renderable)
        # What Textual would throw away must not be taken for shown.
        written = self._running and not self._closed and not self.is_headless and not self._batch_count
        if written and isinstance(update, Changes):
            cursor, self._cursor_left = self._cursor_left, self.cursor_position
            if cursor == self.cursor_position and not update.render_segments(self.console):
                self.post_display_hook()
                return
        super()._display(screen, cast(Any, update))

    def on_resize(self) -> None:
        """Another size, or the app has come back from the background: terminals then show what they like."""
        if self._drawn_size is None:
            return  # the size it starts with: nothing was drawn before
        self.draw_anew()
        if self._resized is not None:
            self._resized.stop()
        self._resized = self.set_timer(RESTED, self._at_rest)

    def _at_rest(self) -> None:
        """Nothing has been heard of the terminal's size for a while: what it is and what it shows is made certain.

        Of several changes in one moment the last one that is told may be an earlier one, and frames for one size may
        have come to a terminal of another.
        """
        self._resized = None
        ask = getattr(self._driver, "_get_terminal_size", None)
        if ask is not None and (size := Size(*ask())) != self.size:
            self.post_message(Resize(size, size))
        else:
            self.draw_anew()

    def draw_anew(self) -> None:
        """Write the whole screen again, whatever the terminal shows."""
        self.frames.forget()
        self.refresh(layout=True)
