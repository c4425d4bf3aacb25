"""Columns of a heatmap: the interventions. What is done to a layer, and how it is written."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import LyrxError
from .text import did_you_mean, inert

RERANDOMISE = "rerandomise"
REINITIALISE = "reinitialise"
ZERO = "zero"
NOISE = "noise"
PATH = "path"
SHUFFLE = "shuffle"

DRAWN = (RERANDOMISE, SHUFFLE, NOISE)
"""Kinds that draw random numbers: a layer has a cell for each draw."""

ALLOWED = "random, EPOCH, final, zero, noise:SCALE, path:ALPHA, path:EPOCH:ALPHA, shuffle"
"""How a column may be written. `path:ALPHA` starts at checkpoint 0."""

_KINDS = (*DRAWN, ZERO, PATH, REINITIALISE)
"""In the order in which their columns stand: what is drawn, then what leads to the trained network."""

_EPOCH = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class ColumnError(LyrxError, ValueError):
    """Text that names no column."""


@dataclass(frozen=True)
class Column:
    """One column of a heatmap: an intervention."""

    kind: str
    """'rerandomise', 'reinitialise', 'zero', 'noise', 'path' or 'shuffle'."""
    checkpoint: int | None = None
    """The epoch that a layer is put back to (reinitialise), or that the path to the trained weights starts at."""
    draws: int = 1
    """Cells per layer: one for each draw of random numbers (the kinds of DRAWN)."""
    scale: float | None = None
    """Standard deviation of the noise, as a multiple of a tensor's root mean square."""
    alpha: float | None = None
    """How far along the straight path: 0 is the checkpoint, 1 the trained weights."""

    @property
    def drawn(self) -> bool:
        """Whether random numbers are drawn for it."""
        return self.kind in DRAWN

    @property
    def label(self) -> str:
        """Short name for column heads and coordinates, as :meth:`parse` reads it: 'random', '8', 'noise:0.1'."""
        match self.kind:
            case "rerandomise":
                return "random"
            case "reinitialise":
                return str(self.checkpoint)
            case "noise":
                return f"noise:{_written(self.scale)}"
            case "path":
                start = f"{self.checkpoint}:" if self.checkpoint else ""
                return f"path:{start}{_written(self.alpha)}"
        return self.kind

    @property
    def place(self) -> tuple[int, int, float]:
        """Sorts columns: by kind, then checkpoint, then scale or alpha."""
        return _KINDS.index(self.kind), self.checkpoint or 0, self.scale or self.alpha or 0.0

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"kind": self.kind}
        if self.checkpoint is not None:
            value["checkpoint"] = self.checkpoint
        if self.scale is not None:
            value["scale"] = self.scale
        if self.alpha is not None:
            value["alpha"] = self.alpha
        if self.drawn:
            value["draws"] = self.draws
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Column":
        """Raises ValueError for a kind that is not known."""
        if value["kind"] not in _KINDS:
            raise ValueError(f"unknown kind of column {value['kind']!r}")
        return cls(
            value["kind"], value.get("checkpoint"), value.get("draws", 1), value.get("scale"), value.get("alpha")
        )

    @classmethod
    def parse(cls, text: str, *, draws: int = 1, final: int | None = None) -> "Column":
        """The column that `text` names (see ALLOWED).

        `draws` is how many cells a layer gets where random numbers are drawn, `final` the epoch that is meant by
        'final'.  Raises ColumnError, which quotes the text and says what is allowed.
        """
        word, *parts = text.strip().split(":")
        match word, parts:
            case "random", []:
                return cls(RERANDOMISE, draws=draws)
            case "shuffle", []:
                return cls(SHUFFLE, draws=draws)
            case "zero", []:
                return cls(ZERO)
            case "final", [] if final is not None:
                return cls(REINITIALISE, final)
            case "noise", [scale]:
                return cls(NOISE, draws=draws, scale=_scale(text, scale))
            case "path", [alpha]:
                return cls(PATH, 0, alpha=_alpha(text, alpha))
            case "path", [epoch, alpha] if _EPOCH.fullmatch(epoch):
                return cls(PATH, int(epoch), alpha=_alpha(text, alpha))
            case epoch, [] if _EPOCH.fullmatch(epoch):
                return cls(REINITIALISE, int(epoch))
        known = ["random", "final", "zero", "noise", "path", "shuffle"]
        hint = "" if word in known else did_you_mean(word, known)
        raise ColumnError(f"'{inert(text)}' is no column.{hint} Allowed: {ALLOWED}.")


def _scale(text: str, part: str) -> float:
    value = _number(part)
    if value is None or value == 0:
        raise ColumnError(f"'{inert(text)}': SCALE must be a finite number above 0. Allowed: {ALLOWED}.")
    return value


def _alpha(text: str, part: str) -> float:
    value = _number(part)
    if value is None or value > 1:
        raise ColumnError(f"'{inert(text)}': ALPHA must be a number from 0 to 1. Allowed: {ALLOWED}.")
    return value


def _number(text: str) -> float | None:
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def _written(value: float | None) -> str:
    """The shortest digits that give `value` again: two columns of different numbers never look the same."""
    return repr(float(value or 0)).removesuffix(".0")
