"""What is copied from the difference of two runs: a place as one line, a row as a table."""

from collections.abc import Sequence

from ...store import inert
from .alignment import LETTERS, Alignment, Line
from .compare import difference, spots_of
from .compare_text import Pair, difference_text, interval_text, level_text, minus
from .copying import cell_line
from .picture import METRICS, Picture
from .scene import NETWORK
from .words import deed


def difference_line(
    a: Picture, b: Picture, metric: str, alignment: Alignment, line: Line | None, column: int, pair: Pair
) -> str:
    """All that is known of the difference at a place in one line of text, and of both cells.

    `line` None is the whole network; `alignment` is that of the two, and `pair` says what they are called.
    """
    at_a, at_b = spots_of(line.layers if line else None, alignment.places[column])
    found = difference(a, b, metric, at_a, at_b)
    name = inert(line.name) if line else NETWORK
    said = [f"{minus(pair)}, {name} {deed(alignment.columns[column])}: difference of the {metric}"]
    if found is None:
        said[0] += " unknown (it needs a number in both)"
    else:
        unit = " points" if METRICS[metric].fraction else ""
        said[0] += f" {difference_text(metric, found.value)}{unit}"
        level = level_text(found)
        said.append(interval_text(metric, found) + (f" ({level})" if level else ""))
    told = [", ".join(said)]
    for number, picture, spot in ((pair[0], a, at_a), (pair[1], b, at_b)):
        place = "has no such place" if spot is None else cell_line(picture, *spot)
        told.append(f"{LETTERS[number]}: {place}")
    return "; ".join(told)


def difference_tsv(
    a: Picture, b: Picture, metric: str, alignment: Alignment, lines: Sequence[Line | None], pair: Pair
) -> str:
    """Rows of the difference as tab-separated values, all digits: the difference, the ends of what it lies in, and the
    numbers of both runs; nothing where there is none."""
    out = [[metric, *(column.label for column in alignment.columns)]]
    for line in lines:
        name = inert(line.name) if line else NETWORK
        spots = [spots_of(line.layers if line else None, places) for places in alignment.places]
        found = [difference(a, b, metric, *both) for both in spots]
        rows = {
            minus(pair): [one and one.value for one in found],
            f"{minus(pair)} low": [one and one.low for one in found],
            f"{minus(pair)} high": [one and one.high for one in found],
            LETTERS[pair[0]]: [a.value(metric, *spot) if spot else None for spot, _ in spots],
            LETTERS[pair[1]]: [b.value(metric, *spot) if spot else None for _, spot in spots],
        }
        for what, values in rows.items():
            out.append([f"{name} {what}", *("" if value is None else repr(value) for value in values)])
    return "\n".join("\t".join(row) for row in out) + "\n"
