"""Training curves of several runs in one chart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ...store import EpochMetrics, inert
from .alignment import LETTERS
from .compare import rounded_up
from .plot import Plot, Series
from .texts import shorten

COLOURS = ((0, 135, 215), (215, 95, 0), (0, 135, 95), (175, 0, 175), (135, 135, 0), (215, 0, 95))
"""One for each run, then over again; told apart by the letters too. They are seen on dark and on light."""
LETTERS_A_CURVE = 5
"""How often a curve bears its run's letter."""


@dataclass(frozen=True)
class Trained:
    """How a run was trained, as far as it is."""

    name: str
    epochs: int
    history: Sequence[EpochMetrics] = ()


def curves_plot(runs: Sequence[Trained | None], what: str, width: int) -> Plot:
    """The test error ('error', in percent) or the train loss ('loss') of all runs over epochs.

    Each curve bears its run's letter here and there, at epochs of its own, so that curves in one place are told apart
    without their colours.  None is a run of which nothing is known.
    """
    known = [(number, run) for number, run in enumerate(runs) if run is not None]
    epochs = max([1, *(run.epochs for _, run in known)])
    title = "test error, %" if what == "error" else "train loss"
    room = _name_room([inert(run.name) for _, run in known], width - len(title))
    series = []
    for number, run in known:
        x = [epoch.epoch for epoch in run.history]
        y = [100 * epoch.test_error if what == "error" else epoch.train_loss for epoch in run.history]
        colour = COLOURS[number % len(COLOURS)]
        marked = _marked(x, y, epochs, (number + 1) / (len(runs) + 1))
        name = shorten(run.name, room) if room else ""
        series.append(Series(name, colour, x, y, letter=LETTERS[number], marked=marked))
    top = rounded_up(max((value for one in series for value in one.finite()[1]), default=1.0))
    top = min(100.0, top) if what == "error" else top
    return Plot(
        title=title,
        series=tuple(series),
        x=(0, epochs),
        left=(0, top),
        x_ticks=[(at, str(at)) for at in sorted({0, epochs // 2, epochs})],
        left_ticks=[(0, "0"), (top / 2, f"{top / 2:g}"), (top, f"{top:g}")],
        empty="no epoch finished yet",
    )


def _name_room(names: Sequence[str], width: int) -> int:
    """For how much of each name a chart's first line has room beside its letter; 0 where the letters must do."""
    around = 6  # of a letter between two dashes, and the blanks
    if sum(cell_len(name) + around for name in names) <= width:
        return max([1, *map(cell_len, names)])
    room = width // max(1, len(names)) - around
    return room if room >= 5 else 0


def trained_text(runs: Sequence[Trained | None], width: int) -> Text:
    """A line for each run: how far it is trained, its test error now and at its lowest, and its train loss."""
    rows = []
    for letter, run in zip(LETTERS, runs, strict=False):
        if run is None or not run.history:
            rows.append((letter, inert(run.name) if run else "", ["no epoch finished yet"]))
            continue
        last = run.history[-1]
        best = min(run.history, key=lambda epoch: (not math.isfinite(epoch.test_error), epoch.test_error))
        loss = "" if math.isnan(last.train_loss) else f"train loss {last.train_loss:.3g}"
        rows.append((letter, inert(run.name), [
            f"epoch {last.epoch} of {run.epochs}",
            f"error {100 * last.test_error:.2f} %",
            f"lowest {100 * best.test_error:.2f} % at {best.epoch}",
            loss,
        ]))  # fmt: skip
    widths = [max((cell_len(row[2][n]) for row in rows if len(row[2]) > n), default=0) for n in range(4)]
    names = max(cell_len(row[1]) for row in rows)
    names = max(8, min(names, width - 6 - widths[0] - widths[1]))
    lines = []
    for letter, name, parts in rows:
        line = Text(no_wrap=True)
        line.append(f"{letter}  ", "accent bold")
        name = shorten(name, names)
        line.append(name + " " * (names - cell_len(name)), "text")
        for number, part in enumerate(parts):
            if line.cell_len + 2 + cell_len(part) <= width:
                line.append("  " + part.ljust(widths[number]), "muted" if number != 1 else "bold")
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return Text("\n").join(lines)


def _marked(x: Sequence[float], y: Sequence[float], epochs: int, shift: float) -> tuple[int, ...]:
    """Indices of the points that bear the letter: one in each part of the axis, `shift` 0..1 of the way into it."""
    finite = [index for index, value in enumerate(y) if math.isfinite(value)]
    part = epochs / LETTERS_A_CURVE
    wanted = [part * (number + shift) for number in range(LETTERS_A_CURVE)]
    found = {
        min(finite, key=lambda index: abs(x[index] - at)) for at in wanted if finite and at <= x[finite[-1]] + part
    }
    return tuple(sorted(found))
