"""One line that says what the colours and the marks mean."""

from rich.style import Style
from rich.text import Text

from .marks import MARKS, WORDS, State
from .paint import paints
from .scene import Scene


def legend(scene: Scene, width: int, system: str | None) -> Text:
    """The scale with its ends, and as many of the marks as fit into `width` columns: those present first.

    `system` says what colours there are, as in :func:`.ramp.paints`.
    """
    spread = scene.scale
    low, high = spread.ends(scene.metric)
    line = Text(no_wrap=True, overflow="ellipsis")
    title = scene.metric.title
    line.append(title if width >= 120 else _short(title), "bold")
    line.append(f"  {low} ", "muted")
    levels = paints(spread.ramp, system)
    step = 2 if width >= 120 or system is None else 1
    if width < 60:
        levels = levels[:: max(1, len(levels) // 8)]
    for paint in levels:
        line.append(paint.fill[:step], paint.style if paint.style != Style.null() else "")
    line.append(f" {high}", "muted")
    # In the order of their definition, those that there are before those that there might be.
    for state in sorted(WORDS, key=lambda state: state not in scene.states):
        if state is State.UNAVAILABLE and state not in scene.states:
            continue  # few runs have such places
        part = f"   {MARKS[state]} {WORDS[state]}" if width >= 120 else f" {MARKS[state]} {WORDS[state]}"
        if line.cell_len + len(part) > width - 1:
            break
        line.append(part, "muted")
    return line


def _short(title: str) -> str:
    return title.replace("distance from initialisation", "distance").replace("the error's ", "")
