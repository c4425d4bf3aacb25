"""A picture of the app itself, from the lines that are on the screen: SVG, PNG or text."""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme

_FACES = re.compile(r"@font-face\s*\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True)
class Shot:
    """What is on the screen: segments of text, line by line."""

    lines: Sequence[Sequence[Segment]]
    columns: int
    text: str = "#d0d0d0"
    background: str = "#121212"

    def encode(self, suffix: str, title: str) -> bytes:
        """The screen as '.svg', '.png' or '.txt'. Raises NoImagesError where PNG cannot be written."""
        if suffix == ".svg":
            return self._svg(title).encode()
        if suffix == ".txt":
            return self._text().encode()
        from .png import screen_png

        return screen_png([[self._piece(s) for s in line] for line in self.lines], self.columns, self.background)

    def _text(self) -> str:
        lines = ["".join(segment.text for segment in line).rstrip() for line in self.lines]
        return "\n".join(lines).rstrip("\n") + "\n"

    def _svg(self, title: str) -> str:
        console = Console(
            width=self.columns, height=len(self.lines), file=io.StringIO(), force_terminal=True,
            color_system="truecolor", record=True, legacy_windows=False, highlight=False,
        )  # fmt: skip
        for line in self.lines:
            console.print(_Line(line), end="")
        from rich._export_format import CONSOLE_SVG_FORMAT

        # The usual frame has its reader fetch a font from the network.
        frame = _FACES.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")
        return console.export_svg(title=title, theme=self._theme, code_format=frame)

    @cached_property
    def _theme(self) -> TerminalTheme:
        from rich.terminal_theme import SVG_EXPORT_THEME

        theme = TerminalTheme(_rgb(self.background), _rgb(self.text), [(0, 0, 0)] * 8)
        theme.ansi_colors = SVG_EXPORT_THEME.ansi_colors
        return theme

    def _piece(self, segment: Segment) -> tuple[str, str, str, bool]:
        """(text, colour, background, bold) of a segment."""
        style = segment.style or Style.null()
        fore, back = self._colour(style.color, True), self._colour(style.bgcolor, False)
        if style.reverse:
            fore, back = back, fore
        if style.dim:
            fore = ColorTriplet(*((one + two) // 2 for one, two in zip(fore, back, strict=True)))
        return segment.text, fore.hex, back.hex, bool(style.bold)

    def _colour(self, colour: Color | None, foreground: bool) -> ColorTriplet:
        if colour is None or colour.is_default:
            return ColorTriplet(*_rgb(self.text if foreground else self.background))
        return colour.get_truecolor(self._theme, foreground)


class _Line:
    """Segments as they are, with a line's end."""

    def __init__(self, segments: Iterable[Segment]):
        self._segments = [segment for segment in segments if not segment.control]

    def __rich_console__(self, console, options):
        yield from self._segments
        yield Segment.line()


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
