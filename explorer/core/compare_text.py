"""What is said of runs that are compared: the cell under the cursor in all of them, and two of them as a whole."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from rich.cells import cell_len
from rich.text import Text

from ...store import inert
from .alignment import LETTERS, Alignment
from .compare import CONFIDENCE, Difference, Spot, difference, signed
from .compare_numbers import Summary
from .picture import METRICS, CellSummary, Picture
from .scene import NETWORK
from .texts import listed, shorten
from .words import deed

Pair = tuple[int, int]
"""(A, B) of B - A: which of the runs."""
Piece = tuple[str, str]
"""Words, and their style."""

_NONE: Piece = ("", "")
_SIGNS = {"higher": "higher", "lower": "lower", "equal": "equal", "open": "sign open"}


def minus(pair: Pair) -> str:
    """'B − A'."""
    return f"{LETTERS[pair[1]]} − {LETTERS[pair[0]]}"


def all_pairs(runs: int) -> list[Pair]:
    """Every two of the runs, the earlier one first."""
    return list(combinations(range(runs), 2))


def place_text(
    pictures: Sequence[Picture | None],
    alignment: Alignment,
    name: str | None,
    column: int,
    metric: str,
    pairs: Sequence[Pair],
    width: int,
    why: str = "",
) -> Text:
    """The numbers of every run at one place, and their differences: a small table, at most `width` columns wide.

    `name` is a layer's, None that of the whole network; a picture is None where its run has nothing to show.
    `alignment` is that of the pictures there are.  `why` says, harmless, why it is this layer that is told of where
    the row is folded.
    """
    head = alignment.columns[column]
    what = deed(head)
    title = NETWORK if name is None else shorten(name, max(6, width - cell_len(what) - 1))
    spots = _spots(pictures, alignment, name, column)
    lines = [_run_line(n, picture, metric, spots[n]) for n, picture in enumerate(pictures)]
    lines += [_pair_line(pictures, metric, pair, spots) for pair in pairs]
    text = Text.assemble((title, "bold"), (f" {what}", "muted"), (f"  {why}" if why else "", "muted"), no_wrap=True)
    text.truncate(width, overflow="ellipsis")
    return Text("\n").join([text, *_table(lines, width)])


def _spots(
    pictures: Sequence[Picture | None], alignment: Alignment, name: str | None, column: int
) -> list[Spot | None]:
    """Where the place is in each run; None where it has no such layer or column."""
    found = iter(range(len(pictures)))
    line = next((line for line in alignment.lines if line.name == name), None)
    spots: list[Spot | None] = []
    for picture in pictures:
        if picture is None:
            spots.append(None)
            continue
        number = next(found)
        at = alignment.places[column][number]
        layer = line.layers[number] if line is not None else None
        spots.append(None if at is None or (name is not None and layer is None) else (layer, at))
    return spots


@dataclass(frozen=True)
class _Entry:
    """A line of the table: what it is of, and its numbers or, where there are none, words."""

    head: Piece
    name: Piece = _NONE
    value: Piece = _NONE
    interval: Piece = _NONE
    seen: Piece = _NONE
    verdict: Piece = _NONE
    words: str = ""


def _run_line(number: int, picture: Picture | None, metric: str, spot: Spot | None) -> _Entry:
    head: Piece = (LETTERS[number], "accent bold")
    if picture is None:
        return _Entry(head, words="nothing to show")
    name: Piece = (inert(picture.run.name), "text")
    if spot is None:
        return _Entry(head, name, words="has no such place")
    layer, column = spot
    cell, value = picture.cell(layer, column), picture.value(metric, layer, column)
    if value is None:
        if picture.unavailable(layer, column, metric):
            return _Entry(head, name, words="not available")
        return _Entry(head, name, words="damaged" if cell and cell.damaged else "not measured")
    measured = cell if cell and metric not in ("l2", "linf") else None
    verdict = picture.verdict(layer, column) if layer is not None and measured else None
    about = "~" if measured and not (measured.exact and measured.complete) else ""
    return _Entry(
        head,
        name,
        (about + number_text(metric, value), "bold"),
        (_interval(metric, measured), "text"),
        (_seen(measured), "muted"),
        (f" {verdict} ", f"{verdict} bold") if verdict else _NONE,
    )


def _interval(metric: str, cell: CellSummary | None) -> str:
    if cell is None:
        return ""
    if cell.exact:
        return "exact"
    return f"{100 * cell.low:.2f} to {100 * cell.high:.2f}" if metric == "error" else "estimate"


def _seen(cell: CellSummary | None) -> str:
    if cell is None:
        return ""
    draws = f" × {len(cell.draws)}" if cell.expected > 1 else ""
    return f"n = {cell.n:,}{draws}" if cell.exact else f"{cell.n:,} of {cell.total:,}{draws}"


def _pair_line(pictures: Sequence[Picture | None], metric: str, pair: Pair, spots: Sequence[Spot | None]) -> _Entry:
    a, b = pictures[pair[0]], pictures[pair[1]]
    at_a, at_b = spots[pair[0]], spots[pair[1]]
    head: Piece = (minus(pair), "accent bold")
    found = difference(a, b, metric, at_a, at_b) if a and b and at_a and at_b else None
    if found is None:
        return _Entry(head, words="needs a number in both")
    sign = found.sign
    return _Entry(
        head,
        _NONE,
        (difference_text(metric, found.value), "bold"),
        (interval_text(metric, found), "text"),
        (level_text(found), "muted"),
        (_SIGNS[sign], "muted" if sign in ("open", "equal") else "bold"),
    )


def number_text(metric: str, value: float) -> str:
    """A value of the metric, for people."""
    if METRICS[metric].fraction and math.isfinite(value):
        return f"{100 * value:.2f} %"
    return METRICS[metric].text(value, 9)


def difference_text(metric: str, value: float) -> str:
    """A difference of the metric, with its sign; of fractions in points of a percent."""
    if METRICS[metric].fraction and math.isfinite(value):
        return f"{_sign(value, 4)}{100 * abs(value):.2f}"
    return signed(METRICS[metric]).text(value, 9)


def _sign(value: float, digits: int) -> str:
    return "" if round(value, digits) == 0 else "+" if value > 0 else "−"


def interval_text(metric: str, found: Difference) -> str:
    """Where a difference lies: 'exact', 'estimate' where nothing is known of it, else its two ends."""
    if found.exact:
        return "exact"
    if found.low is None or found.high is None:
        return "estimate"
    return f"{difference_text(metric, found.low)} to {difference_text(metric, found.high)}"


def level_text(found: Difference) -> str:
    """With what probability the interval holds, at least."""
    return "" if found.level is None or found.exact else f"≥ {100 * found.level:.0f} %"


_KEPT = (
    ("head", "name", "value", "interval", "seen", "verdict"),
    ("head", "value", "interval", "seen", "verdict"),
    ("head", "value", "interval", "verdict"),
    ("head", "value", "interval"),
)
"""Columns of the table, the most first: the first that fits is taken."""
_NAME = 16
"""A name is cut to this where that saves its column."""


def _table(entries: Sequence[_Entry], width: int) -> list[Text]:
    """Lines of text with columns below each other: as many columns as fit."""
    widths: dict[str, int] = {}
    for kept in _KEPT:
        widths = {name: max(cell_len(getattr(entry, name)[0]) for entry in entries) for name in kept}
        widths = {name: room for name, room in widths.items() if room}
        over = sum(widths.values()) + 2 * (len(widths) - 1) - width
        if over > 0 and "name" in widths:
            less = min(over, max(0, widths["name"] - _NAME))
            widths["name"] -= less
            over -= less
        if over <= 0:
            break
    lines = []
    for entry in entries:
        line = Text(no_wrap=True)
        for name, room in widths.items():
            words, style = getattr(entry, name)
            if name == "name":
                words = shorten(words, room)
            if entry.words and name == "value":
                line.append(entry.words, "muted")
                break
            # Numbers stand below each other by their decimals.
            pad = " " * (room - cell_len(words))
            line.append(pad if name == "value" else "")
            line.append(words, style)
            line.append("  " if name == "value" else pad + "  ")
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


# Two runs as a whole


def summary_text(found: Summary, pair: Pair, width: int, *, lines: int = 99) -> Text:
    """The numbers of a summary, each with what it is; as many of the changed verdicts as fit into `lines`."""
    unit = " points" if METRICS[found.metric].fraction else ""
    absolute = f"|{minus(pair)}|"
    told = [_field(f"{minus(pair)}", f"over {found.places:,} places that have both numbers")]
    if found.mean is not None and found.largest is not None and found.where is not None:
        layer, column = found.where
        mean, largest = (difference_text(found.metric, value).lstrip("+") for value in (found.mean, found.largest))
        told.append(_field("mean", f"{mean}{unit}", f" mean of {absolute}"))
        told.append(_field("largest", f"{largest}{unit}", f" at {inert(layer)}, {inert(column)}"))
        told.append(_field("for certain", f"{found.higher:,} higher, {found.lower:,} lower", " the interval lacks 0"))
    if found.correlation is not None:
        told.append(_field("ranks", f"{found.correlation:.2f}".replace("-", "−"),
                           f" Spearman, error at checkpoint 0, {found.ranked} layers"))  # fmt: skip
    elif found.places:
        told.append(_field("ranks", "–", " needs 3 layers at checkpoint 0 in both"))
    told.append(_field("verdicts", f"{len(found.changes):,} of {found.judged:,} changed"))
    for before, after, count in found.counted():
        told.append(_field("", f"{count:,} × {before} → {after}"))
    room = lines - len(told)
    for change in found.changes[: max(0, room)]:
        told.append(_field("", "", f"{inert(change.layer)}, {change.column}: {change.before} → {change.after}"))
    for line in told:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(told[:lines])


def _field(label: str, said: str, about: str = "") -> Text:
    return Text.assemble((label.ljust(12), "muted"), said, (about, "muted"), no_wrap=True)


LEVELS = (
    f"Intervals of one run hold with {100 * CONFIDENCE:.0f} %. A difference lies between low − high and high − low of "
    f"the two: with at least {100 * CONFIDENCE:.0f} % where one run saw all examples, with at least "
    f"{100 * (2 * CONFIDENCE - 1):.0f} % where neither did, each place by itself."
)
"""What the intervals of differences mean."""


def warnings(pictures: Sequence[Picture], alignment: Alignment) -> list[str]:
    """What stands between these runs and a comparison of like with like; the weightiest first."""
    found = []
    if problem := alignment.problem():
        found.append(problem)
    counts = {_examples(picture) for picture in pictures}
    data: dict[str, list[str]] = {}
    for letter, picture in zip(LETTERS, pictures, strict=False):
        count = _examples(picture) if len(counts) > 1 else None
        name = inert(picture.run.data) + (f" ({count:,} examples)" if count is not None else "")
        data.setdefault(name, []).append(letter)
    if len(data) > 1:
        told = "; ".join(f"{', '.join(letters)} {name}" for name, letters in data.items())
        found.append(f"measured on different data: {told}")
    grains = [picture.probe.granularity for picture in pictures]
    if len(set(grains)) > 1:
        found.append("different granularities: " + ", ".join(map(_lettered, LETTERS, grains)))
    tolerances = [picture.tolerance for picture in pictures]
    if len(set(tolerances)) > 1:
        told = ", ".join(map(_lettered, LETTERS, (f"{100 * tolerance:g} points" for tolerance in tolerances)))
        found.append(f"different tolerances of verdicts: {told}")
    if alignment.left_out and alignment.columns:
        found.append(f"columns that not all have: {listed([inert(label) for label in alignment.left_out])}")
    return found


def _examples(picture: Picture) -> int | None:
    found = picture.run.data_facts.get("test_examples")
    return found if isinstance(found, int) else None


def _lettered(letter: str, said: str) -> str:
    return f"{letter}: {inert(said)}"
