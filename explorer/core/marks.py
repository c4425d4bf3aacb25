"""What a place of a heatmap looks like when it is not simply a number: marks that need no colour."""

from dataclasses import dataclass
from enum import Enum

from ...store import REINITIALISE
from .picture import METRICS, Metric, Picture


class State(Enum):
    """The state of one place (a layer and a column, all draws together)."""

    NONE = "none"
    """There is no such cell: the whole network is re-initialised only, and only such a layer has a distance."""
    UNAVAILABLE = "unavailable"
    """There can be none: an imported checkpoint lacks this layer."""
    MISSING = "missing"
    ESTIMATE = "estimate"
    """Not all examples were seen, or not all draws made: the number will still move."""
    DONE = "done"
    """Exact: all draws on all examples."""
    DAMAGED = "damaged"
    QUEUED = "queued"
    RUNNING = "running"
    FAILED = "failed"


MARKS = {
    State.NONE: "",
    State.UNAVAILABLE: "–",
    State.MISSING: "·",
    State.ESTIMATE: "~",
    State.DAMAGED: "×",
    State.QUEUED: "○",
    State.RUNNING: "▶",
    State.FAILED: "!",
}
"""The mark of each state; DONE has none, it shows its number. ESTIMATE goes in front of the number."""

WORDS = {
    State.MISSING: "not measured",
    State.ESTIMATE: "estimate",
    State.DAMAGED: "damaged",
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.FAILED: "failed",
    State.UNAVAILABLE: "not available",
}


@dataclass(frozen=True)
class Place:
    """One place of a heatmap, ready to be drawn."""

    state: State
    value: float | None = None
    progress: float | None = None
    """Of a running cell: the share of its examples seen, 0..1."""
    spread: float | None = None
    """Standard deviation over the draws, in the value's unit."""

    @property
    def estimate(self) -> bool:
        """Whether its number will still move."""
        return self.state is State.ESTIMATE

    def text(self, metric: str | Metric, width: int) -> str:
        """What to write into `width` characters: the number, or the state's mark."""
        told = METRICS[metric] if isinstance(metric, str) else metric
        if self.state is State.RUNNING and self.progress is not None and width >= 4:
            return f"{MARKS[State.RUNNING]}{100 * self.progress:.0f}%"[:width]
        if self.value is None:
            return MARKS.get(self.state, "")
        mark = MARKS[State.ESTIMATE] if self.estimate else ""
        if self.spread is not None and width >= 10 and told.fraction:
            spread = f"±{100 * self.spread:.1f}"
            return f"{mark}{told.text(self.value, width - len(mark) - len(spread))}{spread}"
        if told.name == "verdict":
            # With and without the mark the same: all are words, or all are letters.
            return mark + told.text(self.value, width - len(MARKS[State.ESTIMATE]))
        return mark + told.text(self.value, width - len(mark))


def place(picture: Picture, metric: str, layer: int | None, column: int) -> Place:
    """The place as the store knows it."""
    distance = metric in ("l2", "linf")
    reinitialised = picture.columns[column].kind == REINITIALISE
    if (distance and layer is None) or ((distance or layer is None) and not reinitialised):
        return Place(State.NONE)
    if metric == "verdict" and layer is None:
        return Place(State.NONE)
    if picture.unavailable(layer, column, metric):
        return Place(State.UNAVAILABLE)
    value = picture.value(metric, layer, column)
    if distance:
        return Place(State.MISSING if value is None else State.DONE, value)
    cell = picture.cell(layer, column)
    if cell is None:
        return Place(State.MISSING)
    if cell.damaged:
        return Place(State.DAMAGED)
    state = State.DONE if cell.complete and cell.exact else State.ESTIMATE
    return Place(state, value, spread=cell.spread if metric == "error" else None)
