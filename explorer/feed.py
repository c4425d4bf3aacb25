"""Following one run: what is committed to it, whoever commits it. The table of all runs is :mod:`.tablefeed`'s.

Everything here reads files, and runs off the event loop (:mod:`.tail`).
"""

import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from ..store import LyrxError, NotCommittedError, Probe, Run, RunNotFoundError, Store
from .core.companions import with_companions
from .core.picture import Picture, take_picture


class GoneError(LyrxError, LookupError):
    """What was followed is not there any more."""


def again(known: Probe | None, read: Probe) -> Probe:
    """`known`, which remembers its records, unless `read` is another one or has been described anew."""
    return known if known is not None and (known.path, known.info) == (read.path, read.info) else read


@dataclass(frozen=True)
class Update:
    """What is new about one run."""

    picture: Picture
    probes: tuple[str, ...]
    """Ids, oldest first."""


class RunFeed:
    """One run, followed through one of its probes: the newest of the moment it was opened, until told otherwise."""

    def __init__(self, store: Path, run: str, probe: str | None = None):
        self.store, self.run, self.probe_id = store, run, probe
        self._run: Run | None = None
        self._probe: Probe | None = None
        self._companions: list[Probe] = []
        self._pictures: dict[Path, Picture] = {}
        """What was seen of each of them the last time."""
        self._stamp: tuple[Hashable, ...] | None = None
        self._last: Update | None = None
        self._asked: list[str | None] = []
        self.read: tuple[int, int] | None = None
        """How many of how many cells the look that goes on has read, as far as it is known."""

    def poll(self, *, force: bool = False) -> Update | None:
        """What is committed now, or None if that is what the last call said.

        Raises GoneError when run or store were removed, other LyrxErrors when they cannot be read.
        """
        while self._asked:
            self.probe_id, self._probe, self._stamp, self._last = self._asked.pop(0), None, None, None
            self._companions = []
        try:
            return self._poll(force)
        except (RunNotFoundError, FileNotFoundError) as error:
            self._run, self._stamp, self._last = None, None, None
            if not self.store.exists():
                raise GoneError(f"the store {self.store} was removed.") from error
            raise GoneError(f"the run '{self.run}' was removed.") from error

    def _poll(self, force: bool) -> Update | None:
        if self._run is None:
            self._run = Store.open(self.store).run(self.run)
            self._probe, self._companions = None, []
        born = (self._run.path / "zarr.json").stat()
        folder = self._run.path / "probes"
        names = tuple(sorted(name for name in os.listdir(folder) if not name.endswith(".partial")))
        run = self._run
        stamp = (born.st_ino, born.st_mtime_ns, names, run.history.rows.commits.stamp(),
                 run.checkpoints.commits.stamp(), self._probe_stamp(), run.writer())  # fmt: skip
        if stamp == self._stamp and not force:
            return None
        if self._stamp is not None and stamp[:2] != self._stamp[:2]:
            # The run was made anew under the same name.
            self._run, self._stamp, self._last, self.probe_id = None, None, None, None
            return self._poll(True)
        probes = run.probes()
        if not probes:
            raise NotCommittedError(f"run '{run.name}' has no probe.")
        chosen = next((p for p in reversed(probes) if self.probe_id in (p.info.id, p.info.granularity)), probes[-1])
        self._probe, self.probe_id = again(self._probe, chosen), chosen.info.id
        known = {probe.path: probe for probe in self._companions}
        self._companions = [again(known.get(other.path), other) for other in run.companions(chosen.info.id)]
        # Taken before reading: what is committed meanwhile is seen the next time.
        self._stamp = (*stamp[:5], self._probe_stamp(), stamp[6])
        pictures = {}
        for probe in (self._probe, *self._companions):
            pictures[probe.path] = take_picture(run, probe, self._pictures.get(probe.path), self._on_read)
        self._pictures, self.read = pictures, None
        own, *beside = pictures.values()
        picture = with_companions(own, beside)
        update = Update(picture, tuple(probe.info.id for probe in probes))
        if update == self._last and not force:
            return None  # a stamp changes for some moments after what it stamps
        self._last = update
        return update

    def _on_read(self, read: int, of: int) -> None:
        self.read = read, of

    def _probe_stamp(self) -> Hashable:
        """Of what is committed to the probe, and of its description (which holds the tolerance)."""
        if self._probe is None:
            return None
        about = (self._probe.path / "zarr.json").stat()
        return self._probe.stamp(), about.st_ino, about.st_mtime_ns, *(other.stamp() for other in self._companions)

    def follow(self, probe: str | None) -> None:
        """Follow another probe from the next call of :meth:`poll` on; None: the newest.

        It may be called while :meth:`poll` runs in a thread: that call still tells of the probe before.
        """
        self._asked.append(probe)
