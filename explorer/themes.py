"""The app's own two themes; Textual's are there as well."""

from textual.theme import Theme

from .core.tones import DARK, DARK_SURFACES, LIGHT, LIGHT_SURFACES

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


def our_themes() -> list[Theme]:
    """`lyrx-dark` and `lyrx-light`."""
    # The cursor's background is not the same as the screen's with 16 colours either.
    return [
        _theme(OURS[0], DARK, DARK_SURFACES, ("#ffffff", "#4e4e4e"), dark=True),
        _theme(OURS[1], LIGHT, LIGHT_SURFACES, ("#000000", "#bcbcbc"), dark=False),
    ]
