"""What a probe has come to: looks, the cells that still need examples, and what is committed of a cell, when."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..store import Cell, Estimate, Probe
from .mean_intervals import START, Path
from .sweep import Work
from .tallies import Tally

Row = tuple[Cell, Estimate, Mapping[str, Any]]

COMMIT_EVERY = 1.0
"""Seconds between two commits of cells that are still sharpening, and at least so many times what a commit takes:"""
_COMMIT_SHARE = 20


@dataclass(frozen=True)
class Look:
    """What is committed after a look at some more examples."""

    cells: tuple[Cell, ...]
    """Those that it took further."""
    seen: int
    finished: int
    todo: int
    """`finished` of `todo` cells need no more examples."""
    decided: int
    share: float
    """Of the work that is done, 0..1."""
    ended: tuple[tuple[Cell, float], ...]
    """Those that need no more examples since this look, and the seconds that each took."""


class Writer:
    """Commits cells as they sharpen: not so often that it costs time, and the last state of each for good."""

    def __init__(self, probe: Probe, make: Callable[[Work], Row], rank: int, size: int, every: float = COMMIT_EVERY):
        """`make` gives what is committed of a cell; this process is the one at place `rank` of `size`."""
        self._every = every
        self._probe, self._make, self._rank, self._size = probe, make, rank, size
        self._waiting: dict[Cell, Work] = {}
        self._places: dict[Cell, int] = {}
        self._loose: dict[Cell, Work] = {}  # committed, and not yet for good
        self._last, self._took = time.perf_counter(), 0.0
        self.written = False

    def changed(self, work: Work) -> None:
        # Cells belong to ranks by their place in the plan: each process writes whole rows of its own.
        place = self._places.setdefault(work.key, len(self._places))
        if place % self._size == self._rank and work.tally.seen:
            self._waiting[work.key] = work

    @property
    def waiting(self) -> list[Work]:
        return list(self._waiting.values())

    @property
    def due(self) -> bool:
        return time.perf_counter() - self._last > max(self._every, _COMMIT_SHARE * self._took)

    def trained(self, cells: Sequence[Cell], estimate: Estimate) -> None:
        """Cells that need no measurement: they put back what is there."""
        if self._rank == 0 and cells:
            known = self._probe.results().estimates
            rows = [(cell, estimate, {"evaluator": "baseline"}) for cell in cells if known.get(cell) != estimate]
            self._probe.write_many(rows)

    def write(self, *, durable: bool) -> None:
        began = time.perf_counter()
        works = {**(self._loose if durable else {}), **self._waiting}
        rows = [self._make(work) for work in works.values()]
        if rows:
            self._probe.write_many(rows, durable=durable)
            self.written = True
        self._loose = {} if durable else {**self._loose, **self._waiting}
        self._waiting.clear()
        self._last = time.perf_counter()
        self._took = self._last - began


def estimate_of(work: Work, total: int, parts: int = 1) -> Estimate:
    """A cell's numbers, on `total` examples with `parts` predictions each."""
    tally = work.tally
    exact = tally.seen == total
    error = tally.wrong / (tally.seen * parts) if exact else work.error
    return Estimate(
        error=error,
        low=error if exact else work.low,
        high=error if exact else work.high,
        loss=tally.loss / tally.seen,
        agreement=tally.agreeing / (tally.seen * parts),
        n=tally.seen,
        total=total,
    )


def facts_of(work: Work, device: str, seed: int | None) -> dict[str, object]:
    """What goes into a cell's commit record beside its numbers."""
    tally = work.tally
    full = tally.full + work.full
    found: dict[str, object] = {
        "seconds": tally.before + work.seconds,
        "device": device,
        "evaluator": "full" if full else "replay",
        "wrong": tally.wrong,
        "worse": tally.worse,
        "better": tally.better,
        "agreeing": tally.agreeing,
        "full": full,
        "loss_sum": tally.loss if math.isfinite(tally.loss) else None,
    }
    if tally.path != START:
        found["path"] = [tally.path.variation, tally.path.weight, tally.path.pull]
    if reason := work.reason or tally.reason:
        found["reason"] = reason
    if seed is not None:
        found["seed"] = seed
    return found


def tally_of(record: Mapping[str, Any] | None, estimate: Estimate | None) -> Tally:
    """The counts behind a committed estimate."""
    if estimate is None or record is None or "worse" not in record:
        return Tally()
    loss = record.get("loss_sum")
    return Tally(
        seen=estimate.n,
        wrong=int(record["wrong"]),
        worse=int(record["worse"]),
        better=int(record["better"]),
        agreeing=int(record["agreeing"]),
        loss=estimate.loss * estimate.n if loss is None else float(loss),
        path=Path(*map(float, record.get("path", ()))),
        before=float(record.get("seconds") or 0.0),
        full=int(record.get("full") or 0),
        reason=str(record.get("reason") or ""),
    )
