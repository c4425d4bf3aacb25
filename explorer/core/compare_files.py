"""The difference of two runs taken out of lyrx: CSV, JSON, pictures and text. Nothing is written here.

`A` and `B` are the two runs in that order, and a difference is always B's value less A's.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

from ...store import inert
from .alignment import Alignment, align
from .compare import Spot, difference, difference_scene
from .compare_numbers import compared, summary
from .compare_text import LEVELS, difference_text, interval_text, number_text, summary_text, warnings
from .csvout import Field, runs_csv, table
from .drawing import Captions, Drawing, draw
from .export import FORMATS, MOST_TIPS, TEXT_WIDTH, Format, file_name
from .marks import MARKS, WORDS, State
from .part import state_of
from .picture import Picture
from .scene import NETWORK, Look, Row, Scene
from .texts import baseline_text, precision_text
from .view import HeatView
from .words import deed, head

DIFFERENCE_FORMATS = (
    Format("csv", ".csv", "CSV", "a line a place, with its interval"),
    Format("json", ".json", "JSON", "all places, and the two as a whole"),
    FORMATS["svg"],
    FORMATS["png"],
    Format("txt", ".txt", "text", "the map in digits, and the whole"),
)
"""What the difference of two runs can be written as."""

RUNS_FORMATS = (
    Format("csv", ".csv", "CSV", "a line a place of each run"),
    Format("json", ".json", "JSON", "a list, as `lyrx show --json`"),
)
"""What all the runs can be written as."""

TABLE = (
    "layer", "column", "metric",
    "run_a", "probe_a", "state_a", "value_a", "low_a", "high_a", "n_a", "total_a", "verdict_a",
    "run_b", "probe_b", "state_b", "value_b", "low_b", "high_b", "n_b", "total_b", "verdict_b",
    "difference", "difference_low", "difference_high", "difference_level", "sign",
)  # fmt: skip
"""Heads of :func:`difference_table`. `difference` is value_b - value_a, `difference_level` the least probability with
which it lies in difference_low..difference_high; all of these are empty where nothing is known."""


def difference_name(a: Picture, b: Picture, metric: str) -> str:
    """A name for a file of it."""
    return file_name(b.run.name, "minus", a.run.name, metric)


def encode_difference(a: Picture, b: Picture, view: HeatView, form: Format, *, every_column: bool = False) -> bytes:
    """The difference in the metric of `view`, as a file of this format.

    CSV and JSON hold every place that both runs have; pictures and text show the map as `view` has it, with
    `every_column` also the columns that one of them lacks.  Raises NoImagesError where PNG cannot be written.
    """
    if form.name == "csv":
        return difference_csv(a, b, view.metric).encode()
    if form.name == "json":
        from ..jsonout import dumps

        return (dumps(difference_json(a, b, view.metric)) + "\n").encode()
    known = align((a, b), every_column=every_column)
    scene = difference_scene(a, b, view, known)
    if form.name == "txt":
        return difference_page(a, b, view.metric, scene, known).encode()
    drawing = difference_drawing(a, b, view.metric, scene, known)
    if form.name == "svg":
        from .svg import to_svg

        return to_svg(drawing).encode()
    from .png import to_png

    return to_png(drawing)


def encode_runs(pictures: Sequence[Picture], form: Format) -> bytes:
    """All numbers of all runs, one after the other."""
    if form.name == "json":
        from ..jsonout import dumps, picture_json

        return (dumps([picture_json(picture) for picture in pictures]) + "\n").encode()
    return runs_csv(pictures).encode()


# CSV


def difference_table(a: Picture, b: Picture, metric: str) -> list[Sequence[Field]]:
    """Every place that both runs have, the whole network's too: heads first. Names are made harmless."""
    lines: list[Sequence[Field]] = [TABLE]
    for layer, column, found, at_a, at_b in compared(a, b, metric):
        sides = _side(a, metric, at_a), _side(b, metric, at_b)
        if all(side["state"] == "none" for side in sides):
            continue  # there is no such place: the whole network is re-initialised only
        known = [None] * 4 if found is None else [found.value, found.low, found.high, found.level]
        told = [side[key] for side in sides for key in _SIDE]
        lines.append([inert(layer), column, metric, *told, *known, found.sign if found else None])
    return lines


def difference_csv(a: Picture, b: Picture, metric: str) -> str:
    """:func:`difference_table` as CSV (RFC 4180); a number has all its digits, what is not there is an empty field."""
    return table(difference_table(a, b, metric))


_SIDE = ("run", "probe", "state", "value", "low", "high", "n", "total", "verdict")


def _side(picture: Picture, metric: str, at: Spot) -> dict[str, Field]:
    """A run's name, and what it has at a place. An interval is that of the error."""
    cell, (layer, column) = picture.cell(*at), at
    told: dict[str, Field] = dict.fromkeys(_SIDE)
    told |= {
        "run": inert(picture.run.name),
        "probe": inert(picture.home(layer)[0]),
        "state": state_of(picture, metric, layer, column),
        "value": picture.value(metric, *at),
    }
    if cell is not None and cell.measured and metric not in ("l2", "linf"):
        told |= {"n": cell.n, "total": cell.total}
        told |= {"low": cell.low, "high": cell.high} if metric == "error" else {}
        told["verdict"] = picture.verdict(layer, column) if layer is not None else None
    return told


# JSON


def difference_json(a: Picture, b: Picture, metric: str) -> dict[str, Any]:
    """Two runs and their difference. Described for its readers in `explorer/JSON.md`."""
    from ..jsonout import number

    known = align((a, b))
    layers = [line.name for line in known.common_lines]
    labels = [column.label for column in known.columns]
    places = []
    for layer, column, found, at_a, at_b in compared(a, b, metric):
        sides = {name: _side(p, metric, at) for name, p, at in (("a", a, at_a), ("b", b, at_b))}
        if all(side["state"] == "none" for side in sides.values()):
            continue
        place: dict[str, Any] = {
            "layer": None if at_a[0] is None else layers.index(layer),
            "column": labels.index(column),
        }
        for name, side in sides.items():
            kept = {key: value for key, value in side.items() if key not in ("run", "probe")}
            place[name] = {key: number(v) if isinstance(v, float) else v for key, v in kept.items()}
        place["difference"] = found and number(found.value)
        place |= {key: getattr(found, key) if found else None for key in ("low", "high", "level", "sign")}
        places.append(place)
    return {
        "metric": metric,
        "a": _run(a),
        "b": _run(b),
        "layers": layers,
        "columns": [column.to_json() for column in known.columns],
        "places": places,
        "only_a": [line.name for line in known.lines if line.layers[1] is None],
        "only_b": [line.name for line in known.lines if line.layers[0] is None],
        "columns_left_out": list(known.left_out),
        "summary": _summary(a, b, metric),
        "notes": warnings((a, b), known),
    }


def _run(picture: Picture) -> dict[str, Any]:
    baseline = picture.baseline
    return {
        "run": picture.run.name,
        "probe": picture.probe.id,
        "status": picture.status,
        "model": picture.run.model,
        "data": picture.run.data,
        "granularity": picture.probe.granularity,
        "tolerance": picture.tolerance,
        "baseline": baseline and {"error": baseline.error, "n": baseline.n},
        "exact": picture.exact,
    }


def _summary(a: Picture, b: Picture, metric: str) -> dict[str, Any]:
    found = summary(a, b, metric)
    return {
        "places": found.places,
        "mean": found.mean,
        "largest": found.largest,
        "where": list(found.where) if found.where else None,
        "higher": found.higher,
        "lower": found.lower,
        "rank_correlation": found.correlation,
        "ranked": found.ranked,
        "judged": found.judged,
        "changes": [change.__dict__ for change in found.changes],
    }


# Pictures


def difference_drawing(a: Picture, b: Picture, metric: str, scene: Scene, alignment: Alignment) -> Drawing:
    """The drawing of the difference map, with what a reader of a paper needs to know around it."""
    tips = len(scene.rows) * len(scene.columns) <= MOST_TIPS
    lines = {line.name: line for line in alignment.lines}

    def text(row: Row, column: int, look: Look) -> str:
        del row, column
        return _written(scene, look) if scene.digits or look.place.value is None else ""

    def tip(row: Row, column: int) -> str:
        line = lines.get(row.key)
        if not tips or (line is None and not row.network):
            return ""  # a folded row is several places
        at = [
            None if place is None or (line and line.layers[side] is None) else (line and line.layers[side], place)
            for side, place in enumerate(alignment.places[column])
        ]
        name = NETWORK if line is None else inert(line.name)
        return f"{name} {deed(scene.columns[column])}: {_told(a, b, metric, at[0], at[1])}"

    return draw(scene, difference_captions(a, b, metric, scene, alignment), text, tip)


def _written(scene: Scene, look: Look) -> str:
    return look.place.text(scene.metric, 12 if scene.metric.name == "verdict" else 6)


def _told(a: Picture, b: Picture, metric: str, at_a: Spot | None, at_b: Spot | None) -> str:
    """Both values at a place, and the difference, in words."""
    values = []
    for picture, at in ((b, at_b), (a, at_a)):
        value = picture.value(metric, *at) if at else None
        state = "no such place" if at is None else state_of(picture, metric, *at)
        values.append(state if value is None else ("~" if state == "estimate" else "") + number_text(metric, value))
    found = difference(a, b, metric, at_a, at_b)
    said = f"B {values[0]}, A {values[1]}"
    return f"{said}; B − A {difference_text(metric, found.value)}, {interval_text(metric, found)}" if found else said


def difference_captions(a: Picture, b: Picture, metric: str, scene: Scene, alignment: Alignment) -> Captions:
    """What is said around the map: the two runs and the metric; the trained networks; what sets the runs apart."""
    notes = [_about(letter, picture) for letter, picture in (("A", a), ("B", b))]
    notes += [f"{note[0].upper()}{note[1:]}." for note in warnings((a, b), alignment)]
    if metric == "error" and State.ESTIMATE in scene.states:
        notes.append(f"~: not all test examples were seen in both. {LEVELS}")
    notes.append("Made by lyrx.")
    return Captions(f"B − A: {inert(b.run.name)} − {inert(a.run.name)}", scene.metric.title, notes)


def _about(letter: str, picture: Picture) -> str:
    run = picture.run
    told = [
        f"{letter}: {inert(run.name)} ({inert(run.model)} on {inert(run.data)}), probe {inert(picture.probe.id)}",
        baseline_text(picture),
        precision_text(picture),
    ]
    return "; ".join(filter(None, told)) + "."


# Text


def difference_page(a: Picture, b: Picture, metric: str, scene: Scene, alignment: Alignment) -> str:
    """The map in digits, as many columns beside each other as fit, and below it the two runs as a whole."""
    captions = difference_captions(a, b, metric, scene, alignment)
    texts = [[_written(scene, look) for look in looks] for looks in scene.looks]
    heads = [head(column, 14) for column in scene.columns]
    names = [inert(row.name) for row in scene.rows]
    left = max(map(len, names))
    widths = [max(map(len, column)) + 2 for column in zip(heads, *texts, strict=True)]
    out = [captions.title, captions.subtitle]
    for group in _groups(widths, max(TEXT_WIDTH - left, max(widths))):
        out += ["", " " * left + "".join(heads[column].rjust(widths[column]) for column in group)]
        for row, line, name in zip(scene.rows, texts, names, strict=True):
            out += [""] if row.network else []
            out.append((name.ljust(left) + "".join(line[c].rjust(widths[c]) for c in group)).rstrip())
    marks = [f"{MARKS[state]} {word}" for state, word in WORDS.items() if state in scene.states]
    out += ["", "   ".join(marks)] if marks else []
    if not alignment.problem():
        out += ["", *summary_text(summary(a, b, metric), (0, 1), TEXT_WIDTH, lines=10_000).plain.split("\n")]
    out += ["", *(line for note in captions.notes for line in textwrap.wrap(note, TEXT_WIDTH))]
    return "".join(f"{line.rstrip()}\n" for line in out)


def _groups(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns that stand beside each other, as many as fit into `room`."""
    found: list[list[int]] = [[]]
    taken = 0
    for column, width in enumerate(widths):
        if found[-1] and taken + width > room:
            found.append([])
            taken = 0
        found[-1].append(column)
        taken += width
    return found
