"""The app's own two themes, and what its tones are in them and in Textual's."""

from dataclasses import dataclass
from functools import cached_property

from textual.color import Color, ColorParseError
from textual.theme import Theme

from .core.tones import DARK, DARK_SURFACES, LIGHT, LIGHT_SURFACES, WORDS_CONTRAST, adapted, legible, mixed

OURS = ("lyrx-dark", "lyrx-light")
"""Their names; the first one is how the app looks unless told otherwise."""


def _theme(name: str, tones: dict[str, str], surfaces: dict[str, str], cursor: tuple[str, str], *, dark: bool) -> Theme:
    foreground, background = cursor
    return Theme(
        name=name,
        primary=tones["info"],
        secondary=tones["info"],
        accent=tones["accent"],
        warning=tones["accent"],
        error=tones["alarm"],
        success=tones["good"],
        foreground=tones["text"],
        background=surfaces["background"],
        surface=surfaces["surface"],
        panel=surfaces["panel"],
        dark=dark,
        variables={
            "block-cursor-foreground": foreground,
            "block-cursor-background": background,
            "block-cursor-text-style": "bold",
            "block-cursor-blurred-foreground": foreground,
            "block-cursor-blurred-background": background,
            "block-hover-background": surfaces["panel"],
            "input-cursor-background": tones["text"],
            "input-cursor-foreground": surfaces["background"],
            "scrollbar": tones["faint"],
            "scrollbar-hover": tones["muted"],
            "scrollbar-active": tones["accent"],
            "scrollbar-background": surfaces["surface"],
            "scrollbar-background-hover": surfaces["surface"],
            "scrollbar-background-active": surfaces["surface"],
            "scrollbar-corner-color": surfaces["background"],
        },
    )


# The cursor's background is not the same as the screen's with 16 colours either.
_DARK_CURSOR, _LIGHT_CURSOR = ("#ffffff", "#4e4e4e"), ("#000000", "#bcbcbc")


def our_themes() -> list[Theme]:
    """`lyrx-dark` and `lyrx-light`."""
    return [
        _theme(OURS[0], DARK, DARK_SURFACES, _DARK_CURSOR, dark=True),
        _theme(OURS[1], LIGHT, LIGHT_SURFACES, _LIGHT_CURSOR, dark=False),
    ]


@dataclass(frozen=True)
class Colours:
    """The app's colours in one theme."""

    tones: dict[str, str]
    """By name; see :mod:`.core.tones`."""
    cursor: tuple[str, str]
    """Of a list's chosen line: its words' colour, and what is behind them."""
    lines: tuple[str, str]
    """Behind the chosen line of a table or a tree: while it has the focus, and while it has not."""

    @cached_property
    def chosen(self) -> dict[str, str]:
        """The tones on a chosen line: as they are, or as much lighter or darker as it takes to read them there."""
        behind = dict.fromkeys((self.cursor[1], *self.lines), WORDS_CONTRAST)
        return {name: colour if " " in colour else legible(colour, behind) for name, colour in self.tones.items()}

    @property
    def variables(self) -> dict[str, str]:
        """For style sheets: `$lyrx-muted` and so on, `$lyrx-cursor`, `$lyrx-cursor-text`, `$lyrx-line` and
        `$lyrx-line-blurred`."""
        plain = {f"lyrx-{name}": colour for name, colour in self.tones.items() if " " not in colour}
        return {
            **plain, "lyrx-cursor-text": self.cursor[0], "lyrx-cursor": self.cursor[1],
            "lyrx-line": self.lines[0], "lyrx-line-blurred": self.lines[1],
        }  # fmt: skip


_OUR_COLOURS = {
    True: Colours(DARK, _DARK_CURSOR, ("#3a3a3a", "#262626")),
    False: Colours(LIGHT, _LIGHT_CURSOR, ("#d0d0d0", "#e4e4e4")),
}
_known: dict[str, tuple[Theme, Colours]] = {}


def colours_of(theme: Theme) -> Colours:
    """The app's colours in `theme`: those of the theme, made legible on everything that it puts behind them.

    A theme of the terminal's own 16 colours says nothing of how they look; it has the colours of the app's theme that
    is as dark or light.
    """
    known = _known.get(theme.name)
    if known is None or known[0] is not theme:
        known = _known[theme.name] = (theme, _colours(theme))
    return known[1]


def _colours(theme: Theme) -> Colours:
    if theme.name in OURS:
        return _OUR_COLOURS[theme.dark]
    named = {**theme.to_color_system().generate(), **theme.variables}
    try:
        behind = [Color.parse(named[name]) for name in ("background", "surface", "panel")]
        colours = {name: Color.parse(named[name]).hex6.lower() for name in _USED}
    except (KeyError, ColorParseError):
        return _OUR_COLOURS[theme.dark]
    if any(colour.ansi is not None for colour in behind):
        return _OUR_COLOURS[theme.dark]
    background, front = behind[0].hex6.lower(), colours["foreground"]
    surfaces = [(behind[0] + colour).hex6.lower() for colour in behind]
    lines = (mixed(background, front, _CHOSEN), mixed(background, front, _CHOSEN / 2))
    wanted = {
        "text": [front],
        "muted": [mixed(front, background, 0.35)],
        "faint": [mixed(front, background, 0.5)],
        "alarm": [colours["error"]],
        "accent": [colours["accent"], colours["warning"]],
        "good": [colours["success"]],
        "info": [colours["primary"], colours["secondary"]],
        "working": [colours["secondary"], colours["warning"]],
    }
    made = adapted(wanted, surfaces[:2], [surfaces[2], *lines], dark=theme.dark)
    return Colours(made, (made["text"], lines[0]), lines)


_USED = ("foreground", "primary", "secondary", "accent", "warning", "error", "success")
_CHOSEN = 0.2
"""The share of the words' colour that is mixed into what is behind a chosen line, as in the table of runs."""
