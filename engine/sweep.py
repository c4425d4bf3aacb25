"""All cells on few examples first, then on more, until each is known well enough.

Examples are visited in one fixed random order, so that those seen are a fair sample at every moment.  A *look* takes
the cells that have seen the same examples a stretch further: batch after batch outside, cell after cell inside, so that
they share each batch's recording.  Looks grow: their number stays small, and the picture is whole after the first.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..store import LyrxError
from .device import out_of_memory
from .forwards import Forwards, Row, Variant
from .intervals import CONFIDENCE, paired_error, paired_intervals
from .memory import BatchSize
from .sharing import Alone, Sharing
from .stopping import Rule
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
    finished: bool = False
    """It needs no more examples for now: an exact run has two stages."""
    ended: bool = False
    """It needs no more at all."""
    failure: LyrxError | None = None
    """Why its values could not be had."""


class Sweep:
    """Cells of one network on one set of examples."""

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
        self._errors = baseline.errors
        # How many of the first i examples the trained network gets wrong.
        self._wrong_before = np.concatenate([[0], np.cumsum(baseline.wrong.cpu().numpy())])

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
        n = np.array([work.tally.seen for work in seen])
        counts = (
            np.array([work.tally.worse for work in seen]),
            n - self._wrong_before[n],
            np.array([work.tally.better for work in seen]),
            self._wrong_before[n],
            self.total - self._errors,
            self._errors,
        )
        low, high = paired_intervals(*counts, np.array([work.confidence for work in seen]))
        for work, error, one, other in zip(seen, paired_error(*counts), low, high, strict=True):
            work.error, work.low, work.high = float(error), float(one), float(other)

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
        self.forwards.prepare(self.batches.between(0, min(CHECKED, self.total))[0])
        group.sort(key=lambda work: self.forwards.depth(work.row))
        start, step = group[0].tally.seen, self.batch_size.now
        spans = [(first, min(first + step, stop)) for first in range(start, stop, step)]
        pace = [work.seconds / work.tally.seen if work.tally.seen else 1.0 for work in group]
        # Shared, a cell's counts come from several processes, and are added when all have ended.
        counts = np.zeros((len(group), _COUNTED))
        place = {id(work): index for index, work in enumerate(group)}
        alone = self._sharing.size == 1

        def add(work: Work, row: np.ndarray) -> None:
            if alone:
                _add(work, row)
            else:
                counts[place[id(work)]] += row

        for unit in self._sharing.units(spans, pace):
            self._unit([group[index] for index in unit.cells], unit.start, unit.stop, add, after_cell)
        if not alone:
            for work, row in zip(group, self._sharing.total(counts), strict=True):
                if row[0] == stop - start:
                    _add(work, row)
                elif work.failure is None:
                    work.failure = LyrxError("its values could not be had in another process.")

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
            self.forwards.give_up("what must be kept of a single example does not fit into memory")

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


_COUNTED = 8  # examples, those that were not replayed, seconds, the five of a tally

CHECKED = 8
"""Examples on which replays are compared with full forwards before they are trusted."""


def _hand_over(waiting: list[tuple[Work, Tensor, tuple[float, float, float]]], add: Add) -> None:
    if waiting:
        numbers = torch.stack([numbers for _, numbers, _ in waiting]).cpu().numpy()
        for (work, _, rest), row in zip(waiting, numbers, strict=True):
            add(work, np.array([*rest, *row]))
        waiting.clear()


def _add(work: Work, row: np.ndarray) -> None:
    work.tally = work.tally.plus(int(row[0]), row[3:].tolist())
    work.full += int(row[1])
    work.seconds += float(row[2])


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
    step = size.now
    parts: dict[int, tuple[Tensor, Tensor, float]] = {}
    for number, start in enumerate(range(0, len(batches), step)):
        if number % sharing.size == sharing.rank:
            for first, outcome in _outcomes(forwards, batches, start, min(start + step, len(batches)), size, judge):
                loss = outcome.loss.sum(dtype=torch.float64)
                parts[first] = (outcome.prediction.cpu(), outcome.wrong.cpu(), float(loss))
            after_batch(start)
    known = sharing.collected(parts)
    predictions, wrongs, losses = zip(*(known[start] for start in sorted(known)), strict=True)
    device = forwards.device
    return Baseline(torch.cat(predictions).to(device), torch.cat(wrongs).to(device), sum(losses) / len(batches))


def _outcomes(
    forwards: Forwards, batches: Batches, start: int, stop: int, size: BatchSize, judge: Judge
) -> Iterator[tuple[int, Outcome]]:
    while start < stop:
        end = min(start + size.now, stop)
        try:
            arguments, targets = batches.between(start, end)
            outcome = judge(forwards.full(arguments), targets)
        except Exception as error:
            if not (out_of_memory(error) and size.halve()):
                raise
            continue
        yield start, outcome
        start = end
