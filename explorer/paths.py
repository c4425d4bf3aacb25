"""Where the explorer keeps what is not part of a store."""

import os
import tempfile
import time
from pathlib import Path

_KEPT = 7 * 24 * 3600  # seconds that old logs are kept


def trainings_folder() -> Path:
    """Where logs and records of the trainings that were started from the app lie. It need not be there yet."""
    from platformdirs import user_state_path

    return user_state_path("lyrx", appauthor=False) / "trainings"


def worker_log() -> Path:
    """A file for the errors of this process's workers; the folder is made, and logs older than a week are removed."""
    from platformdirs import user_state_path

    folder = user_state_path("lyrx", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(folder)
    except OSError:
        # A home that cannot be written must not keep anyone from measuring.
        folder = Path(tempfile.mkdtemp(prefix="lyrx-"))
    for old in folder.glob("worker-*.log"):
        try:
            if time.time() - old.stat().st_mtime > _KEPT:
                old.unlink()
        except OSError:
            continue
    return folder / f"worker-{os.getpid()}.log"
