"""What `run_batch` says while it works. Whoever shows it (a progress bar, a log) gets these and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass

from ..store import EpochMetrics, Run


@dataclass(frozen=True)
class RunOpened:
    """A run is about to be worked on."""

    run: str
    created: bool
    epochs_done: int
    epochs: int
    device: str
    processes: int
    skipped: tuple[str, ...]
    """What the probe's granularity leaves out, with reasons."""


@dataclass(frozen=True)
class TrainProgress:
    """Within an epoch: a share 0..1 of it is done."""

    run: str
    epoch: int
    epochs: int
    share: float


@dataclass(frozen=True)
class EpochCommitted:
    """An epoch's numbers (and its checkpoint, if it keeps one) are in the store."""

    run: str
    epochs: int
    metrics: EpochMetrics
    checkpoint: bool
    task: str = "classification"
    """Of the data: what an error is the share of."""


@dataclass(frozen=True)
class WeightsRead:
    """Weights from a file are in the run."""

    run: str
    checkpoint: str
    """Its number, or 'start': what training begins with."""
    file: str
    absent: tuple[str, ...]
    """Tensors that the file has not. They have no such checkpoint; at the start they are fresh."""
    notes: tuple[str, ...]
    test_error: float
    """Of the whole network, NaN where it was not measured."""


@dataclass(frozen=True)
class ProbeOpened:
    """Probing begins: `todo` of `total` cells are missing."""

    run: str
    probe: str
    todo: int
    total: int


@dataclass(frozen=True)
class BaselineProgress:
    """The trained network, with which all cells are compared, is being run on all examples."""

    run: str
    probe: str
    seen: int
    of: int


@dataclass(frozen=True)
class LookProgress:
    """Within a look that takes long: the picture as it is committed now and then, until the look has ended."""

    run: str
    probe: str
    seen: int
    """Examples that the cell last at work has seen."""
    of: int
    todo: int
    seconds: float
    """Since the probe was opened."""
    share: float
    """Of the work that is done, 0..1, as far as it is known."""


@dataclass(frozen=True)
class PictureSharpened:
    """A look has ended: some cells have seen more examples. The first one shows the whole picture."""

    run: str
    probe: str
    round: int
    """1 for the first look."""
    seen: int
    """Examples that the cells of this look have seen."""
    of: int
    cells: int
    """Cells in this look."""
    finished: int
    todo: int
    """`finished` of `todo` cells need no more examples."""
    decided: int
    """Cells that are critical or robust with certainty."""
    seconds: float
    """Since the probe was opened."""
    share: float = 0.0
    """Of the work that is done, 0..1."""


@dataclass(frozen=True)
class LayerFellBack:
    """Cells of a layer are computed by full forwards; `kind` '' stands for every kind of intervention."""

    run: str
    layer: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Noted:
    """What to know of the data (which files are which half, how examples are kept, their batches) or the arithmetic."""

    run: str
    note: str


@dataclass(frozen=True)
class RunClosed:
    """Everything the spec asks for is in the store. `worked` is False when it was there already."""

    run: Run
    probe: str
    worked: bool
    seconds: float


Event = (
    RunOpened
    | TrainProgress
    | EpochCommitted
    | WeightsRead
    | ProbeOpened
    | BaselineProgress
    | LookProgress
    | PictureSharpened
    | LayerFellBack
    | Noted
    | RunClosed
)
Observer = Callable[[Event], None]
