"""Which layer of one run belongs to which of another, and which column to which: by name and by label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...store import Column, inert
from .picture import Picture

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What the runs that are compared are called, in their order. More are not compared at once."""


def only(owners: Sequence[bool]) -> str:
    """Which of the runs have something, to be said behind its name; nothing if all do."""
    letters = [letter for letter, has in zip(LETTERS, owners, strict=False) if has]
    return "" if all(owners) else f" (only {', '.join(letters)})"


@dataclass(frozen=True)
class Line:
    """A layer as it is in each of the runs."""

    name: str
    layers: tuple[int | None, ...]
    """Its index in each run's probe; None where the run has no such layer."""
    joint: bool = False
    """Several layers reset together."""

    @property
    def common(self) -> bool:
        """Whether every run has it."""
        return None not in self.layers

    @property
    def title(self) -> str:
        """Its name, and behind it which runs have it, if not all do. Harmless to show."""
        return inert(self.name) + only([layer is not None for layer in self.layers])


@dataclass(frozen=True)
class Alignment:
    """Rows and columns that several pictures are shown in."""

    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    places: tuple[tuple[int | None, ...], ...]
    """Of each column: its index in each run's probe, None where the run has no such column."""
    left_out: tuple[str, ...] = ()
    """Labels of the columns that some runs have and others lack, where these are not shown."""

    @property
    def common_lines(self) -> tuple[Line, ...]:
        """The layers that every run has."""
        return tuple(line for line in self.lines if line.common)

    @property
    def common_columns(self) -> tuple[int, ...]:
        """The columns that every run has."""
        return tuple(index for index, found in enumerate(self.places) if None not in found)

    def column(self, label: str | None) -> int | None:
        """The column of this label, or None."""
        return next((index for index, column in enumerate(self.columns) if column.label == label), None)

    def problem(self) -> str:
        """Why there is nothing to compare, or nothing."""
        if not self.common_lines:
            return "these runs have no layer in common: layers are compared by name."
        if not self.common_columns:
            return "these runs have no column in common: columns are compared by label (random, 0, 8, noise:0.1 …)."
        return ""


def align(pictures: Sequence[Picture], *, every_column: bool = False) -> Alignment:
    """Bring layers of equal names and columns of equal labels together.

    All layers are kept, in an order in which each run's own order is kept where the runs agree.  Columns are those
    that all runs have, or with `every_column` those that any has.
    """
    known = [{layer.name: index for index, layer in enumerate(picture.probe.layers)} for picture in pictures]
    lines = []
    for name in merged(picture.layer_names for picture in pictures):
        found = tuple(layers.get(name) for layers in known)
        joint = any(
            bool(picture.probe.layers[layer].joint)
            for picture, layer in zip(pictures, found, strict=True)
            if layer is not None
        )
        lines.append(Line(name, found, joint))
    labels = [{column.label: index for index, column in enumerate(picture.columns)} for picture in pictures]
    columns: dict[str, Column] = {}
    for picture in pictures:
        for column in picture.columns:
            columns.setdefault(column.label, column)
    # In the order in which the columns of one run stand.
    ordered = sorted(columns.values(), key=lambda column: column.place)
    common = [column for column in ordered if all(column.label in found for found in labels)]
    shown = ordered if every_column else common
    return Alignment(
        tuple(lines),
        tuple(shown),
        tuple(tuple(found.get(column.label) for found in labels) for column in shown),
        () if every_column else tuple(column.label for column in ordered if column not in common),
    )


def merged(sequences: Iterable[Sequence[str]]) -> list[str]:
    """All names, each once: the first sequence, and what the others have besides put behind what is before it there."""
    found: list[str] = []
    for sequence in sequences:
        known = set(found)
        behind: dict[str | None, list[str]] = {}
        last: str | None = None
        for name in sequence:
            if name in known:
                last = name
            else:
                known.add(name)
                behind.setdefault(last, []).append(name)
        old, found = found, list(behind.get(None, ()))
        for name in old:
            found += [name, *behind.get(name, ())]
    return found
