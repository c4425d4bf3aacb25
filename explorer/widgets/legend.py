"""One line that says what the colours and the marks mean."""

from rich.style import Style
from rich.text import Text

from .. import ramp
from ..picture import METRICS, Picture
from .marks import MARKS, WORDS, State

_MUTED = Style(color="#8a8a8a")


def legend(picture: Picture, metric: str, present: set[State], width: int) -> Text:
    """The ramp with its scale, and as many of the marks as fit into `width` columns, those `present` first."""
    low, high = ramp.scale(picture, metric).ends()
    line = Text(no_wrap=True, overflow="ellipsis")
    title = METRICS[metric].title
    line.append(title if width >= 120 else title.replace("distance from initialisation", "distance"), Style(bold=True))
    line.append(f"  {low} ", _MUTED)
    for colour in ramp.COLOURS:
        line.append(" " if width < 120 else "  ", Style(bgcolor=colour))
    line.append(f" {high}", _MUTED)
    for state in sorted(WORDS, key=lambda state: state not in present):
        if state is State.UNAVAILABLE and state not in present:
            continue  # few runs have such places
        part = f"   {MARKS[state]} {WORDS[state]}" if width >= 120 else f" {MARKS[state]} {WORDS[state]}"
        if line.cell_len + len(part) > width - 1:
            break
        line.append(part, _MUTED)
    return line
