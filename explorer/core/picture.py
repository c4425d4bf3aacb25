"""What a heatmap shows, gathered from the store: numbers only, no colours and no terminal.

The text heatmap, the JSON and the app are three views of this one thing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from statistics import fmean, stdev
from typing import Any, ClassVar

from ...store import (
    REINITIALISE,
    Cell,
    Column,
    EpochMetrics,
    Estimate,
    Fallback,
    LyrxError,
    Probe,
    ProbeInfo,
    Progress,
    Run,
)
from ...store.run import RunInfo, Status
from ...store.verdict import DEFAULT_TOLERANCE, Verdict, verdict


@dataclass(frozen=True)
class Metric:
    """One of the numbers a heatmap can be coloured by."""

    name: str
    title: str
    fraction: bool
    """Whether it is a fraction 0..1, shown in percent."""
    whole: bool = False
    """Whether its scale is all of 0..1, whatever the values are."""

    @property
    def kinds(self) -> tuple[tuple[float, str, str], ...]:
        """Of a metric that tells kinds and no amounts: every value there is, its letter and its word; else empty."""
        return ()

    def end(self, value: float) -> str:
        """An end of its scale, for people."""
        return f"{100 * value:.3g}" if self.fraction else f"{value:.3g}"

    def text(self, value: float | None, width: int = 5) -> str:
        """`value` for people, in at most `width` characters; empty for None."""
        if value is None:
            return ""
        if math.isnan(value):
            return "nan"
        if math.isinf(value):
            return "inf"
        if self.fraction:
            percent = 100 * value
            text = f"{percent:.1f}" if width >= 4 and percent < 99.95 else f"{percent:.0f}"
            return text if len(text) <= width else f"{percent:.0f}"
        for digits in (3, 2, 1):
            text = f"{value:.{digits}f}"
            # Where room is short the nought before the point goes, not a decimal.
            for shown in (text, text.removeprefix("0") if value < 1 else text):
                if len(shown) <= width:
                    return shown
        text = f"{value:.0f}"
        return text if len(text) <= width else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")


class _VerdictMetric(Metric):
    """What the interval says of the layer: a word, not a number. Robust layers are the cool end."""

    _WORDS: ClassVar[dict[float, tuple[str, str]]] = {
        0.0: ("robust", "R"), 0.5: ("undecided", "?"), 1.0: ("critical", "C")
    }  # fmt: skip

    @property
    def kinds(self) -> tuple[tuple[float, str, str], ...]:
        return tuple((value, letter, word) for value, (word, letter) in self._WORDS.items())

    def text(self, value: float | None, width: int = 5) -> str:
        words = self._WORDS.get(-1.0 if value is None else value)
        # All of them fit as words, or all are letters.
        return "" if words is None else words[width < len("undecided")]

    def end(self, value: float) -> str:
        return "R robust" if value == 0 else "C critical"


VERDICTS: dict[Verdict, float] = {"robust": 0.0, "undecided": 0.5, "critical": 1.0}
"""What stands for a verdict as a value of the metric `verdict`."""

METRICS = {
    metric.name: metric
    for metric in (
        Metric("error", "test error, %", True, whole=True),
        Metric("loss", "test loss, nats", False),
        Metric("agreement", "agreement with the trained network, %", True, whole=True),
        Metric("l2", "distance from initialisation, 2-norm / √n", False),
        Metric("linf", "distance from initialisation, largest change of a weight", False),
        Metric("width", "width of the error's 95 % interval, points", True),
        _VerdictMetric("verdict", "verdict on the layer", False, whole=True),
    )
}


@dataclass(frozen=True)
class CellSummary:
    """One place of the heatmap: a layer and a column, all draws together.

    Numbers are means over the draws measured so far.  Each draw's interval is made wide enough (Bonferroni) that the
    mean of their ends holds the mean of the draws' errors with 95 % confidence.
    """

    draws: tuple[Estimate, ...]
    expected: int
    damaged: bool = False
    """A draw was committed and cannot be trusted any more: there is no number to show."""
    evaluator: str = ""
    """How its draws were computed: 'replay', 'full', 'baseline', or several with '+' between; empty if not said."""
    reason: str = ""
    """Why not by replay, where that is known."""
    seconds: float | None = None
    """What its draws took together; None where a draw's record does not say."""
    device: str = ""
    seeds: tuple[int | None, ...] = ()
    """What each draw's random numbers derive from; None where none are drawn, or its record does not say."""
    records: tuple[Mapping[str, Any], ...] = field(default=(), repr=False, compare=False)
    """What it was made of: each draw's commit record."""

    @property
    def measured(self) -> bool:
        return bool(self.draws) and not self.damaged

    @property
    def complete(self) -> bool:
        return len(self.draws) == self.expected and not self.damaged

    @property
    def error(self) -> float:
        return fmean(draw.error for draw in self.draws)

    @property
    def low(self) -> float:
        return fmean(draw.low for draw in self.draws)

    @property
    def high(self) -> float:
        return fmean(draw.high for draw in self.draws)

    @property
    def width(self) -> float:
        """How wide the error's interval is, as a fraction."""
        return self.high - self.low

    @property
    def loss(self) -> float:
        return fmean(draw.loss for draw in self.draws)

    @property
    def agreement(self) -> float:
        return fmean(draw.agreement for draw in self.draws)

    @property
    def n(self) -> int:
        """Examples seen by the draw that saw the fewest."""
        return min(draw.n for draw in self.draws)

    @property
    def total(self) -> int:
        return self.draws[0].total

    @property
    def exact(self) -> bool:
        return all(draw.exact for draw in self.draws)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the draws' errors (n - 1), None for fewer than two."""
        return stdev(draw.error for draw in self.draws) if len(self.draws) > 1 else None


@dataclass(frozen=True)
class Picture:
    """Everything a view of one probe of one run needs, as committed at one moment."""

    run: RunInfo
    probe: ProbeInfo
    status: Status
    cells: dict[tuple[int | None, int], CellSummary]
    """By (layer index, column index); layer None is the whole network. Only places with something committed."""
    distances: dict[int, tuple[tuple[float, ...], tuple[float, ...]]]
    """By checkpoint's epoch: (l2, linf), one number a layer."""
    history: Sequence[EpochMetrics]
    committed: Sequence[int]
    """Epochs whose checkpoints are in the store."""
    problems: Sequence[LyrxError] = field(default_factory=tuple)
    """What was damaged and is therefore not shown."""
    progress: Progress = field(default_factory=lambda: Progress(0, 0, 0, None))
    """How many cells (draws) are committed, and how exact they are."""
    fallbacks: Sequence[Fallback] = ()
    """Layers that are measured by full forwards, and why."""
    notes: tuple[str, ...] = ()
    """What else to know of all numbers."""
    homes: tuple[tuple[str, int], ...] = ()
    """Of the last rows, those that belong to other probes: each one's probe, and which row it is there."""

    def home(self, layer: int | None) -> tuple[str, int | None]:
        """(probe's id, row in it) of a row: to be asked for there."""
        own = len(self.probe.layers) - len(self.homes)
        return (self.probe.id, layer) if layer is None or layer < own else self.homes[layer - own]

    def row_at(self, probe: str, layer: int | None) -> int | None:
        """The row of this picture that is row `layer` of a probe, or None: the whole network, or no row of it."""
        if probe == self.probe.id:
            return layer
        own = len(self.probe.layers) - len(self.homes)
        return next((own + place for place, home in enumerate(self.homes) if home == (probe, layer)), None)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.probe.columns

    @property
    def layer_names(self) -> list[str]:
        return [layer.name for layer in self.probe.layers]

    @property
    def language(self) -> bool:
        """Whether the network is a language model: errors are of next tokens, and losses have a perplexity."""
        return "positions" in self.run.data_facts

    @property
    def tolerance(self) -> float:
        """How far above the baseline's error a layer is still robust, as a fraction."""
        return self.probe.settings.get("tolerance", DEFAULT_TOLERANCE)

    @property
    def baseline(self) -> Estimate | None:
        """The trained network untouched, if it has been measured."""
        final = self.run.checkpoints[-1]
        for index, column in enumerate(self.columns):
            if column.kind == REINITIALISE and column.checkpoint == final:
                cell = self.cells.get((None, index))
                return cell.draws[0] if cell and cell.measured else None
        return None

    def unavailable(self, layer: int | None, column: int, metric: str = "error") -> str:
        """Why there can be no number at a place, since an imported checkpoint lacks the layer; empty where there can.

        A distance from initialisation needs checkpoint 0 as well.
        """
        places = [column]
        if metric in ("l2", "linf"):
            places += [i for i, c in enumerate(self.columns) if c.kind == REINITIALISE and c.checkpoint == 0]
        return next((reason for i in places if (reason := self.probe.unavailable.get((layer, i)))), "")

    def cell(self, layer: int | None, column: int) -> CellSummary | None:
        """The summary at a place, or None where nothing is committed."""
        return self.cells.get((layer, column))

    def value(self, metric: str, layer: int | None, column: int) -> float | None:
        """The number a place is coloured by, or None where there is none."""
        if metric in ("l2", "linf"):
            checkpoint = self.columns[column].checkpoint
            known = self.columns[column].kind == REINITIALISE and checkpoint in self.distances
            if layer is None or checkpoint is None or not known or self.unavailable(layer, column, metric):
                return None
            return self.distances[checkpoint][metric == "linf"][layer]
        if metric == "verdict":
            found = self.verdict(layer, column)
            return None if found is None else VERDICTS[found]
        cell = self.cell(layer, column)
        return getattr(cell, metric) if cell and cell.measured else None

    def verdict(self, layer: int | None, column: int) -> Verdict | None:
        """What a cell's interval says about its layer, or None while there is nothing to go by."""
        cell, baseline = self.cell(layer, column), self.baseline
        if cell is None or not cell.measured or baseline is None:
            return None
        return verdict(cell.low, cell.high, baseline.error, self.tolerance)

    @property
    def exact(self) -> bool:
        """Whether every cell is committed, and saw all examples."""
        return self.progress.exact == self.progress.total

    def missing(self) -> int:
        """How many cells (draws) are still to be measured, the whole network's row included."""
        return self.wanted() - self.progress.committed

    def wanted(self) -> int:
        """How many cells (draws) the probe has in all."""
        return self.progress.total


def take_picture(
    run: Run,
    probe: Probe | None = None,
    before: Picture | None = None,
    on_read: Callable[[int, int], None] = lambda read, of: None,
) -> Picture:
    """Read what is committed of `probe` (default: the newest one of `run`).

    `before` is what the last call for this very `probe` returned: of a heatmap of thousands of cells few have changed.
    `on_read` is told now and then how many of how many cells have been read.
    """
    probe = probe or run.probe()
    info = probe.info
    results = probe.results(on_read)
    draws: dict[tuple[int | None, int], list[Cell]] = {}
    for cell in sorted(results.estimates, key=lambda cell: cell.draw):
        draws.setdefault((cell.layer, cell.column), []).append(cell)
    broken = {(cell.layer, cell.column) for cell in results.damaged_cells}
    history, damaged = run.history.read()
    progress = Progress.of(info, results.estimates)
    known = before.cells if before is not None and before.probe is info else {}

    def summary(place: tuple[int | None, int]) -> CellSummary:
        there = draws.get(place, ())
        wanted = 1 if place[0] is None else info.columns[place[1]].draws
        records = tuple(results.records[cell] for cell in there)
        same = known.get(place)
        # What is the same object was not committed anew (:mod:`...store.rows`).
        if same is not None and same.damaged == (place in broken) and _are(same.records, records):
            return same
        estimates = tuple(results.estimates[cell] for cell in there)
        return CellSummary(estimates, wanted, place in broken, records=records, **_facts(records))

    return Picture(
        run=run.info,
        probe=info,
        status=run.status_of(complete=progress.complete, probe=info.id),
        cells={place: summary(place) for place in draws.keys() | broken},
        distances=results.distances,
        history=history,
        committed=run.checkpoints.committed(),
        problems=(*results.damaged, *damaged),
        progress=progress,
        fallbacks=tuple(probe.fallbacks()),
        notes=tuple(probe.notes().values()),
    )


def _are(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether they are the very same objects."""
    return len(some) == len(others) and all(map(is_, some, others))


def _facts(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the commit records of a place's draws say beside the numbers, as fields of a CellSummary."""
    took = [record.get("seconds") for record in records]
    known = [float(one) for one in took if isinstance(one, int | float)]
    return {
        "evaluator": "+".join(dict.fromkeys(str(record["evaluator"]) for record in records if record.get("evaluator"))),
        "reason": next((str(record["reason"]) for record in records if record.get("reason")), ""),
        "seconds": sum(known) if known and len(known) == len(took) else None,
        "device": "+".join(dict.fromkeys(str(record["device"]) for record in records if record.get("device"))),
        "seeds": tuple(seed if isinstance(seed := record.get("seed"), int) else None for record in records),
    }
