"""The queue of measurements: what was asked for, how far it is, how fast, and how long it will take. Plain values."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from ...store import Cell, ProbeInfo, inert
from .doing import ProbeKey
from .words import deed

WINDOW = 10.0
"""Seconds that a rate is taken over."""

SETTLED = 0.5
"""Seconds before which there is no rate to speak of."""


class Rate:
    """How fast a total grows, over a window that slides along."""

    def __init__(self, window: float = WINDOW):
        self._window = window
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, now: float, total: float) -> None:
        """At `now` (seconds of any clock) the total is this."""
        self._seen.append((now, total))
        while len(self._seen) > 2 and self._seen[1][0] < now - self._window:
            self._seen.popleft()

    def at(self, now: float) -> float | None:
        """A second, None while there is nothing to go by. It falls while nothing is heard."""
        if len(self._seen) < 2:
            return None
        (start, before), (_, total) = self._seen[0], self._seen[-1]
        return (total - before) / (now - start) if now - start >= SETTLED else None

    def restart(self) -> None:
        """Forget what was seen: it stood still meanwhile."""
        self._seen.clear()


@dataclass
class Request:
    """Cells asked for at once, those not yet measured."""

    id: str
    key: ProbeKey
    cells: list[Cell]
    again: bool
    exact: bool = False
    """On to the end of the data."""
    repeated: bool = False
    """Asked for a second time, since the first worker died: there is no third."""
    info: ProbeInfo | None = None
    """The probe, for the names of its rows and columns."""
    wanted: int = 0
    done: int = 0
    asked: float = 0.0
    """When, by the clock."""
    what: str = ""
    """In words; made from its cells when it is asked for."""
    at_work: tuple[Cell, int, int] | None = None
    """The cell last heard of, its examples seen, and how many there are."""
    cancelled: bool = False
    """Somebody wants it to stop, and it has not yet."""
    told: set[str] = field(default_factory=set)
    """Why cells of it failed, as far as that was reported."""
    pace: tuple[int, int] | None = None
    """Examples computed of all its cells, and how many they can come to at most; None where the worker does not say."""
    turn: int = 0
    """The greater, the later the worker was last heard of about it; 0: not yet."""
    examples: Rate = field(default_factory=Rate)
    cells_done: Rate = field(default_factory=Rate)

    def heard(self, now: float) -> None:
        """Keep how far it is at this moment."""
        self.cells_done.add(now, self.done)
        if self.pace is not None:
            self.examples.add(now, self.pace[0])

    def resumed(self) -> None:
        """It goes on after another one that went before it: its rate is that of now."""
        self.examples.restart()
        self.cells_done.restart()

    def left(self, now: float, behind: "Sequence[Request]" = ()) -> float | None:
        """Seconds for it and those `behind` it at its present rate, at most; None where that cannot be known."""
        if self.pace is None:
            rate, rest = self.cells_done.at(now), sum(one.wanted - one.done for one in (self, *behind))
        elif all(one.pace for one in behind):
            rate, rest = self.examples.at(now), sum(one.pace[1] - one.pace[0] for one in (self, *behind) if one.pace)
        else:
            return None
        return rest / rate if rate else None

    @property
    def share(self) -> float:
        """How much of it is done, 0..1."""
        if self.exact and self.pace is not None and self.pace[1]:
            return min(1.0, self.pace[0] / self.pace[1])
        return self.done / self.wanted if self.wanted else 0.0


@dataclass
class Plan:
    """A probe that is being made, for what is wanted of it."""

    id: str
    key: ProbeKey
    """Of the probe it is made from."""
    what: str
    message: dict[str, object]
    """What is asked for, as it is sent."""
    repeated: bool = False


@dataclass(frozen=True)
class Device:
    """What is measured on, and how full it is, in bytes."""

    name: str = ""
    used: int = 0
    total: int = 0


def what(info: ProbeInfo | None, cells: Sequence[Cell], *, exact: bool = False, again: bool = False) -> str:
    """Cells in words: 'fc1 at checkpoint 8', 'fc1, 9 columns', 'random, 4 layers', '57 cells of 5 rows'."""
    rows = list(dict.fromkeys(cell.layer for cell in cells))
    columns = list(dict.fromkeys(cell.column for cell in cells))
    if len(rows) == len(columns) == 1:
        text = place_name(info, cells[0])
    elif len(rows) == 1:
        text = f"{row_name(info, rows[0])}, {len(columns)} columns"
    elif len(columns) == 1:
        text = f"{column_name(info, columns[0])}, {len(rows)} rows"
    else:
        text = f"{len(cells):,} cells of {len(rows)} rows"
    return text + (", again" if again else "") + (", exact" if exact else "")


def row_name(info: ProbeInfo | None, layer: int | None) -> str:
    """A row's name."""
    if layer is None:
        return "whole network"
    return inert(info.layers[layer].name) if info and layer < len(info.layers) else f"row {layer + 1}"


def column_name(info: ProbeInfo | None, column: int) -> str:
    """What a column does."""
    return inert(deed(info.columns[column])) if info and column < len(info.columns) else f"in column {column + 1}"


def place_name(info: ProbeInfo | None, cell: Cell, *, draw: bool = False) -> str:
    """A cell in words; with `draw` also which of several it is."""
    several = draw and info is not None and info.columns[cell.column].draws > 1
    which = f", draw {cell.draw + 1}" if several else ""
    return f"{row_name(info, cell.layer)} {column_name(info, cell.column)}{which}"


# How it is written


def size_text(used: int, total: int) -> str:
    """Two sizes in bytes: '3.2 of 79.6 GB'."""
    return f"{used / 1e9:.1f} of {total / 1e9:.1f} GB"


def time_text(seconds: float) -> str:
    """A time to come: '8 s', '2:05 min', '3:10 h'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"


def rate_text(request: Request, now: float) -> str:
    """How fast it goes: examples of all cells a second where that is known, else cells; empty before it is."""
    if request.pace is not None:
        rate = request.examples.at(now)
        return "" if not rate else f"{rate:,.0f} examples/s"
    rate = request.cells_done.at(now)
    return "" if not rate else f"{rate:,.1f} cells/s"


def left_text(request: Request, now: float, behind: Sequence[Request] = ()) -> str:
    """How long it and those `behind` it take. Cells that are known well enough stop early: then it is at most so."""
    left = request.left(now, behind)
    if left is None:
        return ""
    most = request.pace is not None and not all(one.exact for one in (request, *behind))
    return ("≤ " if most else "") + time_text(left)


def device_text(device: Device) -> str:
    """The device, and its memory where that is known."""
    memory = f", memory {size_text(device.used, device.total)}" if device.total else ""
    return inert(device.name) + memory if device.name else ""


def at_work(requests: Sequence[Request]) -> Request | None:
    """The one that the worker was heard of last: each has its turn, a newer one its first look at once."""
    return max(requests, key=lambda request: request.turn, default=None)  # the first one where none was heard of


def summary(requests: Sequence[Request], plans: Sequence[Plan], device: Device, now: float) -> str:
    """The queue in one line; empty if there is nothing in it."""
    done, wanted = sum(r.done for r in requests), sum(r.wanted for r in requests)
    parts = []
    working = at_work(requests)
    if working is not None and wanted:
        parts.append(f"measuring{f' on {inert(device.name)}' if device.name else ''}: {done} of {wanted} cells")
        left = left_text(working, now, [request for request in requests if request is not working])
        parts += filter(None, (rate_text(working, now), f"{left} left" if left else ""))
    parts += [f"{plan.what}: being prepared" for plan in plans]
    return ", ".join(parts)


CANCEL = "cancel"
"""What is clicked to cancel a line."""

_BAR = 10


@dataclass(frozen=True)
class Hit:
    """A line of the panel that belongs to a request: `start` to `stop` is what cancels it when it is clicked."""

    id: str
    start: int = 0
    stop: int = 0


def bar(share: float, width: int = _BAR) -> str:
    """A share as a bar that needs no colour."""
    full = round(share * width)
    return "█" * full + "░" * (width - full)


def panel(
    requests: Sequence[Request], plans: Sequence[Plan], device: Device, now: float, width: int, selected: str = ""
) -> tuple[list[Text], list[Hit | None]]:
    """The panel's lines, at most `width` columns wide, and which request each is about.

    The one at work takes two lines, the second with what it is doing.
    """
    title = Text.assemble(("queue", "bold"), (f"  {device_text(device)}" if device.name else "", "muted"))
    lines: list[Text] = [title]
    hits: list[Hit | None] = [None]
    if not requests and not plans:
        return [title, Text("nothing is being measured", "muted")], [None, None]
    for plan in plans:
        line, hit = _line("◌", "working", plan.what, "being prepared", plan.id, width, selected, False)
        lines.append(line)
        hits.append(hit)
    working = at_work(requests)
    for request in requests:
        here = request is working and (request.at_work is not None or request.pace is not None)
        parts = [f"{request.done}/{request.wanted}"]
        if here:
            parts = [bar(request.share), *parts, rate_text(request, now), left_text(request, now)]
        mark, tone = ("▶", "working") if here else ("○", "info")
        line, hit = _line(
            mark, tone, request.what, "  ".join(part for part in parts if part), request.id, width, selected,
            request.cancelled,
        )  # fmt: skip
        lines.append(line)
        hits.append(hit)
        if here and request.at_work is not None:
            cell, seen, of = request.at_work
            now_text = f"    {place_name(request.info, cell, draw=True)}: {seen:,} of {of:,} examples"
            lines.append(Text(_cut(now_text, width), "muted"))
            hits.append(Hit(request.id))
    return lines, hits


def _line(
    mark: str,
    tone: str,
    name: str,
    rest: str,
    id: str,  # noqa: A002
    width: int,
    selected: str,
    cancelled: bool,
) -> tuple[Text, Hit]:
    """mark, name, how far it is, and at the right what cancels it."""
    end = "stopping" if cancelled else CANCEL
    room = width - len(end) - 2
    # How far it is matters more than the end of a long name, but a name is needed to know what it is about.
    while cell_len(rest) > room - 12 and "  " in rest:
        rest = rest.partition("  ")[2] if rest[0] in "█░" else rest.rpartition("  ")[0]
    name = _cut(name, max(6, room - cell_len(rest) - 4))
    here = id == selected
    line = Text(no_wrap=True)
    line.append(f"{mark} ", tone)
    line.append(name, "accent bold" if here else "text")
    gap = max(2, room - 2 - cell_len(name) - cell_len(rest))
    line.append(" " * gap + rest + "  ", "muted")
    start = line.cell_len
    line.append(end, "muted" if cancelled else "accent bold" if here else "accent")
    line.truncate(width)
    return line, Hit(id, start, start + len(end))


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else text[: max(0, width - 1)] + "…"
