"""What :func:`lyrx.engine.probe` found."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from ..store import Cell, Estimate, ProbeInfo
from ..store.verdict import Verdict, verdict
from .trust import Fallback

if TYPE_CHECKING:
    import xarray

_QUANTITIES = ("error", "low", "high", "loss", "agreement")


@dataclass(frozen=True)
class ProbeResult:
    """Errors of a network with one layer replaced. Arrays are float64[layer, column], fractions 0..1.

    Where a column has several draws, a number is the mean over them; `draws` has each.  What was not measured is NaN.
    """

    info: ProbeInfo
    estimates: Mapping[Cell, Estimate]
    baseline: float
    """The trained network's error on all of the data."""
    baseline_loss: float
    tolerance: float
    fallbacks: tuple[Fallback, ...]
    """What was not replayed, and why."""
    failures: tuple[str, ...] = ()
    """The network's own errors with a layer replaced, layer and column named: such a draw counts as not measured."""
    notes: tuple[str, ...] = ()
    """What else to know of the numbers."""

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.info.layers)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.label for column in self.info.columns)

    @property
    def error(self) -> np.ndarray:
        return self._mean("error")

    @property
    def low(self) -> np.ndarray:
        """Lower ends of the 95 % intervals of the error on this data, given the examples seen."""
        return self._mean("low")

    @property
    def high(self) -> np.ndarray:
        return self._mean("high")

    @property
    def loss(self) -> np.ndarray:
        """Mean cross entropy (or what `loss` gave), nats."""
        return self._mean("loss")

    @property
    def agreement(self) -> np.ndarray:
        """Share of the examples with the trained network's prediction (with `correct`: right or wrong as it is)."""
        return self._mean("agreement")

    @property
    def n(self) -> np.ndarray:
        """int64[layer, column]: examples seen, of the draw that saw least."""
        return np.nan_to_num(np.nanmin(self._all["n"], axis=2, initial=np.inf), posinf=0).astype(np.int64)

    @property
    def total(self) -> int:
        """Examples that there are."""
        return max((estimate.total for estimate in self.estimates.values()), default=0)

    @property
    def draws(self) -> np.ndarray:
        """float64[layer, column, draw]: each draw's error."""
        return self._all["error"]

    @property
    def verdicts(self) -> list[list[Verdict]]:
        """[layer][column]: critical, robust or undecided."""
        return [
            [verdict(low, high, self.baseline, self.tolerance) for low, high in zip(lows, highs, strict=True)]
            for lows, highs in zip(self.low.tolist(), self.high.tolist(), strict=True)
        ]

    def to_json(self) -> str:
        """As `lyrx show --json`, as far as there is no store. How a cell was computed is in `fallbacks` alone."""
        cells = []
        for layer in range(len(self.layers)):
            for column, described in enumerate(self.info.columns):
                if not np.isnan(self.error[layer, column]):
                    cells.append(self._cell(layer, column, described.draws))
        value = {
            "layers": list(self.layers),
            "columns": [column.to_json() for column in self.info.columns],
            "baseline": {"error": self.baseline, "loss": _number(self.baseline_loss), "n": self.total},
            "tolerance": self.tolerance,
            "exact": all(cell["exact"] for cell in cells),
            "granularity": self.info.granularity,
            "cells": cells,
            "fallbacks": [{"layer": one.row, "kind": one.kind, "reason": one.reason} for one in self.fallbacks],
        }
        value |= {name: list(said) for name in ("failures", "notes") if (said := getattr(self, name))}
        return json.dumps(value, indent=2, allow_nan=False)

    def to_xarray(self) -> "xarray.Dataset":
        """A dataset with the dimensions layer, column and draw. Needs the extra `lyrx[xarray]`: raises ImportError."""
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray needs the package xarray: `pip install 'lyrx[xarray]'`.") from error

        coordinates = {"layer": list(self.layers), "column": list(self.columns)}
        variables: dict[str, Any] = {
            name: (("layer", "column", "draw"), self._all[name]) for name in (*_QUANTITIES, "n")
        }
        facts = {"baseline": self.baseline, "tolerance": self.tolerance}
        return xarray.Dataset(variables, coords=coordinates, attrs=facts)

    def _cell(self, layer: int, column: int, draws: int) -> dict[str, Any]:
        value: dict[str, Any] = {"layer": layer, "column": column}
        value |= {name: _number(float(self._mean(name)[layer, column])) for name in _QUANTITIES}
        value["n"] = int(self.n[layer, column])
        known = [one for draw in range(draws) if (one := self.estimates.get(Cell(layer, column, draw))) is not None]
        value["exact"] = len(known) == draws and all(one.exact for one in known)
        value["verdict"] = self.verdicts[layer][column]
        if draws > 1:
            value["spread"] = stdev(one.error for one in known) if len(known) > 1 else None
            value["draws"] = [
                {
                    **{name: _number(float(getattr(one, name))) for name in _QUANTITIES},
                    "n": one.n,
                    "exact": one.exact,
                }
                for one in known
            ]
        return value

    def _mean(self, name: str) -> np.ndarray:
        values = self._all[name]
        known = ~np.isnan(self._all["n"])
        counts = known.sum(axis=2)
        sums = np.where(known, values, 0).sum(axis=2)
        return np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)

    @cached_property
    def _all(self) -> dict[str, np.ndarray]:
        shape = (len(self.info.layers), len(self.info.columns), self.info.draws)
        arrays = {name: np.full(shape, np.nan) for name in (*_QUANTITIES, "n")}
        for cell, estimate in self.estimates.items():
            for name, array in arrays.items():
                array[cell.layer, cell.column, cell.draw] = getattr(estimate, name)
        return arrays


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
