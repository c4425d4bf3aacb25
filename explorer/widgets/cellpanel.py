"""Everything about the cell under the cursor, in words and numbers."""

import textwrap

from rich.style import Style
from rich.text import Text

from ...store import REINITIALISE, Estimate, inert
from ..picture import METRICS, CellSummary, Picture
from ..show import shorten
from ..words import deed
from .marks import WORDS, Place, State

_MUTED = Style(color="#8a8a8a")
_TITLE = Style(bold=True)
_VERDICTS = {
    "critical": Style(color="#ffffff", bgcolor="#d70000", bold=True),
    "robust": Style(color="#ffffff", bgcolor="#005f87", bold=True),
    "undecided": Style(color="#000000", bgcolor="#8a8a8a", bold=True),
}
_LABEL = 9
_ROOMY = 50
"""Columns from which on the panel stands beside the heatmap, and has lines to spare."""


def cell_text(picture: Picture, layer: int | None, column: int, over: Place | None, message: str, width: int) -> Text:
    """The panel's text, at most `width` columns wide.

    `over` is what is going on at this place besides what the store knows, `message` why it failed.
    """
    lines: list[Text] = [_title(picture, layer, column, width)]
    cell = picture.cell(layer, column)
    if layer is None and picture.columns[column].kind != REINITIALISE:
        lines.append(Text("the whole network is re-initialised only", _MUTED))
    elif reason := picture.unavailable(layer, column):
        lines.append(Text("not available", _TITLE))
        lines += [Text(line, _MUTED) for line in textwrap.wrap(inert(reason), width)]
    elif cell is None:
        lines.append(Text("not measured yet", _MUTED))
    elif cell.damaged:
        lines.append(Text("damaged: no number to show", Style(color="#ff5f5f")))
        lines.append(Text("enter measures it again", _MUTED))
    else:
        lines += _numbers(picture, layer, column, cell, width)
    if over is not None:
        lines.insert(1, _going_on(over, message))
    lines += _distance(picture, layer, column)
    if layer is not None:
        info = picture.probe.layers[layer]
        joint = f", {len(info.joint)} layers" if info.joint else ""
        lines.append(_field("size", f"{info.parameters:,} weights{joint}"))
    if cell is not None and cell.measured and not cell.exact:
        lines.append(Text("enter goes on to all examples", _MUTED))
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _title(picture: Picture, layer: int | None, column: int, width: int) -> Text:
    what = deed(picture.columns[column])
    name = "whole network" if layer is None else shorten(picture.layer_names[layer], max(6, width - len(what) - 1))
    return Text.assemble((name, _TITLE), (f" {what}", _MUTED))


def _field(label: str, *parts: str | tuple[str, Style]) -> Text:
    line = Text()
    line.append(label.ljust(_LABEL), _MUTED)
    for part in parts:
        line.append_text(Text(part) if isinstance(part, str) else Text(*part))
    return line


def _numbers(picture: Picture, layer: int | None, column: int, cell: CellSummary, width: int) -> list[Text]:
    verdict = _verdict(picture, layer, column)
    about = "" if cell.exact and cell.complete else "~"
    lines = [_field("error", (f"{about}{100 * cell.error:.2f} %", _TITLE), *((" ", verdict) if verdict else ()))]
    if not cell.exact:
        half = f" (±{50 * (cell.high - cell.low):.1f})"
        lines.append(_field("95 %", f"{100 * cell.low:.2f} to {100 * cell.high:.2f} %", (half, _MUTED)))
    if cell.expected > 1:
        lines += _draws(cell)
    seen = f"{cell.n:,} of {cell.total:,}" if not cell.exact else f"all {cell.n:,}: exact"
    how = inert(cell.evaluator) + (f": {inert(cell.reason)}" if cell.reason and width < _ROOMY else "")
    lines.append(_field("examples", seen, (f" {how}", _MUTED)))
    loss = METRICS["loss"].text(cell.loss, 8)
    lines.append(_field("loss", loss, (" agreement ", _MUTED), f"{100 * cell.agreement:.1f} %"))
    baseline = picture.baseline
    if baseline is not None and layer is not None:
        limit = 100 * (baseline.error + picture.tolerance)
        lines.append(_field("limit", f"{limit:.2f} %", (f" (baseline + {100 * picture.tolerance:g})", _MUTED)))
    if cell.reason and width >= _ROOMY:
        # The reason in as many lines as it takes: there is room below.
        words = textwrap.wrap(inert(cell.reason), width - _LABEL)
        lines += [
            _field("in full" if first else "", (line, _MUTED))
            for first, line in zip([True] + [False] * len(words), words, strict=False)
        ]
    return lines


def _verdict(picture: Picture, layer: int | None, column: int) -> tuple[str, Style] | None:
    verdict = picture.verdict(layer, column) if layer is not None else None
    return (f" {verdict} ", _VERDICTS[verdict]) if verdict else None


def _draws(cell: CellSummary) -> list[Text]:
    count = f"{len(cell.draws)} draws" if cell.complete else f"{len(cell.draws)} of {cell.expected} draws"
    spread = f"mean of {count}" + (f" ± {100 * cell.spread:.2f}" if cell.spread is not None else "")
    return [_field("", (spread, Style.null())), _field("draws", " ".join(map(_draw, cell.draws)))]


def _draw(draw: Estimate) -> str:
    return f"{100 * draw.error:.1f}"


def _distance(picture: Picture, layer: int | None, column: int) -> list[Text]:
    l2, linf = picture.value("l2", layer, column), picture.value("linf", layer, column)
    if l2 is None or linf is None:
        return []
    return [_field("distance", ("l2 ", _MUTED), f"{l2:.3g}", ("  linf ", _MUTED), f"{linf:.3g}")]


def _going_on(over: Place, message: str) -> Text:
    words = WORDS[over.state]
    message = message if over.state is State.FAILED else ""
    if over.progress is not None:
        words += f", {100 * over.progress:.0f} % of examples seen"
    colour = "#ff5f5f" if message else "#ffaf5f"
    return Text(f"{words}: {message}" if message else words, Style(color=colour, bold=True))
