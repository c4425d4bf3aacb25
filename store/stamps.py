"""What changes when a run does: for those who follow many runs without reading them.

One look costs about a dozen calls of the file system, and opens no file but the writer's lock.
"""

import os
from pathlib import Path
from typing import Any

from .commits import folder_stamp
from .lock import current_writer


def run_stamp(run: Path, probe: str | None) -> tuple[Any, ...]:
    """Changes whenever anything is committed to the run in the folder `run`, or to its probe in the folder `probe`,
    when a probe comes or goes, a writer comes or goes, or the run is made anew.

    Plain values that JSON can keep.  Shortly after a change it is another one at every call, as :func:`folder_stamp`
    is.  Raises FileNotFoundError when the run is gone.
    """
    checkpoint, probes = run / "checkpoint", run / "probes"
    writer = current_writer(checkpoint)
    parts = [
        file_stamp(run / "zarr.json"),
        folder_stamp(probes),
        folder_stamp(run / "metrics" / "history" / "commits"),
        folder_stamp(checkpoint / "commits"),
        None if writer is None else (writer.pid, writer.host, writer.purpose),
        _stamp_if_there(checkpoint / "failure"),
    ]
    if probe is not None:
        folder = probes / probe
        parts.append(_stamp_if_there(folder / "zarr.json"))
        parts += [folder_stamp(folder / name / "commits") for name in ("estimate", "network", "distance")]
    return (probe, *parts)


def file_stamp(path: Path) -> tuple[int, int]:
    """Changes when the file is replaced. Raises FileNotFoundError."""
    stat = os.stat(path)
    return (stat.st_ino, stat.st_mtime_ns)


def _stamp_if_there(path: Path) -> tuple[int, int] | None:
    try:
        return file_stamp(path)
    except FileNotFoundError:
        return None
