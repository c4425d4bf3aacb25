"""All cells on few examples first, then on more, until each is known well enough.

Examples are visited in one fixed random order, so that those seen are a fair sample at every moment.  A *look* takes
the cells that have seen the same examples a stretch further: batch after batch outside, cell after cell inside, so that
they share each batch's recording.  Looks grow: their number stays small, and the picture is whole after the first.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..store import LyrxError
from ..store.stopping import Rule
from .device import out_of_memory
from .forwards import Fallback, Forwards, Row, Variant
from .intervals import CONFIDENCE, Floats, paired_error, paired_intervals
from .mean_intervals import mean_intervals
from .memory import NO_ROOM, BatchSize
from .sharing import Alone, Sharing, Unit
from .tallies import Baseline, Batches, Judge, Outcome, Tally, count, judge

FIRST_LOOK = 64
"""Examples of the first look."""

SMALLEST_LOOK = 32
"""Examples that a later look adds at least; else it adds half of what was seen."""

AfterCell = Callable[["Work", int], None]
Add = Callable[["Work", np.ndarray], None]


@dataclass(eq=False)
class Work:
    """A cell to be measured, and how far it is."""

    key: Any
    row: Row
    kind: str
    load: Callable[[], Variant]
    """Its variant, values on the device."""
    confidence: float = CONFIDENCE
    tally: Tally = field(default_factory=Tally)
    error: float = 0.0
    low: float = 0.0
    high: float = 1.0
    full: int = 0
    """Examples that were not replayed."""
    reason: str = ""
    """Why not, the last time."""
    seconds: float = 0.0
    timed: int = 0
    """Examples that took `seconds`: those that are measured here and now."""
    finished: bool = False
    """It needs no more examples for now: an exact run has two stages."""
    ended: bool = False
    """It needs no more at all."""
    failure: LyrxError | None = None
    """Why its values could not be had."""


class Sweep:
    """Cells of one network on one set of examples. `forwards` has been prepared."""

    def __init__(
        self,
        forwards: Forwards,
        batches: Batches,
        baseline: Baseline,
        rule: Rule,
        batch_size: BatchSize,
        judge: Judge = judge,
        sharing: Sharing | None = None,
    ):
        self.forwards, self.batches, self.baseline, self.rule = forwards, batches, baseline, rule
        self.batch_size = batch_size
        self.total = len(batches)
        self._judge = judge
        self._sharing = sharing or Alone()
        self._told: set[tuple[str, str]] = set()  # fallbacks that the other processes know
        self._errors, self._parts = baseline.errors, baseline.parts
        # How many predictions for the first i examples the trained network gets wrong.
        wrong = baseline.wrong.reshape(self.total, -1).sum(dim=1).cpu().numpy()
        self._wrong_before = np.concatenate([[0], np.cumsum(wrong)])

    def run(
        self, works: Sequence[Work], limit: int | None = None, after_cell: AfterCell = lambda work, seen: None
    ) -> Iterator[list[Work]]:
        """Measure `works` until the rule is content with each; yields those that a look took further.

        At most the first `limit` examples are used.  `after_cell(work, examples)` is called after each batch of each
        cell and may raise CancelledError: what was counted until then stays in the tallies.
        """
        limit = self.total if limit is None else min(limit, self.total)
        self.judge(works)
        for rule in self._stages():
            self._tick_off(works, rule, limit)
            while active := [work for work in works if not work.finished]:
                group, stop = self._next(active, limit)
                try:
                    self._look(group, stop, after_cell)
                finally:  # also after a cancel: whole batches that were counted stay
                    self.judge(group)
                self._tick_off(group, rule, limit)
                yield group

    def judge(self, works: Sequence[Work]) -> None:
        """The error and interval of each of `works` that has seen examples, from its tally."""
        seen = [work for work in works if work.tally.seen]
        if not seen:
            return
        intervals = self._of_counts if self._parts == 1 else self._of_shares
        for work, error, low, high in zip(seen, *intervals([work.tally for work in seen], seen), strict=True):
            work.error, work.low, work.high = float(error), float(low), float(high)

    def _of_counts(self, tallies: Sequence[Tally], works: Sequence[Work]) -> tuple[Floats, Floats, Floats]:
        """Where an example is right or wrong: (error, low, high), float64[cell] each."""
        n = np.array([tally.seen for tally in tallies])
        counts = (
            np.array([tally.worse for tally in tallies]),
            n - self._wrong_before[n],
            np.array([tally.better for tally in tallies]),
            self._wrong_before[n],
            self.total - self._errors,
            self._errors,
        )
        confidence = np.array([work.confidence for work in works])
        return paired_error(*counts), *paired_intervals(*counts, confidence)

    def _of_shares(self, tallies: Sequence[Tally], works: Sequence[Work]) -> tuple[Floats, Floats, Floats]:
        """Where an example has several predictions, some of them wrong."""
        n = np.array([tally.seen for tally in tallies])
        paths = [tally.path for tally in tallies]
        return mean_intervals(
            n,
            np.array([tally.worse - tally.better for tally in tallies]) / self._parts,
            ([path.variation for path in paths], [path.weight for path in paths], [path.pull for path in paths]),
            self._wrong_before[n] / self._parts,
            self._errors / self._parts,
            self.total,
            np.array([work.confidence for work in works]),
        )

    def _add(self, work: Work, row: np.ndarray) -> None:
        work.tally = work.tally.plus(int(row[0]), row[3:].tolist(), self.total, self._parts)
        work.timed += int(row[0])
        work.full += int(row[1])
        work.seconds += float(row[2])

    def _stages(self) -> Iterable[Rule]:
        """An exact run first does what the default would have: undecided cells come before decimals of the others."""
        return (replace(self.rule, exact=False), self.rule) if self.rule.exact else (self.rule,)

    def _tick_off(self, works: Sequence[Work], rule: Rule, limit: int) -> None:
        for work in works:
            work.finished = self._content(work, rule, limit)
            work.ended = work.finished if rule is self.rule else self._content(work, self.rule, limit)

    def _content(self, work: Work, rule: Rule, limit: int) -> bool:
        seen = work.tally.seen
        if work.failure is not None or seen >= limit:
            return True
        return seen > 0 and bool(rule.finished(work.low, work.high, self.baseline.error, seen, self.total))

    def _next(self, active: Sequence[Work], limit: int) -> tuple[list[Work], int]:
        """Who goes next, and how far: those that have seen least, until they meet others or the look's end."""
        start = min(work.tally.seen for work in active)
        look = max(SMALLEST_LOOK, start // 2) if start else FIRST_LOOK
        ahead = [work.tally.seen for work in active if work.tally.seen > start]
        return [work for work in active if work.tally.seen == start], min([start + look, limit, *ahead])

    def _look(self, group: list[Work], stop: int, after_cell: AfterCell) -> None:
        """Take `group` from what its cells have all seen to `stop`."""
        group.sort(key=lambda work: self.forwards.depth(work.row))
        start, step = group[0].tally.seen, self.batch_size.now
        spans = [(first, min(first + step, stop)) for first in range(start, stop, step)]
        if self._sharing.size > 1:
            self._share(group, spans, after_cell)
            return
        for first, last in spans:
            self._unit(group, first, last, self._add, after_cell)

    def _share(self, group: Sequence[Work], spans: Sequence[tuple[int, int]], after_cell: AfterCell) -> None:
        """A look by several processes: this one computes some units, and learns from the others what the rest is."""
        held: list[dict[int, np.ndarray]] = [{} for _ in group]
        sizes = [self.batch_size.now]
        for part in self._sharing.parts(spans, self._paces(group), lambda unit: self._computed(group, unit)):
            self._learn(group, part.news)
            sizes.append(part.news["batch_size"])
            for index, row in zip(part.unit.cells, part.rows, strict=True):
                held[index][part.unit.start] = row
                work, before = group[index], group[index].tally.seen
                # In the order of the examples, whoever was first: what is known of a cell is always of a prefix.
                while (follows := held[index].pop(work.tally.seen, None)) is not None and follows[0]:
                    self._add(work, follows)
                if work.tally.seen > before:
                    after_cell(work, work.tally.seen)
        self.batch_size.now = min(sizes)

    def _computed(self, group: Sequence[Work], unit: Unit) -> tuple[np.ndarray, dict[str, Any]]:
        """A unit of a look that is shared, carried out here; and what the others should know."""
        works = {index: group[index] for index in unit.cells}
        rows = {id(work): np.zeros(_COUNTED + (self._parts > 1)) for work in works.values()}

        def add(work: Work, row: np.ndarray) -> None:
            rows[id(work)] += row

        self._unit(list(works.values()), unit.start, unit.stop, add, lambda work, seen: None)
        new = {key: found for key, found in self.forwards.fallbacks.items() if key not in self._told}
        self._told |= new.keys()
        news = {
            "batch_size": self.batch_size.now,
            "failures": {index: str(work.failure) for index, work in works.items() if work.failure is not None},
            "reasons": {index: work.reason for index, work in works.items() if work.reason},
            "fallbacks": [(found.row, found.kind, found.reason) for found in new.values()],
        }
        return np.stack(list(rows.values())), news

    def _learn(self, group: Sequence[Work], news: Mapping[str, Any]) -> None:
        for index, message in news["failures"].items():
            group[int(index)].failure = group[int(index)].failure or LyrxError(message)
        for index, reason in news["reasons"].items():
            group[int(index)].reason = reason
        for fallback in news["fallbacks"]:
            self.forwards.learn(Fallback(*fallback))

    def _paces(self, group: Sequence[Work]) -> list[float]:
        """Seconds an example of each cell; before they are known, a guess in proportion to them."""
        if all(work.timed for work in group):
            return [work.seconds / work.timed for work in group]
        depths = [self.forwards.depth(work.row) for work in group]
        return [1.1 * max(depths) + 1 - depth for depth in depths]

    def _unit(self, works: Sequence[Work], start: int, stop: int, add: Add, after_cell: AfterCell) -> None:
        """`works` on the examples `start` to `stop`, in smaller batches where memory does not suffice."""
        done: set[int] = set()

        def added(work: Work, row: np.ndarray) -> None:
            add(work, row)
            done.add(id(work))

        try:
            self._batch(works, start, stop, added, after_cell)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self._make_do(error)
            rest = [work for work in works if id(work) not in done]
            for first in range(start, stop, self.batch_size.now):
                self._unit(rest, first, min(first + self.batch_size.now, stop), add, after_cell)

    def _make_do(self, error: Exception) -> None:
        if not self.batch_size.halve():
            if not self.forwards.replays:
                raise error
            self.forwards.give_up(NO_ROOM)

    def _batch(self, works: Sequence[Work], start: int, stop: int, add: Add, after_cell: AfterCell) -> None:
        began = time.perf_counter()
        arguments, targets = self.batches.between(start, stop)
        batch = self.forwards.open(arguments, list({work.row.name: work.row for work in works}.values()))
        prediction, wrong = self.baseline.prediction[start:stop], self.baseline.wrong[start:stop]
        shared = (time.perf_counter() - began) / len(works)
        waiting: list[tuple[Work, Tensor, tuple[float, float, float]]] = []
        try:
            for work in works:
                began = time.perf_counter()
                try:
                    variant = work.load()
                except LyrxError as error:
                    work.failure = error
                    continue
                output, work.reason = batch.output(variant)
                numbers = count(self._judge(output, targets), prediction, wrong)
                examples, seconds = float(stop - start), shared + time.perf_counter() - began
                waiting.append((work, numbers, (examples, examples if work.reason else 0.0, seconds)))
                if numbers.device.type == "cpu":
                    _hand_over(waiting, add)
                after_cell(work, stop)
        finally:
            # One transfer for all of them: until here a GPU need not wait for the host.
            _hand_over(waiting, add)


_COUNTED = 8
"""Numbers of a cell in a batch: examples, those that were not replayed, seconds, the five of :func:`count`."""

CHECKED = 8
"""Examples on which replays are compared with full forwards before they are trusted."""


def _hand_over(waiting: list[tuple[Work, Tensor, tuple[float, float, float]]], add: Add) -> None:
    if waiting:
        numbers = torch.stack([numbers for _, numbers, _ in waiting]).cpu().numpy()
        for (work, _, rest), row in zip(waiting, numbers, strict=True):
            add(work, np.array([*rest, *row]))
        waiting.clear()


def measure_baseline(
    forwards: Forwards,
    batches: Batches,
    size: BatchSize,
    judge: Judge = judge,
    after_batch: Callable[[int], None] = lambda seen: None,
    sharing: Sharing | None = None,
) -> Baseline:
    """The trained network on all examples. `after_batch(seen)` may raise CancelledError."""
    sharing = sharing or Alone()

    def compute(unit: Unit) -> tuple[np.ndarray, dict[str, Any]]:
        found = list(_outcomes(forwards, batches, unit.start, unit.stop, size, judge))
        rows = torch.stack([torch.cat([one.prediction for one in found]), torch.cat([one.wrong for one in found])])
        losses = [float(one.loss.sum(dtype=torch.float64)) for one in found]
        after_batch(unit.start)
        return rows.double().cpu().numpy(), {"losses": losses, "batch_size": size.now}

    spans = [(start, min(start + size.now, len(batches))) for start in range(0, len(batches), size.now)]
    parts = sorted(sharing.parts(spans, [1.0], compute), key=lambda part: part.unit.start)
    size.now = min(part.news["batch_size"] for part in parts)
    prediction, wrong = torch.from_numpy(np.concatenate([part.rows for part in parts], axis=1)).to(forwards.device)
    loss = sum(loss for part in parts for loss in part.news["losses"])
    return Baseline(prediction.long(), wrong.bool(), loss / len(batches))


def _outcomes(
    forwards: Forwards, batches: Batches, start: int, stop: int, size: BatchSize, judge: Judge
) -> Iterator[Outcome]:
    while start < stop:
        end = min(start + size.now, stop)
        try:
            arguments, targets = batches.between(start, end)
            outcome = judge(forwards.full(arguments), targets)
        except Exception as error:
            if not (out_of_memory(error) and size.halve()):
                raise
            continue
        yield outcome
        start = end
