"""One line that says what the colours and the marks mean."""

from rich.style import Style
from rich.text import Text

from .marks import MARKS, WORDS, State
from .paint import paints
from .scene import Scene


def legend(scene: Scene, width: int, system: str | None) -> Text:
    """The scale with its ends, and as many of the marks as fit into `width` columns: those present first.

    `system` says what colours there are, as in :func:`.paint.paints`.
    """
    line = Text(no_wrap=True, overflow="ellipsis")
    title = scene.metric.title
    line.append(title if width >= 120 else _short(title), "bold")
    line.append_text(kinds_text(scene, system) if scene.metric.kinds else _levels(scene, width, system))
    # In the order of their definition, those that there are before those that there might be.
    for state in sorted(WORDS, key=lambda state: state not in scene.states):
        if state is State.UNAVAILABLE and state not in scene.states:
            continue  # few runs have such places
        part = f"   {MARKS[state]} {WORDS[state]}" if width >= 120 else f" {MARKS[state]} {WORDS[state]}"
        if line.cell_len + len(part) > width - 1:
            break
        line.append(part, "muted")
    return line


def _levels(scene: Scene, width: int, system: str | None) -> Text:
    """All levels, the values at their ends beside them."""
    low, high = scene.scale.ends(scene.metric)
    levels = paints(scene.scale.ramp, system)
    step = 2 if width >= 120 or system is None else 1
    if width < 60:
        levels = levels[:: max(1, len(levels) // 8)]
    text = Text().append(f"  {low} ", "muted")
    for paint in levels:
        text.append(paint.fill[:step], _style(paint.style))
    return text.append(f" {high}", "muted")


def kinds_text(scene: Scene, system: str | None) -> Text:
    """A cell of each kind that the metric tells, its letter in it, and its word."""
    text, levels = Text(" "), paints(scene.scale.ramp, system)
    for value, letter, word in scene.metric.kinds:
        level = scene.scale.level(value)
        assert level is not None
        paint = levels[level]
        text.append(" ").append(paint.fill[:1], _style(paint.style))
        text.append(letter, _style(paint.plain or paint.style)).append(paint.fill[:1], _style(paint.style))
        text.append(f" {word}", "muted")
    return text


def _style(style: Style) -> Style | str:
    return style if style != Style.null() else ""


_SHORTER = {"distance from initialisation": "distance", "the error's ": "", " on the layer": ""}


def _short(title: str) -> str:
    for long, short in _SHORTER.items():
        title = title.replace(long, short)
    return title
