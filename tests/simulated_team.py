"""A team of processes that exist on paper only: an exact run by the real `Sweep` and `cut`, with measured costs.

Nothing is computed.  Each process takes the next unit of the queue when it has finished the one before, and a unit
takes as long as its recording and its replays were measured to take.  What is counted is drawn at random beforehand.
"""

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from lyrx.engine.forwards import Row
from lyrx.engine.memory import BatchSize
from lyrx.engine.sharing import Part, cut
from lyrx.engine.sweep import Sweep, Work
from lyrx.engine.tallies import Baseline
from lyrx.store.stopping import Rule

COSTS = Path(__file__).parent / "benchmarks" / "resnet18_costs.json"


@dataclass(frozen=True)
class RowCost:
    """Seconds an example."""

    name: str
    record: float
    """Of the recording, up to where this row begins."""
    replay: float
    """Of one cell of this row."""


@dataclass(frozen=True)
class Costs:
    """What a probe's pieces take, as measured."""

    machine: str
    batch_size: int
    forward: float
    """Seconds an example of a plain forward; the whole network's cells take that."""
    rows: tuple[RowCost, ...]

    @classmethod
    def read(cls, path: Path = COSTS) -> "Costs":
        values = json.loads(path.read_text())
        return cls(**{**values, "rows": tuple(RowCost(**row) for row in values["rows"])})

    def write(self, path: Path = COSTS) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True)
class Lags:
    """Seconds that speaking with each other takes."""

    take: float = 0.001
    """To take a unit and to deliver the one before (measured: below 0.0005 for 40 kB)."""
    hear: float = 0.025
    """Until a process that waits for the last unit has heard of it, at most (it looks every 0.02)."""


class SimulatedTeam:
    """Processes of given speeds (1.0: as measured), as the sharing of a simulated sweep."""

    rank, size = 0, 2  # more than one: the sweep shares its looks

    def __init__(self, costs: Costs, total: int, speeds: Sequence[float], lags: Lags | None = None):
        self.costs, self.total, self.speeds = costs, total, speeds
        self.lags = lags or (Lags() if len(speeds) > 1 else Lags(0, 0))
        self.now = 0.0
        self.busy = [0.0] * len(speeds)
        self.units = [0] * len(speeds)
        self.recording = 0.0
        self.looks: list[tuple[int, int, int, float]] = []
        self.group: Sequence[Work] = ()
        self._by_row = {row.name: row for row in costs.rows}

    def parts(self, spans: Sequence[tuple[int, int]], paces: Sequence[float], compute: Any) -> Iterator[Part]:
        began, group = self.now, self.group
        free = [(self.now, rank) for rank in range(len(self.speeds))]
        ends = self.now
        for unit in cut(spans, paces, len(self.speeds)):
            now, rank = heapq.heappop(free)
            works = [group[index] for index in unit.cells]
            recording = max(self._cost(work)[0] for work in works) * (unit.stop - unit.start)
            seconds = [self._cost(work)[1] * (unit.stop - unit.start) for work in works]
            took = (recording + sum(seconds)) / self.speeds[rank] + self.lags.take
            self.recording += recording
            self.busy[rank] += took
            self.units[rank] += 1
            ends = max(ends, now + took)
            heapq.heappush(free, (now + took, rank))
            shared = recording / len(works)
            rows = [
                self._counts(work, unit.start, unit.stop, (shared + own) / self.speeds[rank])
                for work, own in zip(works, seconds, strict=True)
            ]
            yield Part(unit, np.array(rows), {"batch_size": 10**9, "failures": {}, "reasons": {}, "fallbacks": []})
        self.now = ends + self.lags.hear
        self.looks.append((spans[0][0], spans[-1][1], len(group), self.now - began))

    def _cost(self, work: Work) -> tuple[float, float]:
        if work.kind == "network":
            return 0.0, self.costs.forward
        row = self._by_row[work.row.name]
        return row.record, row.replay

    def _counts(self, work: Work, start: int, stop: int, seconds: float) -> list[float]:
        wrong, worse, better = (sums[stop] - sums[start] for sums in work.key)
        return [stop - start, 0, seconds, wrong, worse, better, stop - start - worse - better, wrong]


class _Batches:
    """So many examples that nobody looks at."""

    def __init__(self, total: int):
        self._total = total

    def __len__(self) -> int:
        return self._total

    def between(self, start: int, stop: int) -> tuple[Any, Any]:
        return None, None


class _Sweep(Sweep):
    def _share(self, packs: Sequence[Sequence[Work]], *rest: Any) -> None:
        self._sharing.group = [work for (work,) in packs]  # type: ignore[attr-defined]
        super()._share(packs, *rest)


def simulate(
    costs: Costs, total: int, team: SimulatedTeam, *, exact: bool = True, only: slice | None = None
) -> SimulatedTeam:
    """A run on `total` examples of every row at ten columns (nine, some critical, and three draws), to its end."""
    generator = np.random.default_rng(0)
    base = generator.random(total) < 0.07
    errors = (0.9, 0.9, 0.9, 0.85, 0.4, 0.12, 0.11, 0.09, 0.075, 0.07, 0.07, 0.07)
    depths = {row.name: place for place, row in enumerate(costs.rows)}
    works = []
    for name in [*depths, "whole network"]:
        network = name not in depths
        for error in errors[3:] if network else errors:
            flips = generator.random(total) < max(0.0, error - 0.07) / 0.93
            wrong, better = base | flips, base & (generator.random(total) < 0.1)
            wrong = wrong & ~better
            sums = tuple(np.concatenate([[0], np.cumsum(x)]) for x in (wrong, wrong & ~base, base & ~wrong))
            works.append(
                Work(sums, Row(name, ()), "network" if network else "reinitialise", load=lambda: None)  # type: ignore[arg-type, return-value]
            )
    forwards = SimpleNamespace(
        prepare=lambda arguments: None,
        depth=lambda row: 5 * depths.get(row.name, 0),
        fallbacks={},
        most_folded=lambda examples, batch_size: 1,
    )
    baseline = Baseline(torch.zeros(total, dtype=torch.int64), torch.from_numpy(base), 0.1)
    sweep = _Sweep(forwards, _Batches(total), baseline, Rule(exact=exact), BatchSize(costs.batch_size), sharing=team)  # type: ignore[arg-type]
    for _ in sweep.run(works[only] if only else works):
        pass
    return team


def efficiency(costs: Costs, total: int, speeds: Sequence[float], *, exact: bool = True) -> tuple[float, SimulatedTeam]:
    """(time of one process) / (the others' speeds together x their time), and how they fared."""
    alone = simulate(costs, total, SimulatedTeam(costs, total, [1.0]), exact=exact)
    team = simulate(costs, total, SimulatedTeam(costs, total, speeds), exact=exact)
    return alone.now / (sum(speeds) * team.now), team
