"""A line of the table of runs: what is known of a run, and in what state it therefore is. Plain values, no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...store import inert
from ...store.run import Status

Kind = Literal["unread", "training", "probing", "stalled", "failed", "interrupted", "complete"]

ORDER: Sequence[Kind] = ("training", "probing", "stalled", "failed", "interrupted", "complete", "unread")
"""As the state is sorted: what is alive first, then what needs somebody."""

MARKS: dict[Kind, tuple[str, str]] = {
    "training": ("◐", "accent"),
    "probing": ("◑", "working"),
    "stalled": ("◌", "alarm"),
    "failed": ("✗", "alarm"),
    "interrupted": ("○", "muted"),
    "complete": ("●", "good"),
    "unread": ("·", "faint"),
}
"""Each state's mark and tone."""

_PATIENCE = {"training": 600.0, "first": 3600.0, "probing": 1800.0}
"""Seconds without a commit before work counts as stalled: training (or three epochs, if they take longer), before its
first epoch has ended, and probing, whose trained network must first go over all data."""


@dataclass(frozen=True)
class RunRow:
    """One line of the table of runs, as last read."""

    name: str
    model: str
    data: str
    status: Status | None
    """None: not read yet."""
    error: float | None
    """Test error after the last finished epoch, 0..1."""
    epoch: int | None
    """The last finished epoch."""
    epochs: int
    cells: int
    """Committed."""
    exact: int
    """Of these, those that saw all examples."""
    wanted: int
    layers: int = 0
    checkpoints: int = 0
    """Committed."""
    planned: int = 0
    """Checkpoints that the run is to have."""
    created: float = 0.0
    """Seconds since 1970."""
    open: int = 0
    """Cells that need more examples, those not committed included."""
    touched: float = 0.0
    """When something was last committed, or its writer began (seconds since 1970)."""
    epoch_seconds: float | None = None
    """How long the last epoch took."""
    trained: bool = False
    """Whether the final checkpoint is committed."""
    failure: str = ""
    """Why the last work on it ended in an error."""
    writer: str = ""
    """Who writes it, in words."""


@dataclass(frozen=True)
class Table:
    """The runs of a store, and what is wrong with those that cannot be read."""

    rows: tuple[RunRow, ...]
    """In order of creation."""
    problems: tuple[str, ...] = ()
    unread: int = 0
    """Runs whose state is still to be read, or to be checked."""


def patience(row: RunRow) -> float:
    """Seconds without a commit after which a run that says it is at work counts as stalled."""
    if row.status == "probing":
        return _PATIENCE["probing"]
    if not row.epoch or row.epoch_seconds is None:
        return _PATIENCE["first"]
    return max(_PATIENCE["training"], 3 * row.epoch_seconds)


def kind_of(row: RunRow, now: float) -> Kind:
    """The state of a run at the moment `now` (seconds since 1970).

    Stalled: a live process holds it, and nothing was committed for longer than :func:`patience`.
    """
    if row.status is None:
        return "unread"
    if row.status in ("training", "probing"):
        return "stalled" if now - row.touched > patience(row) else row.status
    # What failed needs somebody, also where it was a further probe of a run that has a whole one.
    return "failed" if row.failure and (row.status == "interrupted" or row.open) else row.status


def share(row: RunRow) -> float:
    """How far the training or, after it, the probe has come, 0..1."""
    if not row.trained:
        return min(1.0, (row.epoch or 0) / max(1, row.epochs))
    return (row.wanted - row.open) / max(1, row.wanted)


def state_words(row: RunRow, now: float) -> list[tuple[str, str]]:
    """The run's state as (mark and word, what else there is to say), the longest way to say it first, the mark last."""
    kind = kind_of(row, now)
    mark = MARKS[kind][0]
    percent = f"{int(100 * share(row))} %"
    match kind:
        case "unread":
            words = [("", "…")]
        case "training":
            epochs = f"epoch {row.epoch or 0}/{row.epochs}"
            words = [("training", f" {epochs}, {percent}"), ("training", f" {percent}"), ("", percent)]
        case "probing":
            words = [("probing", f" {percent}"), ("", percent)]
        case "stalled":
            silent = f"{span(now - row.touched)} silent"
            words = [
                ("stalled", f" at {percent}, {silent}"),
                ("stalled", f" {percent}"),
                ("stalled", ""),
                ("", percent),
            ]
        case "failed":
            words = [("failed", f" {inert(' '.join(row.failure.split()))}"), ("failed", f" {percent}"), ("failed", "")]
        case "interrupted":
            words = [("interrupted", f" {percent}"), ("interrupted", ""), ("", percent)]
        case _ if row.open:
            words = [("complete", f", further probe {percent}"), ("complete", "")]
        case _:
            rest = f", {int(100 * row.exact / row.wanted)} % exact" if 0 < row.exact < row.wanted else ""
            words = [("complete", rest), ("complete", "")]
    return [*((f"{mark} {word}", rest) for word, rest in words), (mark, "")]


def span(seconds: float) -> str:
    """A length of time in one unit: '42 s', '5 min', '3 h', '12 d', '2 y'."""
    seconds = max(0.0, seconds)
    for unit, size, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48), ("d", 86400, 730)):
        if seconds < most * size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds / (365.25 * 86400))} y"
