"""The names of the app's colours.  What they look like is the theme's business.

Core functions write :class:`rich.text.Text` whose styles are words of this list, with 'bold' or 'italic' beside them
('accent bold').  `widgets/toned.py` turns them into the colours of the theme at the moment of drawing.

They are legible with 16 million colours, with 256 and with 16, which tests check.
"""

DARK_SURFACES = {"background": "#121212", "surface": "#1c1c1c", "panel": "#262626"}
LIGHT_SURFACES = {"background": "#ffffff", "surface": "#eeeeee", "panel": "#e4e4e4"}
"""What lies behind: the screen, lines at its edges, and dialogs."""

DARK = {
    "muted": "#8a8a8a",
    "faint": "#767676",
    "text": "#d0d0d0",
    "accent": "#ffaf5f",
    "alarm": "#ff5f5f",
    "good": "#87d787",
    "info": "#87afd7",
    "working": "#d787ff",
    "critical": "#ffffff on #d70000",
    "robust": "#ffffff on #005f87",
    "undecided": "#000000 on #8a8a8a",
}
"""On a dark screen: what stands behind what matters; marks and frames, never words; plain text; where one is and keys;
bad news; good news; what waits; what is at work; and the three verdicts."""

LIGHT = {
    "muted": "#626262",
    "faint": "#808080",
    "text": "#303030",
    "accent": "#875f00",
    "alarm": "#af0000",
    "good": "#005f00",
    "info": "#005f87",
    "working": "#8700af",
    "critical": "#ffffff on #d70000",
    "robust": "#ffffff on #005f87",
    "undecided": "#ffffff on #626262",
}
"""The same on a light screen."""

WORDS_CONTRAST, MARKS_CONTRAST = 4.5, 3.0
"""What WCAG 2.2 asks of text (1.4.3) and of marks (1.4.11); tests hold every tone to it."""


def tones(dark: bool) -> dict[str, str]:
    """Each tone's colours on a dark or a light screen."""
    return DARK if dark else LIGHT


def contrast(one: str, other: str) -> float:
    """The ratio 1..21 between two colours '#rrggbb', as WCAG 2.2 defines it."""
    from .ramp import luminance

    light, dark = sorted((luminance(_rgb(one)), luminance(_rgb(other))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
