"""Following several runs at once, as far as each can be read. Everything here reads files, off the event loop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..store import LyrxError, NotCommittedError, Store, inert
from .core.curves import Trained
from .core.picture import Picture
from .feed import GoneError, RunFeed


@dataclass(frozen=True)
class Side:
    """One of the runs that are compared."""

    name: str
    picture: Picture | None = None
    """What was read last; None where there is nothing to show."""
    trained: Trained | None = None
    problem: str = ""
    """Why there is no picture, or why it is an old one; harmless to show."""
    probes: tuple[str, ...] = ()
    """Ids of the run's probes, oldest first."""


class SidesFeed:
    """Several runs of one store.

    The first is followed through `probe` (default: its newest), the others through their newest probe of the same
    granularity, if they have one; each until told otherwise.
    """

    def __init__(self, store: Path, runs: Sequence[str], probe: str | None = None):
        self.store, self.runs = store, tuple(runs)
        self._feeds = [RunFeed(store, runs[0], probe)] if runs else []
        self._sides = [Side(name) for name in runs]
        self._told: tuple[Side, ...] | None = None

    def follow(self, number: int, probe: str) -> None:
        """Follow a run that has been read through another of its probes, from the next call of :meth:`poll` on."""
        self._feeds[number].follow(probe)

    def poll(self, force: bool = False) -> tuple[Side, ...] | None:
        """All of them as they are now, or None if that is what the last call said. Trouble with one is told in it."""
        for number, name in enumerate(self.runs):
            if number >= len(self._feeds):
                first = self._sides[0].picture
                self._feeds.append(RunFeed(self.store, name, first.probe.granularity if first else None))
            self._sides[number] = self._look(number, force)
        found = tuple(self._sides)
        if found == self._told and not force:
            return None
        self._told = found
        return found

    def _look(self, number: int, force: bool) -> Side:
        before, name = self._sides[number], self.runs[number]
        try:
            update = self._feeds[number].poll(force=force)
        except GoneError as error:
            kept = " What was read before is still shown." if before.picture or before.trained else ""
            return replace(before, problem=inert(str(error)) + kept)
        except NotCommittedError as error:
            return self._without_probe(name, inert(str(error)))
        except (LyrxError, OSError) as error:
            return replace(before, problem=inert(str(error)))
        if update is None:
            return replace(before, problem="")
        picture = update.picture
        trained = Trained(name, picture.run.epochs, tuple(picture.history))
        return Side(name, picture, trained, probes=update.probes)

    def _without_probe(self, name: str, problem: str) -> Side:
        """Its training can be shown."""
        try:
            run = Store.open(self.store).run(name)
            history, _ = run.history.read()
            return Side(name, None, Trained(name, run.info.epochs, tuple(history)), problem)
        except (LyrxError, OSError):
            return Side(name, None, None, problem)
