"""All cells on few examples first, then on more, until each is known well enough.

Examples are visited in one fixed random order, so that those seen are a fair sample at every moment.  A *look* takes
the cells that have seen the same examples a stretch further: batch after batch outside, cell after cell inside, so that
they share each batch's recording.  Looks grow: their number stays small, and the picture is whole after the first.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..store import LyrxError, inert
from ..store.stopping import Rule
from .device import out_of_memory
from .errors import CancelledError, NetworkFailedError, RestoreError
from .estimates import Estimator
from .forwards import Forwards, Row, Variant
from .intervals import CONFIDENCE
from .memory import NO_ROOM, BatchSize
from .opened import Batch
from .replay.structure import OpaqueError, take_apart
from .sharing import Alone, Sharing, Unit
from .tallies import Baseline, Batches, Judge, Outcome, Tally, count, judge
from .trust import Fallback

FIRST_LOOK = 64
"""Examples of the first look."""

SMALLEST_LOOK = 32
"""Examples that a later look adds at least; else a share of what was seen:"""

DECIDING, TO_THE_END = 0.2, 0.5
"""The one while cells may stop, which they do at the end of a look: it is on average half a look too late.  The other
where all go to the end of the data."""

AfterCell = Callable[["Work", int], None]
Add = Callable[["Work", np.ndarray], None]
Pack = Sequence["Work"]
"""Cells of one row and kind that may share a run."""


@dataclass(eq=False)
class Work:
    """A cell to be measured, and how far it is."""

    key: Any
    row: Row
    kind: str
    load: Callable[[], Variant]
    """Its variant, values on the device."""
    name: str = ""
    """For messages: its layer and column."""
    confidence: float = CONFIDENCE
    tally: Tally = field(default_factory=Tally)
    error: float = 0.0
    low: float = 0.0
    high: float = 1.0
    full: int = 0
    """Examples that were not replayed."""
    reason: str = ""
    """Why not, the last time that they were not."""
    seconds: float = 0.0
    timed: int = 0
    """Examples that took `seconds`: those that are measured here and now."""
    finished: bool = False
    """It needs no more examples for now: there are stages."""
    ended: bool = False
    """It needs no more at all."""
    failure: LyrxError | None = None
    """Why its values could not be had, or the network not be run with them."""


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
        self._at_once = baseline.wrong.device.type == "cpu"
        """Whether numbers are handed over cell by cell: a GPU's host would have to wait for each."""
        self._told: set[tuple[str, str]] = set()  # fallbacks that the other processes know
        self._parts, self._estimator = baseline.parts, Estimator(baseline)

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
                group, stop = self._next(active, limit, TO_THE_END if rule.exact else DECIDING)
                try:
                    self._look(group, stop, after_cell)
                finally:  # also after a cancel: whole batches that were counted stay
                    self.judge(group)
                self._tick_off(group, rule, limit)
                yield group

    def judge(self, works: Sequence[Work]) -> None:
        """The error and interval of each of `works` that has seen examples, from its tally."""
        seen = [work for work in works if work.tally.seen]
        found = self._estimator.intervals([work.tally for work in seen], [work.confidence for work in seen])
        for work, (error, low, high) in zip(seen, found, strict=True):
            work.error, work.low, work.high = error, low, high

    def _add(self, work: Work, row: np.ndarray) -> None:
        work.tally = work.tally.plus(int(row[0]), row[3:].tolist(), self.total, self._parts)
        work.timed += int(row[0])
        work.full += int(row[1])
        work.seconds += float(row[2])

    def _stages(self) -> Iterable[Rule]:
        """Undecided cells come before decimals: then the decided go to their width, and in an exact run all on."""
        usual = replace(self.rule, exact=False)
        return list(dict.fromkeys([replace(usual, decided_half_width=1.0), usual, self.rule]))

    def _tick_off(self, works: Sequence[Work], rule: Rule, limit: int) -> None:
        for work in works:
            work.finished = self._content(work, rule, limit)
            work.ended = work.finished if rule is self.rule else self._content(work, self.rule, limit)

    def _content(self, work: Work, rule: Rule, limit: int) -> bool:
        seen = work.tally.seen
        if work.failure is not None or seen >= limit:
            return True
        return seen > 0 and bool(rule.finished(work.low, work.high, self.baseline.error, seen, self.total))

    def _next(self, active: Sequence[Work], limit: int, growth: float) -> tuple[list[Work], int]:
        """Who goes next, and how far: those that have seen least, until they meet others or the look's end."""
        start = min(work.tally.seen for work in active)
        look = max(SMALLEST_LOOK, int(growth * start)) if start else FIRST_LOOK
        ahead = [work.tally.seen for work in active if work.tally.seen > start]
        return [work for work in active if work.tally.seen == start], min([start + look, limit, *ahead])

    def _look(self, group: list[Work], stop: int, after_cell: AfterCell) -> None:
        """Take `group` from what its cells have all seen to `stop`."""
        start, step = group[0].tally.seen, self.batch_size.now
        spans = [(first, min(first + step, stop)) for first in range(start, stop, step)]
        packs = self._packs(group, spans[0][1] - spans[0][0])
        if self._sharing.size > 1:
            self._share(packs, spans, after_cell)
            return
        for first, last in spans:
            self._unit(packs, first, last, self._add, after_cell)

    def _packs(self, group: Sequence[Work], examples: int) -> list[Pack]:
        """By depth: what is computed together, where it can be. The same for any number of processes."""
        most = self.forwards.most_folded(examples, self.batch_size.now)
        together: dict[Any, list[Work]] = {}
        for place, work in enumerate(group):
            together.setdefault((work.row.name, work.kind) if most > 1 else place, []).append(work)
        packs = []
        for works in sorted(together.values(), key=lambda works: self.forwards.depth(works[0].row)):
            parts = -(-len(works) // most)
            edges = [len(works) * part // parts for part in range(parts + 1)]
            packs += [works[first:last] for first, last in pairwise(edges)]
        return packs

    def _share(self, packs: Sequence[Pack], spans: Sequence[tuple[int, int]], after_cell: AfterCell) -> None:
        """A look by several processes: this one computes some units, and learns from the others what the rest is."""
        group = [work for pack in packs for work in pack]
        edges = np.cumsum([0, *map(len, packs)]).tolist()
        held: list[dict[int, np.ndarray]] = [{} for _ in group]
        sizes = [self.batch_size.now]
        paces = self._paces(group)
        costs = [sum(paces[first:last]) for first, last in pairwise(edges)]
        for part in self._sharing.parts(spans, costs, lambda unit: self._computed(packs, edges, unit)):
            self._learn(group, part.news)
            sizes.append(part.news["batch_size"])
            for index, row in zip(_places(edges, part.unit), part.rows, strict=True):
                held[index][part.unit.start] = row
                work, before = group[index], group[index].tally.seen
                # In the order of the examples, whoever was first: what is known of a cell is always of a prefix.
                while (follows := held[index].pop(work.tally.seen, None)) is not None and follows[0]:
                    self._add(work, follows)
                if work.tally.seen > before:
                    after_cell(work, work.tally.seen)
        self.batch_size.now = min(sizes)

    def _computed(self, packs: Sequence[Pack], edges: Sequence[int], unit: Unit) -> tuple[np.ndarray, dict[str, Any]]:
        """A unit of a look that is shared, carried out here; and what the others should know."""
        mine = [packs[index] for index in unit.cells]
        works = dict(zip(_places(edges, unit), (work for pack in mine for work in pack), strict=True))
        rows = {id(work): np.zeros(_COUNTED + (self._parts > 1)) for work in works.values()}

        def add(work: Work, row: np.ndarray) -> None:
            rows[id(work)] += row

        self._unit(mine, unit.start, unit.stop, add, lambda work, seen: None)
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
            self.forwards.trust.fall_back(Fallback(*fallback))

    def _paces(self, group: Sequence[Work]) -> list[float]:
        """Seconds an example of each cell; before they are known, a guess in proportion to them."""
        if all(work.timed for work in group):
            return [work.seconds / work.timed for work in group]
        depths = [self.forwards.depth(work.row) for work in group]
        return [1.1 * max(depths) + 1 - depth for depth in depths]

    def _unit(self, packs: Sequence[Pack], start: int, stop: int, add: Add, after_cell: AfterCell) -> None:
        """`packs` on the examples `start` to `stop`, in smaller batches where memory does not suffice."""
        while start < stop:
            # Each time anew: a span planned before memory ran short may be larger, and it may run short again.
            last = min(start + self.batch_size.now, stop)
            if short := self._that_fits(packs, start, last, add, after_cell):
                self._unit(short, start, last, add, after_cell)
            start = last

    def _that_fits(self, packs: Sequence[Pack], start: int, stop: int, add: Add, after_cell: AfterCell) -> list[Pack]:
        """One batch; what memory did not suffice for is returned, once there is a way to make do with less."""
        done: set[int] = set()

        def added(work: Work, row: np.ndarray) -> None:
            add(work, row)
            done.add(id(work))

        try:
            self._batch(packs, start, stop, added, after_cell)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if not self.batch_size.halve(stop - start):
                if not self.forwards.replays:
                    raise
                self.forwards.give_up(NO_ROOM)
            rest = [[work for work in pack if id(work) not in done] for pack in packs]
            return [pack for pack in rest if pack]
        return []

    def _batch(self, packs: Sequence[Pack], start: int, stop: int, add: Add, after_cell: AfterCell) -> None:
        began = time.perf_counter()
        arguments, targets = self.batches.between(start, stop)
        rows = {pack[0].row.name: pack[0].row for pack in packs}
        batch = self.forwards.open(arguments, list(rows.values()))
        examples = float(stop - start)
        shared = (time.perf_counter() - began) / sum(map(len, packs))
        waiting: list[_Waiting] = []
        try:
            for pack in packs:
                for counted in self._counted(batch, pack, start, stop, targets):
                    row = (examples, examples if counted.full else 0.0, shared + counted.each)
                    waiting += [
                        (work, numbers, row) for work, numbers in zip(counted.works, counted.numbers, strict=True)
                    ]
                    if self._at_once:
                        _hand_over(waiting, add)
                    for work in counted.works:
                        after_cell(work, stop)
        finally:
            # One transfer for all of them: until here a GPU need not wait for the host.
            _hand_over(waiting, add, began)

    def _counted(self, batch: Batch, pack: Pack, start: int, stop: int, targets: Any) -> Iterator["_Counted"]:
        """The cells of a pack whose values can be had, together or one by one."""
        began = time.perf_counter()
        loaded: list[tuple[Work, Variant]] = []
        for work in pack:
            if work.failure is not None:
                continue  # since an earlier batch: what is counted of a cell has no gaps
            with self._costing_only(work):
                loaded.append((work, work.load()))
        trained = self.baseline.prediction[start:stop], self.baseline.wrong[start:stop]
        works = [work for work, _ in loaded]
        if (
            len(loaded) > 1
            and (outcome := self._folded(batch, [variant for _, variant in loaded], targets, stop - start)) is not None
        ):
            yield _Counted(works, count(outcome, *trained), (time.perf_counter() - began) / len(works))
            return
        loading = (time.perf_counter() - began) / max(1, len(loaded))
        for work, variant in loaded:
            began, reason = time.perf_counter(), ""
            with self._costing_only(work):
                output, reason = batch.output(variant)
            work.reason = reason or work.reason
            if work.failure is None:  # who judges is the caller, whose errors are for the caller
                numbers = count(self._judge(output, targets), *trained)
                yield _Counted([work], numbers, loading + time.perf_counter() - began, full=bool(reason))

    @contextmanager
    def _costing_only(self, work: Work) -> Iterator[None]:
        """What raises inside costs this cell and no other: damaged values, or a network whose code refuses them.

        Not where it says nothing of this cell: memory that does not suffice, a cancel, weights that could not be put
        back, a network that does not run with its trained weights either.
        """
        try:
            yield
        except (CancelledError, RestoreError):
            raise
        except LyrxError as error:
            work.failure = error
        except Exception as error:
            if out_of_memory(error) or not self.forwards.works():
                raise
            said = inert(f"{type(error).__name__}: {error}")
            work.failure = NetworkFailedError(f"the network fails with {work.name or work.row.name}: {said}")

    def _folded(self, batch: Batch, variants: Sequence[Variant], targets: Any, examples: int) -> Outcome | None:
        """What became of the examples of several variants, behind one another; None where that is not to be known."""
        output = batch.outputs(variants)
        if output is None:
            return None
        try:
            tensors, build = take_apart(targets)
        except OpaqueError:
            return None
        repeated = [tensor.repeat(len(variants), *[1] * (tensor.dim() - 1)) for tensor in tensors]
        try:
            if getattr(self._judge, "apart", False):
                outcome = self._judged_apart(output, targets, len(variants))
            else:
                outcome = self._judge(output, build(repeated))
        except Exception:  # one by one it will be seen whose fault that is
            return None
        return outcome if len(outcome.wrong) == len(variants) * examples else None

    def _judged_apart(self, output: Any, targets: Any, variants: int) -> Outcome:
        """By somebody's function, which may look from one example to the next."""
        tensors, build = take_apart(output)
        parts = zip(*(tensor.chunk(variants) for tensor in tensors), strict=True)
        outcomes = [self._judge(build(part), targets) for part in parts]
        return Outcome(*map(torch.cat, zip(*((one.prediction, one.wrong, one.loss) for one in outcomes), strict=True)))


_COUNTED = 8
"""Numbers of a cell in a batch: examples, those that were not replayed, seconds, the five of :func:`count`."""

CHECKED = 8
"""Examples on which replays are compared with full forwards before they are trusted."""


_Waiting = tuple[Work, Tensor, tuple[float, float, float]]


@dataclass(frozen=True)
class _Counted:
    """Cells on a batch."""

    works: Sequence[Work]
    numbers: Tensor
    """float64[cell, 5], on the device; see :func:`count`."""
    each: float
    """Seconds that a cell took; on a GPU, seconds to ask for it."""
    full: bool = False
    """Whether they were not replayed."""


def _places(edges: Sequence[int], unit: Unit) -> list[int]:
    """Of the cells of a unit of packs, where pack i holds the cells edges[i] to edges[i + 1]."""
    return [place for pack in unit.cells for place in range(edges[pack], edges[pack + 1])]


def _hand_over(waiting: list[_Waiting], add: Add, began: float | None = None) -> None:
    """Count what was computed.

    `began`: when, for numbers that a GPU was only asked for. That they are there is known now, and the time it took is
    theirs: each has the share of it that asking for it took of all asking.
    """
    if not waiting:
        return
    numbers = torch.stack([numbers for _, numbers, _ in waiting]).cpu().numpy()
    asked = sum(seconds for _, _, (_, _, seconds) in waiting)
    longer = 1.0 if began is None or not asked else (time.perf_counter() - began) / asked
    for (work, _, (examples, full, seconds)), row in zip(waiting, numbers, strict=True):
        add(work, np.array([examples, full, seconds * longer, *row]))
    waiting.clear()
