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


def probe_line(row: ProbeRow, width: int, here: str) -> Text:
    """One line about it; `here` is the id of the probe that is shown."""
    line = Text(no_wrap=True)
    if not row.id:
        line.append(f"  {row.granularity:<9}", "info bold")
        whole, short = "not planned yet; Enter makes it", "Enter makes it"
        line.append(whole if line.cell_len + len(whole) <= width else short, "muted")
        line.truncate(width, overflow="ellipsis")
        return line
    progress = row.progress
    line.append("● " if row.id == here else "  ", "accent")
    line.append(f"{inert(row.granularity):<9}", "text bold")
    joint = f" + {row.companions} joint" if row.companions else ""
    parts = [
        f"{progress.committed:,}/{progress.total:,} cells" + (f", {progress.exact:,} exact" if progress.exact else ""),
        f"{row.layers}{joint} rows",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created)) if row.created else "",
        inert(row.id),
        inert(" ".join(row.columns)),
    ]
    for part in filter(None, parts):
        if line.cell_len + cell_len(part) > width and part is not parts[-1]:
            break
        room = width - line.cell_len
        if room > 3:
            line.append(part if cell_len(part) <= room else shorten(part[::-1], room)[::-1], "muted")
            line.append("   ")
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    return line


def chooser_lines(rows: Sequence[ProbeRow], width: int, here: str) -> list[Text]:
    """A line for each."""
    return [probe_line(row, width, here) for row in rows]
