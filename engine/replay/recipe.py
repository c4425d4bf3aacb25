"""How to run a network from one moment on: which calls are not carried out again, and what they return instead.

Up to the moment `start` (the first use of a tensor that is going to be replaced) a forward does exactly what the traced
one did.  So a call that was over by then is *skipped*: it returns what it returned, as it was at `start`.  All else is
carried out: the code between calls, calls that are still open at `start`, and everything after it.

In-place operations are what makes this delicate.  A storage that skipped calls hand out is handed out in the state that
the last skipped write left it in.  That is right as long as nothing that is carried out again looks at it before that
write; where something does, or where a skipped call alters or hands out memory that code outside of it has made, that
call is carried out too.  A storage that was freed by `start`, and that nothing carried out looks at before, is not
needed: its tensors keep their shape and hold nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from .trace import Trace

INPUT = -1
"""The snapshot of an input as it is given."""

Snapshot = tuple[int, int]
"""(storage, call): the state of a storage when a call was over; INPUT: before the forward."""


@dataclass(frozen=True)
class Step:
    """A call met before `start`."""

    call: int
    module: nn.Module
    skipped: bool
    leaves: tuple[Snapshot | None, ...] = ()
    """Where each tensor that it returns comes from; None: not needed."""


@dataclass(frozen=True)
class Recipe:
    """How to run from `start` on."""

    start: int
    steps: tuple[Step, ...]
    inputs: tuple[Snapshot, ...]
    """Where each tensor among the forward's arguments comes from."""
    altered: frozenset[Snapshot]
    """What is altered by what is carried out: every run needs a copy of its own."""

    def snapshots(self) -> set[Snapshot]:
        """All that must be recorded, inputs as they are given left out."""
        wanted = {leaf for step in self.steps for leaf in step.leaves if leaf is not None} | set(self.inputs)
        return {snapshot for snapshot in wanted if snapshot[1] != INPUT}

    def skipped(self) -> list[int]:
        return [step.call for step in self.steps if step.skipped]


def compile_recipe(trace: Trace, start: int) -> Recipe:
    """The recipe for running from the event `start` on."""
    refused: set[int] = set()
    while True:
        attempt = _Attempt(trace, start, refused)
        conflicts = attempt.conflicts()
        if not conflicts:
            return attempt.recipe()
        refused |= conflicts


class _Attempt:
    """A choice of calls to skip."""

    def __init__(self, trace: Trace, start: int, refused: set[int]):
        self._trace, self._start = trace, start
        self._order: list[int] = []  # calls met, in order
        self._skipped: set[int] = set()
        self._by: dict[int, int] = {}  # the skipped call that a call belongs to
        index = 0
        while index < len(trace.calls) and trace.calls[index].enter < start:
            call = trace.calls[index]
            self._order.append(index)
            if call.exit < start and not call.opaque and index not in refused:
                self._skipped.add(index)
                self._by.update((inner, index) for inner in range(index, call.last + 1))
                index = call.last
            index += 1
        self._handed: dict[int, int] = {}  # storage: the skipped call that hands it out first
        for index in self._order:
            if index in self._skipped:
                for storage in trace.calls[index].storages:
                    self._handed.setdefault(storage, index)

    def _skipper(self, access: tuple[int, int]) -> int | None:
        """The skipped call that contains an access, or None: it is carried out."""
        time, call = access
        return self._by.get(call) if time < self._start else None

    def conflicts(self) -> set[int]:
        """Skipped calls that must be carried out after all."""
        found: set[int] = set()
        for storage in {*self._handed, *self._written_by_skipped()}:
            memory = self._trace.memory[storage]
            writes = [(access[0], self._skipper(access)) for access in memory.writes]
            given = storage in self._trace.inputs
            if not given and (not writes or writes[0][1] is None):
                # Made by code that is carried out (or a weight, or a constant): what a skipped call does to it, or
                # hands out of it, must happen to that very memory.
                if storage not in self._trace.touched or any(skipper is not None for _, skipper in writes):
                    found |= {skipper for _, skipper in writes if skipper is not None}
                    found |= {i for i in self._skipped if storage in self._trace.calls[i].storages}
                continue
            looks = [time for time, call in memory.reads if self._skipper((time, call)) is None]
            looks += [time for time, skipper in writes if skipper is None]
            first = min(looks, default=self._start)
            found |= {skipper for time, skipper in writes if skipper is not None and time > first}
        return found

    def _written_by_skipped(self) -> Iterable[int]:
        return [
            storage
            for storage, memory in self._trace.memory.items()
            if storage in self._trace.inputs or (memory.writes and self._skipper(memory.writes[0]) is None)
            if any(self._skipper(access) is not None for access in memory.writes)
        ]

    def recipe(self) -> Recipe:
        steps = tuple(self._step(index) for index in self._order)
        inputs = tuple(self._snapshot(storage) for storage in self._trace.inputs)
        used = {leaf for step in steps for leaf in step.leaves if leaf is not None} | set(inputs)
        altered = frozenset(leaf for leaf in used if self._altered(leaf[0]))
        return Recipe(self._start, steps, inputs, altered)

    def _step(self, index: int) -> Step:
        call = self._trace.calls[index]
        if index not in self._skipped:
            return Step(index, call.module, False)
        leaves = tuple(self._snapshot(storage) if self._needed(storage) else None for storage in call.storages)
        return Step(index, call.module, True, leaves)

    def _snapshot(self, storage: int) -> Snapshot:
        """The state after the last skipped write."""
        state = self._handed.get(storage, INPUT)
        if storage in self._trace.inputs:
            state = INPUT
        for access in self._trace.memory[storage].writes:
            skipper = self._skipper(access)
            if skipper is not None:
                state = max(state, skipper)
        return storage, state

    def _needed(self, storage: int) -> bool:
        memory = self._trace.memory[storage]
        if memory.died > self._start:
            return True
        accesses = [*memory.reads, *memory.writes]
        return any(time < self._start and self._skipper((time, call)) is None for time, call in accesses)

    def _altered(self, storage: int) -> bool:
        return any(self._skipper(access) is None for access in self._trace.memory[storage].writes)
