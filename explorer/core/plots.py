"""The figures beside a heatmap: what a layer's checkpoints are worth, its weights, and how the network was trained."""

import math
from collections.abc import Iterable, Sequence

from ...store import REINITIALISE, RERANDOMISE, TensorInfo, inert
from ...store.histogram import Comparison, Spread, weights_among
from .cellpanel import worst
from .picture import Picture
from .plot import Plot, Series
from .texts import shorten
from .words import head

FIGURES = ("curve", "weights", "training")
"""The figures in the order in which a key goes through them, by the names that a view keeps."""


def next_figure(figure: str, step: int = 1) -> str:
    """The figure after `figure`; the first one if there is no such figure."""
    return FIGURES[(FIGURES.index(figure) + step) % len(FIGURES)] if figure in FIGURES else FIGURES[0]


def training_plot(picture: Picture) -> Plot:
    """Train loss (left scale) and test error (right scale, percent) over epochs."""
    history = picture.history
    epochs = picture.run.epochs
    train = Series("train loss", "info", [e.epoch for e in history], [e.train_loss for e in history])
    test = Series(
        "error %", "accent", [e.epoch for e in history], [100 * e.test_error for e in history], right=True, dots=False
    )
    loss_top = _top(train.y)
    error_top = min(100.0, _top(test.y))
    return Plot(
        title="training",
        series=(train, test),
        x=(0, max(1, epochs)),
        left=(0, loss_top),
        right=(0, error_top),
        x_ticks=[(x, str(x)) for x in sorted({0, epochs // 2, epochs})],
        left_ticks=[(0, "0"), (loss_top, f"{loss_top:g}")],
        right_ticks=[(0, "0"), (error_top, f"{error_top:g}")],
        empty="no epoch finished yet",
    )


def layer_plot(
    picture: Picture, layer: int | Sequence[int] | None, width: int, column: int | None = None, *, name: str = ""
) -> Plot:
    """The error over checkpoints of one layer put back to them, with its intervals, beside the whole network's.

    Checkpoints stand at equal distances, as the heatmap's columns do.  Before the first stand the draws of a random
    column: of the one with the cursor (`column`), else of re-randomising.  Several layers of one row, called `name`,
    are shown by the worst of them at each checkpoint.
    """
    group = [] if layer is None or isinstance(layer, int) else list(layer)
    columns = [index for index, one in enumerate(picture.columns) if one.kind == REINITIALISE]
    places = range(len(columns))

    def row(index: int) -> int | None:
        return worst(picture, group, index) if group else layer  # type: ignore[return-value]

    whole = "whole network" if width >= 50 else "network"
    network = Series(whole, "info", places, [_error(picture, None, index)[0] for index in columns])
    points = [_error(picture, row(index), index) for index in columns]
    if layer is None:
        label = "whole network"
    elif len(group) > 1:
        label = f"worst of {name or 'row'}"
    else:
        label = picture.layer_names[row(0) or 0]
    label = shorten(label, max(6, width - len(f"●   ━ {whole}   ◆ draws")))
    own = Series(
        label, "accent", places, [p[0] for p in points], dots=True, low=[p[1] for p in points],
        high=[p[2] for p in points],
    )  # fmt: skip
    drawn = _drawn_column(picture, column)
    draws = _draws(picture, row(drawn), drawn) if drawn is not None else []
    series = (own,) if layer is None else (own, network)
    if draws:
        series = (*series, Series("draws", "working", [-1] * len(draws), draws, dots=True, line=False))
    first = -1 if draws else 0
    labels = [picture.columns[index].label for index in columns]
    if draws and drawn is not None:
        slot = max(1, width - 6) // max(1, len(labels))
        label = head(picture.columns[drawn], slot - 2)
        # Where there is no room for it, the chart's first line says what these points are.
        labels = [label if len(label) < slot else "", *labels]
    if column is not None and column in columns:
        here = float(columns.index(column))
    else:
        here = -1.0 if draws and column == drawn else None
    baseline = picture.baseline
    return Plot(
        title="",
        series=series,
        x=(first, max(1, len(columns) - 1)),
        left=(0, 100),
        x_ticks=_spread(labels, width, first),
        left_ticks=[(0, "0"), (50, "50"), (100, "100")],
        level=None if baseline is None else 100 * (baseline.error + picture.tolerance),
        here=here,
        empty="not measured at any checkpoint yet",
    )


def _error(picture: Picture, layer: int | None, column: int) -> tuple[float, float, float]:
    """(error, low, high) of a place in percent, NaN where there are none."""
    cell = picture.cell(layer, column)
    if cell is None or not cell.measured:
        return math.nan, math.nan, math.nan
    return 100 * cell.error, 100 * cell.low, 100 * cell.high


def _drawn_column(picture: Picture, column: int | None) -> int | None:
    """The random column whose draws are shown."""
    if column is not None and picture.columns[column].drawn:
        return column
    return next((index for index, one in enumerate(picture.columns) if one.kind == RERANDOMISE), None)


def _draws(picture: Picture, layer: int | None, column: int) -> list[float]:
    cell = picture.cell(layer, column)
    return [100 * draw.error for draw in cell.draws] if cell and cell.measured else []


# Weights


def weights_wanted(picture: Picture, layers: Sequence[int], column: int) -> tuple[tuple[str, ...], int, int, str]:
    """(tensors, epoch, the other epoch, why there is nothing to show) of the weights that belong to a place.

    The checkpoint that the column puts back beside the initialisation (the first checkpoint kept); at that one itself,
    and where a column puts back no checkpoint, the trained weights beside the initialisation.
    """
    chosen, _ = _tensors(picture, layers)
    epochs = picture.run.checkpoints
    one = picture.columns[column]
    epoch = one.checkpoint if one.kind == REINITIALISE and one.checkpoint != epochs[0] else epochs[-1]
    names = tuple(tensor.name for tensor in chosen)
    if not layers:
        return names, epochs[-1], epochs[0], "weights are shown layer by layer: choose a layer"
    if not names:
        return names, epochs[-1], epochs[0], "this layer has no weights in the store that could be counted"
    if epoch is None or epoch not in epochs:
        return names, epochs[-1], epochs[0], f"the run keeps no checkpoint {epoch}"
    for wanted in (epochs[0], epoch):
        if wanted not in picture.committed:
            return names, epoch, epochs[0], f"checkpoint {wanted} is not in the store yet"
    return names, epoch, epochs[0], ""


def _tensors(picture: Picture, layers: Sequence[int]) -> tuple[list[TensorInfo], list[TensorInfo]]:
    known = {tensor.name: tensor for tensor in picture.run.tensors}
    names = dict.fromkeys(name for layer in layers for name in picture.probe.layers[layer].tensors)
    return weights_among([known[name] for name in names if name in known])


def weights_plot(
    picture: Picture,
    layers: Sequence[int],
    column: int,
    compared: Comparison | None,
    problem: str,
    width: int,
) -> Plot:
    """The histogram of a row's weights at a checkpoint, over that of their initialisation.

    `compared` is what :func:`weights_wanted` asked for, once it is known; `problem` why it cannot be.
    """
    title = "weights"
    names, epoch, other, missing = weights_wanted(picture, layers, column)
    if missing or problem:
        return Plot(title, empty=missing or problem)
    if compared is None:
        return Plot(title, empty="reading the weights …")
    epochs = picture.run.checkpoints
    now = "trained" if epoch == epochs[-1] else f"checkpoint {epoch}"
    then = "initialisation" if other == 0 else f"checkpoint {other}"
    if width < len(f"{title}  ━ {now}  █ {then}"):
        then = then.replace("initialisation", "start")
    x, spread_now = _outline(compared.edges, compared.now)
    _, spread_then = _outline(compared.edges, compared.other)
    top = max(1, *compared.now.counts, *compared.other.counts)
    ends = compared.edges[0], compared.edges[-1]
    ticks = sorted({ends[0], *((0.0,) if ends[0] < 0 < ends[1] else ()), ends[1]})
    return Plot(
        title=title,
        series=(
            Series(now, "accent", x, spread_now),
            Series(then, "info", x, spread_then, line=False, low=[0.0] * len(x), high=spread_then, band="info"),
        ),
        x=ends,
        left=(0, top),
        x_ticks=[(tick, number(tick)) for tick in ticks],
        left_ticks=[(0, "0"), (top, _count(top))],
        foot=_weights_foot(picture, layers, compared, now, then, names, width),
        brief=[_brief(label, spread, width) for label, spread in ((now, compared.now), (then, compared.other))],
    )


def _outline(edges: Sequence[float], spread: Spread) -> tuple[list[float], list[float]]:
    """The corners of a histogram's steps."""
    x = [edges[0]]
    y = [0.0]
    for left, right, count in zip(edges, edges[1:], spread.counts, strict=False):
        x += [left, right]
        y += [float(count), float(count)]
    return [*x, edges[-1]], [*y, 0.0]


def _brief(label: str, spread: Spread, width: int) -> str:
    """One set's numbers in a line."""
    text = f"mean {number(spread.mean)} std {number(spread.std)}"
    return f"{label}: {text}" if len(label) + len(text) + 2 <= width else text


def _weights_foot(
    picture: Picture,
    layers: Sequence[int],
    compared: Comparison,
    now: str,
    then: str,
    names: Sequence[str],
    width: int,
) -> list[str]:
    """The numbers of both, in columns; then what was counted, and what was not."""
    labels = [shorten(label, 14) for label in (now, then)]
    left = max(map(len, labels))
    heads = ("mean", "std", "min", "max")
    rows = [[number(value) for value in (s.mean, s.std, s.minimum, s.maximum)] for s in (compared.now, compared.other)]
    wide = [max(len(title), *(len(row[index]) for row in rows)) for index, title in enumerate(heads)]
    gap = "  " if left + sum(wide) + 2 * len(wide) <= width else " "
    if left + sum(wide) + len(gap) * len(wide) > width:
        left = max(5, width - sum(wide) - len(gap) * len(wide))
        labels = [label[:left] for label in labels]

    def line(label: str, row: Sequence[str]) -> str:
        return label.ljust(left) + "".join(gap + part.rjust(size) for part, size in zip(row, wide, strict=True))

    lines = [line("", heads), *(line(label, row) for label, row in zip(labels, rows, strict=True))]
    cosine = "" if compared.cosine is None else f", cosine {compared.cosine:.3f}"
    lines.append(f"apart {number(compared.moved)} (2-norm/√n){cosine}")
    beyond = compared.now.outside + compared.other.outside
    odd = compared.now.not_finite + compared.other.not_finite
    if beyond or odd:
        parts = ([f"{beyond:,} beyond the edges"] if beyond else []) + ([f"{odd:,} not finite"] if odd else [])
        lines.append(", ".join(parts))
    _, left_out = _tensors(picture, layers)
    count = f"{compared.now.n:,} weights"
    lines.append(f"{count} of {inert(names[0])}" if len(names) == 1 else f"{count} of {len(names)} tensors")
    if left_out:
        lines.append("left out: " + ", ".join(inert(tensor.name.rpartition(".")[2]) for tensor in left_out))
    return lines


def number(value: float) -> str:
    """A weight's size in few characters: '-0.0012', '0.31', '12.5', '3e-08'."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) < 0.0005 or abs(value) >= 10_000:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3g}"


def _count(value: float) -> str:
    return f"{value / 1e6:.1f}M" if value >= 1e6 else f"{value / 1e3:.0f}k" if value >= 10_000 else f"{value:.0f}"


def _top(values: Iterable[float]) -> float:
    """A round number at or above the greatest value."""
    highest = max((value for value in values if math.isfinite(value)), default=1.0)
    if highest <= 0:
        return 1.0
    unit = 10 ** math.floor(math.log10(highest))
    return next(step * unit for step in (1, 2, 2.5, 5, 10) if step * unit >= highest * 0.999)


def _spread(labels: Sequence[str], width: int, first: int = 0) -> list[tuple[float, str]]:
    """As many labels as fit without touching; the first stands at `first`."""
    room = max(1, width - 6)
    found: list[tuple[float, str]] = []
    free = -1.0
    for index, label in enumerate(labels):
        at = index * room / max(1, len(labels) - 1)
        if at >= free:
            found.append((index + first, label))
            free = at + len(label) + 1
    return found
