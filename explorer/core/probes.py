"""The probes of a run, for choosing among them: what each is, how far it is, and what could be made. Plain values."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from ...store import Progress, Run, inert
from .texts import shorten

GRANULARITIES = ("layer", "module", "block")
"""What `lyrx probe --granularity` knows, without patterns of one's own."""


@dataclass(frozen=True)
class ProbeRow:
    """A probe, or with `id` empty one that could be made."""

    granularity: str
    id: str = ""
    layers: int = 0
    columns: tuple[str, ...] = ()
    progress: Progress = field(default_factory=lambda: Progress(0, 0, 0, None))
    created: float = 0.0
    companions: int = 0
    """Joint rows beside it."""


def probe_rows(run: Run, *, make: bool = True) -> list[ProbeRow]:
    """The run's probes, newest first, then with `make` the granularities that it has none of."""
    rows = [
        ProbeRow(
            probe.info.granularity, probe.info.id, len(probe.info.layers),
            tuple(column.label for column in probe.info.columns), probe.progress(), probe.info.created,
            sum(len(other.info.layers) for other in run.companions(probe.info.id)),
        )
        for probe in reversed(run.probes())
    ]  # fmt: skip
    known = {row.granularity for row in rows}
    return [*rows, *(ProbeRow(name) for name in GRANULARITIES if make and name not in known)]


def chooser_lines(rows: Sequence[ProbeRow], width: int, here: str) -> list[Text]:
    """A line about each, with what is alike below each other; `here` is the id of the probe that is shown."""
    told = [_told(row) if row.id else [] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*filter(None, told), strict=True)]
    return [
        _probe_line(row, parts, widths, width, here) if row.id else _unplanned(row, width)
        for row, parts in zip(rows, told, strict=True)
    ]


def _told(row: ProbeRow) -> list[str]:
    progress = row.progress
    joint = f" + {row.companions} joint" if row.companions else ""
    return [
        f"{progress.committed:,}/{progress.total:,} cells" + (f", {progress.exact:,} exact" if progress.exact else ""),
        f"{row.layers}{joint} rows",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created)) if row.created else "",
        inert(row.id),
        inert(" ".join(row.columns)),
    ]


def _unplanned(row: ProbeRow, width: int) -> Text:
    line = Text(f"  {row.granularity:<9}", "info bold", no_wrap=True)
    whole, short = "not planned yet; Enter makes it", "Enter makes it"
    line.append(whole if line.cell_len + len(whole) <= width else short, "muted")
    line.truncate(width, overflow="ellipsis")
    return line


def _probe_line(row: ProbeRow, parts: Sequence[str], widths: Sequence[int], width: int, here: str) -> Text:
    line = Text(no_wrap=True)
    line.append("● " if row.id == here else "  ", "accent")
    line.append(f"{inert(row.granularity):<9}", "text bold")
    last = len(parts) - 1
    for number, (part, wide) in enumerate(zip(parts, widths, strict=True)):
        room = width - line.cell_len
        if wide > room and number != last:
            break
        if wide and room > 3:
            # The first columns are those that say most: of these a cut leaves the beginning.
            said = part if cell_len(part) <= room else shorten(part[::-1], room)[::-1]
            line.append(said + " " * (wide - cell_len(part) if number != last else 0), "muted")
            line.append("   ")
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    return line
