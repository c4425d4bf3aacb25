"""Why a run's training or probe ended in an error: a small file that stays until the next one begins.

A process that is killed leaves nothing; its run is merely interrupted.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import DamagedError, LyrxError
from .files import read_json, write_json

LONGEST = 2_000
"""Characters of a message that are kept."""


@dataclass(frozen=True)
class Failure:
    """One error that ended the work on a run."""

    stage: str
    """What failed: 'training' or 'probing'."""
    message: str
    """The error's words."""
    time: float
    """When, in seconds since 1970."""


class FailureNote:
    """The note in one run's folder. Written by whoever holds its writer's lock."""

    def __init__(self, run: Path):
        self.path = run / "checkpoint" / "failure"

    def read(self) -> Failure | None:
        """Why the last work on the run failed, or None. A note that cannot be read counts as none."""
        try:
            note = read_json(self.path)
            return Failure(str(note["stage"]), str(note["message"]), float(note["time"]))
        except (OSError, DamagedError, KeyError, TypeError, ValueError):
            return None

    def write(self, stage: str, message: str) -> None:
        """Keep why `stage` failed, in place of what was kept before."""
        write_json(self.path, asdict(Failure(stage, message[:LONGEST], time.time())))

    def clear(self) -> None:
        """Forget it: the work has begun anew."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def kept(self, stage: Callable[[], str]) -> Iterator[None]:
        """Keep the error that leaves this block, if one does, with the stage reached by then. An interrupt is none."""
        try:
            yield
        except Exception as error:
            # A message of ours speaks for itself, others say too little without their type.
            told = isinstance(error, LyrxError) and str(error)
            # That it could not be written must not hide the error itself.
            with contextlib.suppress(OSError):
                self.write(stage(), told or f"{type(error).__name__}: {error}")
            raise
