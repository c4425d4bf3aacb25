"""A probe's cells as work: which tensors each replaces, with which values, and how sure its interval must be."""

from collections.abc import Sequence

from torch import Tensor

from ..store import Cell, Column, ProbeInfo, inert
from .forwards import Row, Variant
from .intervals import CONFIDENCE
from .interventions import Interventions
from .renorm import Renormer
from .sweep import Work
from .tallies import Tally
from .variants import Residents


class Cells:
    """The cells of one probe. `rows` are its layers', `network` is the row of the whole network."""

    def __init__(
        self,
        info: ProbeInfo,
        rows: Sequence[Row],
        interventions: Interventions,
        residents: Residents,
        renormer: Renormer | None,
        network: Row | None = None,
    ):
        self._info, self._rows, self._network = info, rows, network
        self._interventions, self._residents, self._renormer = interventions, residents, renormer

    def work(self, cell: Cell, tally: Tally | None = None) -> Work:
        """What is to be done for a cell of which `tally` has been counted."""
        column = self._info.columns[cell.column]
        row = self._network if cell.layer is None else self._rows[cell.layer]
        assert row is not None
        kind = column.kind if cell.layer is not None else "network"
        return Work(
            key=cell,
            row=row,
            kind=kind,
            name=_named(row, column, cell),
            load=lambda: Variant(row, kind, self._residents.get(cell, lambda: self._values(cell))),
            # Bonferroni over the draws: the mean of their intervals' ends then holds the mean of their errors.
            confidence=1 - (1 - CONFIDENCE) / column.draws,
            tally=tally or Tally(),
        )

    def _values(self, cell: Cell) -> dict[str, Tensor]:
        values = self._interventions.values(cell)
        # A whole network brings its own statistics.
        if self._renormer is None or cell.layer is None:
            return values
        return values | self._renormer.statistics(values)


def _named(row: Row, column: Column, cell: Cell) -> str:
    """A cell in a message: its layer, column, and draw if there are several."""
    draw = f", draw {cell.draw + 1} of {column.draws}" if column.draws > 1 else ""
    return f"{inert(row.name)} at '{column.label}'{draw}"
