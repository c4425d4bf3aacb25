"""How a person looks at a heatmap and at the table of runs: what is shown, in which order, and where the cursor stands.

Plain values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from .query import KEYS

Order = Literal["depth", "criticality"]


@dataclass(frozen=True)
class HeatView:
    """One look at one run. Layers and columns are named, so that it fits the next picture of the run too."""

    metric: str = "error"
    """A name in METRICS."""
    ramp: str = ""
    """A colour scale's name; empty: the first one."""
    digits: bool = True
    overview: bool = False
    """Two layers a line, in half blocks."""
    order: Order = "depth"
    folded: frozenset[str] = frozenset()
    """Keys of the stages and blocks that are one row."""
    marked: frozenset[str] = frozenset()
    """Names of the layers marked for a joint reset."""
    layer: str | None = None
    """Key of the row under the cursor; None: the first one."""
    column: str | None = None
    """Label of the column under the cursor; None: the first that is re-initialised."""
    probe: str | None = None
    """Id of the probe shown; None: the newest."""
    figure: str = ""
    """Which figure stands beside the cell; empty: the first one."""

    def with_(self, **changes: Any) -> "HeatView":
        """The same with other values."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain values, to be kept in a file."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in found.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "HeatView":
        """What :meth:`to_json` made, as far as it can be understood: a view is a comfort, never an obstacle."""
        plain = cls()
        kept: dict[str, Any] = {}
        for field in fields(cls):
            found, usual = value.get(field.name), getattr(plain, field.name)
            if isinstance(usual, frozenset):
                if isinstance(found, list) and all(isinstance(one, str) for one in found):
                    kept[field.name] = frozenset(found)
            elif isinstance(usual, bool):
                if isinstance(found, bool):
                    kept[field.name] = found
            elif isinstance(found, str):
                kept[field.name] = found
        if kept.get("order") not in get_args(Order):
            kept.pop("order", None)
        return cls(**kept)


_LONGEST_FILTER = 1_000
"""Characters. A longer one was not typed."""


@dataclass(frozen=True)
class TableView:
    """One look at the runs of a store."""

    filter: str = ""
    """What was typed after `/`."""
    sort: str = "age"
    """The column sorted by, one of `core.query.KEYS`."""
    descending: bool = False
    run: str | None = None
    """The run under the cursor."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, to be kept in a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, value: object) -> "TableView":
        """What :meth:`to_json` made, as far as it can be understood."""
        if not isinstance(value, Mapping):
            return cls()
        text, sort, descending, run = (value.get(field.name) for field in fields(cls))
        if not isinstance(text, str) or not text.isprintable() or len(text) > _LONGEST_FILTER:
            text = cls.filter
        return cls(
            text,
            sort if isinstance(sort, str) and sort in KEYS else cls.sort,
            descending is True,
            run if isinstance(run, str) else None,
        )
