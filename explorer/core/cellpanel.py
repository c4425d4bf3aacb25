"""Everything about the cell under the cursor, in words and numbers: the most important lines first."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from ...store import REINITIALISE, Column, inert
from ...store.verdict import Verdict
from .marks import WORDS, Place, State
from .picture import METRICS, CellSummary, Picture
from .sizes import share_text, size_of
from .texts import shorten
from .words import deed, perplexity_text

LABEL = 10
"""Columns of what stands before each line's numbers."""
_BAR_LEAST = 16
"""Columns below which no bar is drawn."""

MARK_OF: dict[Verdict, str] = {"critical": "▲", "robust": "●", "undecided": "?"}
"""Tell verdicts apart without colours."""


@dataclass(frozen=True)
class Line:
    """One line of the panel. Where lines are short, those with the greatest `rank` go first."""

    text: Text
    rank: int
    goes_on: bool = False
    """Whether the next line ends its sentence."""


def cell_text(
    picture: Picture,
    layer: int | Sequence[int] | None,
    column: int,
    over: Place | None,
    message: str,
    width: int,
    height: int | None = None,
    *,
    name: str = "",
) -> Text:
    """The panel's text, at most `width` columns wide and `height` lines high.

    `layer` is None for the whole network, or several layers of one folded row, which is called `name` then: the numbers
    are those of the worst of them.  `over` is what is going on at this place besides what the store knows, `message`
    why it failed.
    """
    group = [] if layer is None or isinstance(layer, int) else list(layer)
    one = worst(picture, group, column) if group else layer
    assert one is None or isinstance(one, int)
    lines = [Line(_title(picture, one, column, width, name if len(group) > 1 else ""), 0)]
    if over is not None:
        lines += _going_on(over, message, width)
    if len(group) > 1:
        lines += _about_group(picture, group, one, column, width)
    lines += _of_cell(picture, one, column, width)
    if one is not None:
        lines += _size(picture, group or [one], width)
    lines += _meaning(picture.columns[column], picture, width)
    if len(group) > 1:
        lines += _list(picture, group, column, width)
    return _put_together(lines, width, height)


def _put_together(lines: list[Line], width: int, height: int | None) -> Text:
    """Those lines that there is room for, in their order."""
    if height is not None and len(lines) > height:
        ranked = sorted(range(len(lines)), key=lambda index: (lines[index].rank, index))
        kept = sorted(ranked[: max(1, height)])
        for index in kept:
            if lines[index].goes_on and index + 1 not in kept:
                lines[index].text.truncate(width - 2)
                lines[index].text.append(" …", "muted")
        lines = [lines[index] for index in kept]
    for line in lines:
        line.text.no_wrap = True
        line.text.truncate(width, overflow="ellipsis")
    return Text("\n").join(line.text for line in lines)


def worst(picture: Picture, layers: Sequence[int], column: int) -> int:
    """Which of several layers has the highest error in a column; the first where none is measured."""

    def error(layer: int) -> float:
        value = picture.value("error", layer, column)
        return -1.0 if value is None else value

    return max(layers, key=error)


def _title(picture: Picture, layer: int | None, column: int, width: int, name: str) -> Text:
    what = deed(picture.columns[column])
    own = "whole network" if layer is None else picture.layer_names[layer]
    return Text.assemble((shorten(name or own, max(6, width - len(what) - 1)), "bold"), (f" {what}", "muted"))


def _field(label: str, *parts: str | tuple[str, str]) -> Text:
    line = Text()
    line.append(label.ljust(LABEL), "muted")
    for part in parts:
        line.append_text(Text(part) if isinstance(part, str) else Text(*part))
    return line


def _wrapped(label: str, text: str, width: int, rank: int) -> list[Line]:
    """A field whose words take as many lines as they need; the later ones go first where lines are short."""
    words = textwrap.wrap(text, max(10, width - LABEL)) or [""]
    return [
        Line(_field("" if number else label, (part, "muted")), rank + number, number + 1 < len(words))
        for number, part in enumerate(words)
    ]


def _of_cell(picture: Picture, layer: int | None, column: int, width: int) -> list[Line]:
    """What is known of one cell."""
    cell = picture.cell(layer, column)
    if layer is None and picture.columns[column].kind != REINITIALISE:
        return [Line(Text("the whole network is re-initialised only", "muted"), 1)]
    if reason := picture.unavailable(layer, column):
        words = textwrap.wrap(inert(reason), width)
        return [
            Line(Text("not available", "bold"), 1),
            *(Line(Text(word, "muted"), 2 + number) for number, word in enumerate(words)),
        ]
    if cell is None:
        found = [Line(Text("not measured yet", "muted"), 1), Line(Text("enter measures it", "muted"), 6)]
        return found + _distance(picture, layer, column, width)
    if cell.damaged:
        return [
            Line(Text("damaged: no number to show", "alarm"), 1),
            Line(Text("enter measures it again", "muted"), 2),
            *_distance(picture, layer, column, width),
        ]
    return [
        *_numbers(picture, layer, column, cell, width),
        *_distance(picture, layer, column, width),
        *_how(picture, cell, width),
    ]


def _numbers(picture: Picture, layer: int | None, column: int, cell: CellSummary, width: int) -> list[Line]:
    verdict = picture.verdict(layer, column) if layer is not None else None
    about = "" if cell.exact and cell.complete else "~"
    said = ((" ", ""), (f" {verdict} ", f"{verdict} bold")) if verdict else ()
    lines = [Line(_field("error", (f"{about}{100 * cell.error:.2f} %", "bold"), *said), 1)]
    if not cell.exact:
        half = f" ±{50 * (cell.high - cell.low):.1f}"
        lines.append(Line(_field("95 %", f"{100 * cell.low:.2f} to {100 * cell.high:.2f} %", (half, "muted")), 2))
    if layer is not None and (drawn := _bar(picture, cell, width - LABEL)):
        lines.append(Line(_field("").append_text(drawn), 9))
    if cell.expected > 1:
        lines += _draws(cell, width)
    count = seen = f"{cell.n:,} of {cell.total:,}" if not cell.exact else f"all {cell.n:,}: exact"
    for part in (f" {inert(cell.evaluator)}" if cell.evaluator else "", "" if cell.exact else "  enter: all of them"):
        seen += part if len(seen) + len(part) <= width - LABEL else ""
    lines.append(Line(_field("examples", count, (seen.removeprefix(count), "muted")), 3))
    baseline = picture.baseline
    if baseline is not None and layer is not None:
        limit = 100 * (baseline.error + picture.tolerance)
        lines.append(Line(_field("limit", f"{limit:.2f} %", (f" baseline + {100 * picture.tolerance:g}", "muted")), 6))
    loss = METRICS["loss"].text(cell.loss, 8)
    agrees = "  agreement " if width >= LABEL + 26 else " agrees "
    lines.append(Line(_field("loss", loss, (agrees, "muted"), f"{100 * cell.agreement:.1f} %"), 4))
    if picture.language:
        lines.append(Line(_field("", ("perplexity ", "muted"), perplexity_text(cell.loss)), 5))
    return lines


def bar_top(high: float) -> float:
    """The end of a scale from 0 that shows `high` well: 10, 20, 50 or 100 %, as a fraction."""
    return next((top for top in (0.1, 0.2, 0.5) if high <= 0.9 * top), 1.0)


def _bar(picture: Picture, cell: CellSummary, room: int) -> Text | None:
    """Estimate ● and interval ━ on a scale from 0, with the limit between robust and critical ┃; None without room."""
    baseline = picture.baseline
    limit = None if baseline is None else baseline.error + picture.tolerance
    top = bar_top(max(cell.high, limit or 0.0))
    end = f" {100 * top:g} %"
    size = min(60, room - len(end))
    if size < _BAR_LEAST or cell.error != cell.error:
        return None

    def at(value: float) -> int:
        return min(size - 1, max(0, int(value / top * size)))

    verdict_tone = "accent bold"
    marks = [("─", "faint")] * size
    for place in range(at(cell.low), at(cell.high) + 1):
        marks[place] = ("━", verdict_tone)
    if limit is not None:
        marks[at(limit)] = ("┃", "text bold")
    marks[at(cell.error)] = ("●", verdict_tone)
    return Text.assemble(*marks, (end, "muted"))


def _draws(cell: CellSummary, width: int) -> list[Line]:
    count = f"{len(cell.draws)} draws" if cell.complete else f"{len(cell.draws)} of {cell.expected} draws"
    spread = f"mean of {count}" + (f" ± {100 * cell.spread:.2f}" if cell.spread is not None else "")
    lines = [Line(_field("", spread), 3)]
    errors = [f"{100 * draw.error:.1f}" for draw in cell.draws]
    shown = " ".join(errors)
    if len(shown) > width - LABEL:
        fit = 0
        while fit < len(errors) and len(" ".join(errors[: fit + 1])) + len(f" … +{len(errors)}") <= width - LABEL:
            fit += 1
        shown = f"{' '.join(errors[:fit])} … +{len(errors) - fit}"
    lines.append(Line(_field("draws", shown), 6))
    return lines


def _distance(picture: Picture, layer: int | None, column: int, width: int) -> list[Line]:
    l2, linf = picture.value("l2", layer, column), picture.value("linf", layer, column)
    if l2 is None or linf is None:
        return []
    if width >= LABEL + 34:
        most = (f"{linf:.3g}", (" ∞-norm", "muted"))
        return [Line(_field("distance", f"{l2:.3g}", (" 2-norm/√n   ", "muted"), *most), 6)]
    return [Line(_field("distance", ("l2 ", "muted"), f"{l2:.3g}", (" l∞ ", "muted"), f"{linf:.3g}"), 6)]


def _size(picture: Picture, layers: Sequence[int], width: int) -> list[Line]:
    count, total = size_of(picture, layers), size_of(picture)
    share = f" {share_text(count, total)} of {total:,}" if total >= count else ""
    if len(share) + len(f"{count:,} weights") > width - LABEL:
        share = f" {share_text(count, total)}" if total >= count else ""
    lines = [Line(_field("size", f"{count:,} weights", (share, "muted")), 6)]
    together = picture.probe.layers[layers[0]].joint if len(layers) == 1 else ()
    if together:
        lines += _wrapped("together", ", ".join(map(inert, together)), width, 7)
    return lines


def _how(picture: Picture, cell: CellSummary, width: int) -> list[Line]:
    """How the numbers came about: time, arithmetic, seeds, and why not by replay."""
    device = f" on {inert(cell.device)}" if cell.device else ""
    took = "not recorded" if cell.seconds is None else f"{seconds_text(cell.seconds)}{device}"
    if cell.evaluator == "baseline":
        took = "none: the trained network itself"
    precision = inert(str(picture.probe.settings.get("precision", "not recorded")))
    section = picture.run.spec.get("run")
    seed = section.get("seed") if isinstance(section, dict) else None
    seed_text = "not recorded" if seed is None else inert(str(seed))
    lines = [Line(_field("time", took), 7)]
    if width >= LABEL + len(precision) + len(seed_text) + len("   seed "):
        lines.append(Line(_field("precision", precision, ("   seed ", "muted"), seed_text), 8))
    else:
        lines += [Line(_field("precision", precision), 8), Line(_field("seed", seed_text), 8)]
    if any(one is not None for one in cell.seeds):
        # Digits enough to copy; lines of their own, which go first where room is short.
        for number, one in enumerate(cell.seeds):
            text = "not recorded" if one is None else str(one)
            lines.append(Line(_field("" if number else "drawn", (f"{number + 1}: seed {text}", "muted")), 14))
    evaluator = {
        "replay": "replay: only what comes after the layer",
        "full": "full forwards of the whole network",
        "baseline": "the baseline: nothing was changed",
        "": "not recorded",
    }.get(cell.evaluator, inert(cell.evaluator))
    if width >= LABEL + len(evaluator) or cell.evaluator not in ("replay", "full"):
        lines.append(Line(_field("by", evaluator), 13 if cell.reason and cell.evaluator == "full" else 10))
    if cell.reason:
        lines += _wrapped("", inert(cell.reason), width, 4)
    for note in picture.notes:
        lines += _wrapped("note", inert(note), width, 5)
    return lines


def seconds_text(seconds: float) -> str:
    """A duration for people: '0.42 s', '3.1 min', '2.0 h'."""
    if seconds < 0.01:
        return "less than 0.01 s"
    if seconds < 100:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"


def meaning(column: Column, final: int) -> str:
    """What is done in a column, in a sentence."""
    match column.kind:
        case "rerandomise":
            text = "the layer gets fresh values from the model's own initialisation"
        case "reinitialise" if column.checkpoint == 0:
            text = "the layer is put back to its untouched initialisation, all others stay trained"
        case "reinitialise" if column.checkpoint == final:
            text = "the trained network as it is: the baseline"
        case "reinitialise":
            text = f"the layer is put back to what it was after epoch {column.checkpoint}, all others stay trained"
        case "zero":
            text = "the layer's weights are set to zero"
        case "shuffle":
            text = "the layer's weights are put into another order, each tensor by itself"
        case "noise":
            text = f"Gaussian noise is added, {column.scale:g} times the weights' root mean square"
        case "path":
            text = f"{100 * (column.alpha or 0):g} % of the straight way from epoch {column.checkpoint} to the end"
        case _:
            text = column.label
    return text + (f"; mean of {column.draws} draws" if column.draws > 1 else "")


def _meaning(column: Column, picture: Picture, width: int) -> list[Line]:
    return _wrapped("column", meaning(column, picture.run.checkpoints[-1]), width, 11)


def _going_on(over: Place, message: str, width: int) -> list[Line]:
    words = WORDS.get(over.state, over.state.value)
    message = inert(message) if over.state is State.FAILED else ""
    if over.progress is not None:
        words += f", {100 * over.progress:.0f} % of examples seen"
    tone = {State.FAILED: "alarm bold", State.RUNNING: "working bold"}.get(over.state, "info bold")
    parts = textwrap.wrap(f"{words}: {message}" if message else words, width)
    return [Line(Text(part, tone), 0 if number == 0 else 2) for number, part in enumerate(parts)]


# Several layers as one row


def _about_group(picture: Picture, group: Sequence[int], shown: int | None, column: int, width: int) -> list[Line]:
    """Which layer's numbers follow, and how the others are."""
    measured = [layer for layer in group if (cell := picture.cell(layer, column)) and cell.measured]
    lines = []
    if shown in measured:
        name = shorten(picture.layer_names[shown], width - LABEL) if shown is not None else ""
        lines.append(Line(_field("worst is", (name, "bold")), 1))
    counts = dict.fromkeys(MARK_OF, 0)
    for layer in group:
        if (verdict := picture.verdict(layer, column)) is not None:
            counts[verdict] += 1
    said = [f"{count} {word}" for word, count in counts.items() if count]
    if missing := len(group) - len(measured):
        said.append(f"{missing} not measured")
    lines += _wrapped(f"of {len(group)}", ", ".join(said), width, 2)
    return lines


def _list(picture: Picture, group: Sequence[int], column: int, width: int) -> list[Line]:
    """Each layer of a row with its error, the worst first."""
    lines = [Line(Text(""), 20)]
    known = {layer: picture.value("error", layer, column) for layer in group}
    order = sorted(group, key=lambda layer: -1.0 if (value := known[layer]) is None else value, reverse=True)
    names = min(max(len(inert(picture.layer_names[layer])) for layer in group), max(8, width - 12))
    for layer in order:
        value, verdict = known[layer], picture.verdict(layer, column)
        text = Text()
        text.append(f"{MARK_OF[verdict] if verdict else '·'} ", "bold" if verdict == "critical" else "muted")
        text.append(shorten(picture.layer_names[layer], names).ljust(names))
        text.append(f"{'–' if value is None else f'{100 * value:.2f} %':>10}", "" if value is not None else "muted")
        lines.append(Line(text, 20))
    return lines
