"""The two charts beside a heatmap: how the network was trained, and what one layer's checkpoints are worth."""

import math
from collections.abc import Iterable, Sequence

from ...store import REINITIALISE
from ..picture import Picture
from ..show import shorten
from .chart import Plot, Series

LOSS, ERROR, LAYER, NETWORK = (175, 135, 255), (255, 175, 0), (255, 0, 95), (138, 138, 138)


def training_plot(picture: Picture) -> Plot:
    """Train loss (left scale) and test error (right scale, percent) over epochs."""
    history = picture.history
    epochs = picture.run.epochs
    train = Series("train loss", LOSS, [e.epoch for e in history], [e.train_loss for e in history])
    test = Series("error %", ERROR, [e.epoch for e in history], [100 * e.test_error for e in history], right=True)
    loss_top = _top(train.y)
    error_top = min(100.0, _top(test.y))
    return Plot(
        title="",
        series=(train, test),
        x=(0, max(1, epochs)),
        left=(0, loss_top),
        right=(0, error_top),
        x_ticks=[(x, str(x)) for x in sorted({0, epochs // 2, epochs})],
        left_ticks=[(0, "0"), (loss_top, f"{loss_top:g}")],
        right_ticks=[(0, "0"), (error_top, f"{error_top:g}")],
        empty="no epoch finished yet",
    )


def layer_plot(picture: Picture, layer: int | None, width: int) -> Plot:
    """The error over checkpoints of one layer put back to them, beside the whole network's.

    Checkpoints stand at equal distances, as the heatmap's columns do.
    """
    columns = [index for index, column in enumerate(picture.columns) if column.kind == REINITIALISE]
    places = range(len(columns))
    own = _errors(picture, layer, columns)
    whole = "whole network" if width >= 36 else "network"
    network = Series(whole, NETWORK, places, _errors(picture, None, columns))
    if layer is None:
        series = (Series("whole network", LAYER, places, own, dots=True),)
    else:
        name = shorten(picture.layer_names[layer], max(6, width - len(f"●  ━ {whole}")))
        series = (Series(name, LAYER, places, own, dots=True), network)
    baseline = picture.baseline
    labels = [picture.columns[column].label for column in columns]
    return Plot(
        title="",
        series=series,
        x=(0, max(1, len(columns) - 1)),
        left=(0, 100),
        x_ticks=_spread(labels, width),
        left_ticks=[(0, "0"), (50, "50"), (100, "100")],
        level=None if baseline is None else 100 * (baseline.error + picture.tolerance),
        empty="not measured yet",
    )


def _errors(picture: Picture, layer: int | None, columns: Sequence[int]) -> list[float]:
    values = (picture.value("error", layer, column) for column in columns)
    return [math.nan if value is None else 100 * value for value in values]


def _top(values: Iterable[float]) -> float:
    """A round number at or above the greatest value."""
    highest = max((value for value in values if math.isfinite(value)), default=1.0)
    if highest <= 0:
        return 1.0
    unit = 10 ** math.floor(math.log10(highest))
    return next(step * unit for step in (1, 2, 2.5, 5, 10) if step * unit >= highest * 0.999)


def _spread(labels: Sequence[str], width: int) -> list[tuple[float, str]]:
    """As many labels as fit without touching."""
    room = max(1, width - 6)
    found: list[tuple[float, str]] = []
    free = -1.0
    for index, label in enumerate(labels):
        at = index * room / max(1, len(labels) - 1)
        if at >= free:
            found.append((index, label))
            free = at + len(label) + 2
    return found
