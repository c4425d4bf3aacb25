"""A heatmap as CSV (RFC 4180, UTF-8): one line for each place with all its numbers, or as it looks, for one metric.

Errors, agreements and ends of intervals are fractions 0..1, as in the JSON.  A place without a number has empty fields
and a word that says why in `state`.  Names are made harmless: somebody will look at the file in a terminal.
"""

import csv
import io
from collections.abc import Iterable, Sequence

from ...store import REINITIALISE, inert
from .part import Part, state_of, whole
from .picture import Picture
from .scene import NETWORK

LONG = (
    "run", "probe", "layer", "column", "kind", "checkpoint", "state", "error", "spread", "low", "high", "n", "total",
    "loss", "agreement", "l2", "linf", "verdict", "exact", "draws", "draws_planned", "reason",
)  # fmt: skip
"""Heads of the long form."""

Field = str | int | float | bool | None


def long_csv(picture: Picture, part: Part | None = None) -> str:
    """One line for each layer and column, all draws together (`error` is their mean, `spread` their deviation)."""
    return table([LONG, *_lines(picture, part or whole(picture))])


def runs_csv(pictures: Sequence[Picture]) -> str:
    """The lines of :func:`long_csv` of one picture after the other."""
    return table([LONG, *(line for picture in pictures for line in _lines(picture, whole(picture)))])


def _lines(picture: Picture, part: Part) -> list[list[Field]]:
    return [_line(picture, layer, column) for layer, column in part.places() if _can_be(picture, layer, column)]


def wide_csv(picture: Picture, metric: str, part: Part | None = None) -> str:
    """Layers down and columns across, as in the heatmap; behind the numbers, in the same order, the states."""
    part = part or whole(picture)
    labels = [picture.columns[column].label for column in part.columns]
    heads = ["run", "probe", "metric", "layer", *labels, *(f"{label} state" for label in labels)]
    lines: list[Sequence[Field]] = [heads]
    for layer in part.layers:
        values = [picture.value(metric, layer, column) for column in part.columns]
        states = [state_of(picture, metric, layer, column) for column in part.columns]
        if set(states) != {"none"}:
            name = NETWORK if layer is None else inert(picture.layer_names[layer])
            lines.append([inert(picture.run.name), inert(picture.home(layer)[0]), metric, name, *values, *states])
    return table(lines)


def table(lines: Iterable[Sequence[Field]]) -> str:
    """These lines as CSV; None is an empty field, a number has all its digits."""
    stream = io.StringIO()
    writer = csv.writer(stream)  # the dialect of RFC 4180: commas, quotes doubled, CR LF
    writer.writerows([written(field) for field in line] for line in lines)
    return stream.getvalue()


def written(field: Field) -> str:
    """One field: the shortest digits that give a number again, `true` and `false`, empty for None."""
    if isinstance(field, bool):
        return "true" if field else "false"
    return "" if field is None else repr(field) if isinstance(field, float) else str(field)


def _can_be(picture: Picture, layer: int | None, column: int) -> bool:
    """Whether there is such a place: the whole network is re-initialised only."""
    return layer is not None or picture.columns[column].kind == REINITIALISE


def _line(picture: Picture, layer: int | None, column: int) -> list[Field]:
    head, cell = picture.columns[column], picture.cell(layer, column)
    known = cell if cell is not None and cell.measured else None
    planned = 1 if layer is None else head.draws
    told: dict[str, Field] = {
        "run": inert(picture.run.name),
        "probe": inert(picture.home(layer)[0]),
        "layer": NETWORK if layer is None else inert(picture.layer_names[layer]),
        "column": head.label,
        "kind": head.kind,
        "checkpoint": head.checkpoint,
        "state": state_of(picture, "error", layer, column),
        "l2": picture.value("l2", layer, column),
        "linf": picture.value("linf", layer, column),
        "draws": len(known.draws) if known else 0,
        "draws_planned": planned,
        "reason": inert(picture.unavailable(layer, column) or (known.reason if known else "")),
    }
    if known:
        told |= {
            "error": known.error,
            "spread": known.spread,
            "low": known.low,
            "high": known.high,
            "n": known.n,
            "total": known.total,
            "loss": known.loss,
            "agreement": known.agreement,
            "verdict": picture.verdict(layer, column) if layer is not None else None,
            "exact": known.complete and known.exact,
        }
    return [told.get(name) for name in LONG]
