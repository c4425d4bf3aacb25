"""A heatmap taken out of lyrx: as bytes of a file, in each of the formats. Nothing is written here.

The same picture gives the same bytes, in every process.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from ...store import LyrxError, did_you_mean, inert
from .copying import cell_line
from .csvout import long_csv, wide_csv
from .drawing import Captions, Drawing, draw
from .part import Part
from .picture import METRICS, Picture
from .scene import Look, Row, Scene
from .survey import scene as scene_of
from .survey import survey
from .texts import baseline_text, precision_text
from .view import HeatView

TEXT_WIDTH = 120
"""Columns of a heatmap in a text file, as where `lyrx show` has no terminal."""
MOST_TIPS = 5_000
"""Places up to which an SVG tells all of each one's numbers to who points at it."""
_NARROW, _WIDE = 6, 12
"""Letters in a place: a number; and one with the spread of its draws, or a verdict."""


class ExportError(LyrxError, ValueError):
    """There is no such format, or it cannot hold what is asked for."""


class NotWrittenError(LyrxError, OSError):
    """A file could not be written."""


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    name: str
    suffix: str
    title: str
    about: str


FORMATS = {
    form.name: form
    for form in (
        Format("csv", ".csv", "CSV", "a line a place, with all numbers"),
        Format("csv-wide", ".csv", "wide CSV", "layers down, columns across"),
        Format("json", ".json", "JSON", "as `lyrx show --json`, whole"),
        Format("svg", ".svg", "SVG", "a vector picture, for papers"),
        Format("png", ".png", "PNG", "a picture of pixels, for slides"),
        Format("txt", ".txt", "text", "as `lyrx show` prints it"),
    )
}
"""By name. Each suffix means the first of its formats."""


def format_of(path: PurePath, name: str | None = None) -> Format:
    """The format called `name`, else the one that the suffix of `path` means. Raises ExportError."""
    if name is not None:
        if name not in FORMATS:
            raise ExportError(
                f"there is no format '{inert(name)}'.{did_you_mean(name, FORMATS)} There are: {', '.join(FORMATS)}."
            )
        return FORMATS[name]
    found = next((form for form in FORMATS.values() if form.suffix == path.suffix.lower()), None)
    if found is None:
        suffixes = list(dict.fromkeys(form.suffix for form in FORMATS.values()))
        said = f"the suffix '{inert(path.suffix)}' means no format" if path.suffix else "the name has no suffix"
        raise ExportError(
            f"{inert(str(path))}: {said}.{did_you_mean(path.suffix, suffixes) if path.suffix else ''} "
            f"It may end in {', '.join(suffixes)}, or say which it is: --format {'|'.join(FORMATS)}."
        )
    return found


def file_name(*parts: str) -> str:
    """A name for a file, without a suffix: `parts` with what every system allows in names, '-' between them."""
    kept = ("".join(c if c.isascii() and (c.isalnum() or c in "._-+") else "-" for c in inert(part)) for part in parts)
    words = (part.strip("-.") for part in kept)
    return "-".join(word for word in words if word)[:120] or "lyrx"


def encode(
    picture: Picture,
    metric: str,
    form: Format,
    part: Part | None = None,
    scene: Scene | None = None,
) -> bytes:
    """The heatmap of `metric` as a file of this format; of `part` only, where one is given.

    `scene` is what pictures show (default: the part as it is, nothing folded, in the usual colours).  JSON always holds
    the whole probe.  Raises NoImagesError where PNG cannot be written.
    """
    match form.name:
        case "csv":
            return long_csv(picture, part).encode()
        case "csv-wide":
            return wide_csv(picture, metric, part).encode()
        case "json":
            from ..jsonout import dumps, picture_json

            return (dumps(picture_json(picture)) + "\n").encode()
        case "svg":
            from .svg import to_svg

            return to_svg(drawing_of(picture, metric, scene or plain_scene(picture, metric, part))).encode()
        case "png":
            from .png import to_png

            return to_png(drawing_of(picture, metric, scene or plain_scene(picture, metric, part)))
    return as_text(picture, metric, part).encode()


def as_text(picture: Picture, metric: str, part: Part | None = None) -> str:
    """What `lyrx show` prints where there is no terminal."""
    from rich.console import Console

    from ..show import render

    stream = io.StringIO()
    console = Console(
        file=stream, width=TEXT_WIDTH, color_system=None, highlight=False, legacy_windows=False, no_color=True
    )
    console.print(render(picture, metric, part=part))
    return stream.getvalue()


def plain_scene(picture: Picture, metric: str, part: Part | None = None, ramp: str = "") -> Scene:
    """The heatmap with every layer as a row of its own, in the colours called `ramp`; or `part` of it."""
    found = scene_of(survey(picture, metric, ramp), HeatView(metric=metric, ramp=ramp))
    if part is None:
        return found
    rows = [len(found.rows) - 1 if layer is None else found.row_of(picture.layer_names[layer]) for layer in part.layers]
    return cropped(found, [row for row in rows if row is not None], part.columns)


def cropped(scene: Scene, rows: Sequence[int], columns: Sequence[int]) -> Scene:
    """These rows and columns of a scene."""
    return replace(
        scene,
        rows=tuple(scene.rows[row] for row in rows),
        columns=tuple(scene.columns[column] for column in columns),
        looks=tuple(tuple(scene.looks[row][column] for column in columns) for row in rows),
    )


def drawing_of(picture: Picture, metric: str, scene: Scene) -> Drawing:
    """The drawing of a scene of `picture`, with what a reader of a paper needs to know around it."""
    columns = [picture.columns.index(column) for column in scene.columns]
    tips = len(scene.rows) * len(columns) <= MOST_TIPS

    def at(row: Row) -> tuple[bool, int | None]:
        """Whether a row is one layer of this picture (or its whole network), and which."""
        return row.network or len(row.layers) == 1, row.layers[0] if row.layers else None

    def text(row: Row, column: int, look: Look) -> str:
        del row, column
        wide = _WIDE if metric in ("error", "verdict") else _NARROW
        return look.place.text(scene.metric, wide) if scene.digits or look.place.value is None else ""

    def tip(row: Row, column: int) -> str:
        plain, layer = at(row)
        return cell_line(picture, layer, columns[column], run=False) if plain and tips else ""

    return draw(scene, captions(picture, metric), text, tip)


def captions(picture: Picture, metric: str) -> Captions:
    """What is said around the heatmap: run, model, data and metric; the trained network; how exact all of it is."""
    run = picture.run
    notes = [
        baseline_text(picture)
        + (f", robust up to {100 * picture.tolerance:g} points more" if metric == "error" else "")
    ]
    if exactness := precision_text(picture):
        notes.append(exactness)
    if metric in ("error", "loss", "agreement") and not picture.exact:
        notes.append(
            "~: from a part of the test examples. 95 % intervals of the error on this test set, valid at every look."
        )
    if metric == "error" and any(cell.measured and cell.spread is not None for cell in picture.cells.values()):
        notes.append("±: standard deviation of several draws of random values.")
    notes.append(f"made by lyrx, probe {inert(picture.probe.id)}")
    said = [note[0].upper() + note[1:] + ("" if note.endswith(".") else ".") for note in notes]
    return Captions(inert(run.name), f"{inert(run.model)} on {inert(run.data)} · {METRICS[metric].title}", said)
