"""The worker's protocol: JSON lines, requests on its standard input, events on its standard output.

One object a line, UTF-8, told apart by `type`.  Nothing here needs torch: the terminal app and tests speak it too, and
a worker may run at the other end of `ssh host lyrx worker`.

A conversation::

    -> {"type": "probe", "id": "7", "store": "lyrx.zarr", "run": "fcn", "probe": null, "cells": [[0, 1, 0]]}
    <- {"type": "accepted", "id": "7", "cells": 1}
    <- {"type": "device", "device": "cpu", "memory_used": 512000000, "memory_total": 25000000000}
    <- {"type": "baseline", "id": "7", "examples": 4096, "of": 10000}
    <- {"type": "progress", "id": "7", "cell": [0, 1, 0], "done": 0, "total": 1, "examples": 4000, "of": 10000}
    <- {"type": "committed", "id": "7", "cell": [0, 1, 0], "done": 1, "total": 1, "seconds": 0.06}
    <- {"type": "finished", "id": "7", "done": 1, "cancelled": false}

    -> {"type": "plan", "id": "8", "store": "lyrx.zarr", "run": "fcn", "probe": "layer-1f", "joint": [["fc1", "fc2"]]}
    <- {"type": "planned", "id": "8", "probe": "layer-9c"}

`baseline` comes only where the trained network has not been run on all examples yet.
A cell is `[layer, column, draw]`; layer null is the whole network.  Numbers are not sent: they are in the store, and
`committed` says that they can be read there.  A request gets its first look at some examples as soon as it comes; then
all that have not ended take turns, so that their events mix (a plan is carried out at once).  `cancel` takes effect
between two batches of examples, of the baseline too.  After `failed` without a cell the whole request has ended.
`device` and `pace` come now and then during long work.

Versions: 1 knew neither `plan` nor `pace`; it answers what it does not know with `failed` and an empty id.  Whoever
listens leaves out lines that it does not know: a newer worker may say more.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError, model_validator

from ..store import Cell, LyrxError, inert

VERSION = 2
"""Of the protocol. `plan` is understood from 2 on."""

WireCell = tuple[NonNegativeInt | None, NonNegativeInt, NonNegativeInt]


class ProtocolError(LyrxError, ValueError):
    """A line that is no message of this protocol."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProbeRequest(_Message):
    """Measure these cells of this run and commit each to the store.

    Without cells it loads the run's network and data, so that the next request finds them warm.
    """

    type: Literal["probe"] = "probe"
    id: str
    store: str
    run: str
    probe: str | None = None
    """A probe's id or granularity; None: the run's newest."""
    cells: tuple[WireCell, ...]
    again: bool = False
    """Measure also what is committed already."""
    exact: bool = False
    """Go on to the end of the data; else stop as the probe's rule says."""


class PlanRequest(_Message):
    """Make, or find, the probe with other rows than `probe` has and all else alike. Nothing is measured.

    Either `joint` or `granularity`.  Answered by `planned`, or by `failed`.
    """

    type: Literal["plan"] = "plan"
    id: str
    store: str
    run: str
    probe: str | None = None
    """The base: a probe's id or granularity; None: the run's newest."""
    joint: tuple[tuple[str, ...], ...] = ()
    """Rows of the base by their names, those of one group reset together."""
    granularity: Literal["module", "layer", "block"] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "PlanRequest":
        if bool(self.joint) == (self.granularity is not None):
            raise ValueError("needs either joint or granularity")
        return self


class CancelRequest(_Message):
    """Stop the request `id`, or everything asked for so far."""

    type: Literal["cancel"] = "cancel"
    id: str | None = None


class PingRequest(_Message):
    """Answered by `pong` at once, also during a measurement."""

    type: Literal["ping"] = "ping"
    id: str = ""


class QuitRequest(_Message):
    """Cancel everything and end. The end of standard input does the same."""

    type: Literal["quit"] = "quit"


class ReadyEvent(_Message):
    """The first line: the worker has started."""

    type: Literal["ready"] = "ready"
    version: int = VERSION
    pid: int
    lyrx: str


class AcceptedEvent(_Message):
    """The request was understood; `cells` of its cells are to be measured (the others are committed already)."""

    type: Literal["accepted"] = "accepted"
    id: str
    cells: int


class DeviceEvent(_Message):
    """What is measured on, and how full it is, in bytes."""

    type: Literal["device"] = "device"
    device: str
    memory_used: int
    memory_total: int


class BaselineEvent(_Message):
    """Before the first cell: examples on which the trained network is known, with which all cells are compared."""

    type: Literal["baseline"] = "baseline"
    id: str
    examples: int
    of: int


class ProgressEvent(_Message):
    """Examples seen of the cell at work."""

    type: Literal["progress"] = "progress"
    id: str
    cell: WireCell
    done: int
    total: int
    examples: int
    of: int


class PaceEvent(_Message):
    """How much a request has computed: examples, counted once for each cell that saw them since it was begun.

    `of`: what they can come to; cells that are known well enough stop before.
    """

    type: Literal["pace"] = "pace"
    id: str
    examples: int
    of: int


class PlannedEvent(_Message):
    """A plan's probe is in the store, and can be asked for by its id."""

    type: Literal["planned"] = "planned"
    id: str
    probe: str


class CommittedEvent(_Message):
    """A cell can be read from the store."""

    type: Literal["committed"] = "committed"
    id: str
    cell: WireCell
    done: int
    total: int
    seconds: float


class FailedEvent(_Message):
    """A cell, or with `cell` None the whole request, could not be carried out."""

    type: Literal["failed"] = "failed"
    id: str
    cell: WireCell | None = None
    message: str


class FinishedEvent(_Message):
    """The last line about a request that was carried out or cancelled."""

    type: Literal["finished"] = "finished"
    id: str
    done: int
    cancelled: bool


class PongEvent(_Message):
    type: Literal["pong"] = "pong"
    id: str = ""


Request = ProbeRequest | PlanRequest | CancelRequest | PingRequest | QuitRequest
Event = (
    ReadyEvent
    | AcceptedEvent
    | DeviceEvent
    | BaselineEvent
    | ProgressEvent
    | PaceEvent
    | PlannedEvent
    | CommittedEvent
    | FailedEvent
    | FinishedEvent
    | PongEvent
)

_REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="type")])
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def encode(message: Request | Event) -> bytes:
    """One line, newline included."""
    return message.model_dump_json().encode() + b"\n"


def decode_request(line: bytes | str) -> Request:
    """The request in a line. Raises ProtocolError."""
    return _decode(_REQUESTS, line)


def decode_event(line: bytes | str) -> Event:
    """The event in a line. Raises ProtocolError."""
    return _decode(_EVENTS, line)


def _decode(adapter: TypeAdapter, line: bytes | str):
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        shown = inert(line.decode(errors="backslashreplace") if isinstance(line, bytes) else line)
        raise ProtocolError(
            f"not a message of the worker's protocol: {where}: {first['msg']} in {shown[:120]!r}"
        ) from None


def to_wire(cell: Cell) -> WireCell:
    """A store's cell as messages carry it."""
    return (cell.layer, cell.column, cell.draw)


def from_wire(cell: WireCell) -> Cell:
    """A message's cell as the store knows it."""
    return Cell(*cell)
