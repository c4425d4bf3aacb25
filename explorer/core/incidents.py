"""What went wrong while the app was open: kept, counted, told, and never the end of it."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from ...store import LyrxError, inert

KEPT = 100
"""Incidents that are kept; older ones go."""

_FRAMES = 6
_LONGEST = 4_000
"""Characters of one text: a library's error may hold a whole tensor."""


@dataclass(frozen=True)
class Incident:
    """One thing that went wrong."""

    when: float
    """Seconds since the epoch, of the last time."""
    title: str
    """In a few words."""
    what: str
    """What happened, and to which file, run, layer."""
    todo: str = ""
    """What to do about it."""
    trace: str = ""
    """Where in the code, for a report; empty for what is expected to happen now and then."""
    count: int = 1
    """How often."""

    @property
    def clock(self) -> str:
        """When, as people here tell the time."""
        return time.strftime("%H:%M:%S", time.localtime(self.when))

    def text(self) -> str:
        """All of it, to be copied."""
        again = f" ({self.count} times)" if self.count > 1 else ""
        parts = [f"{time.strftime('%Y-%m-%d', time.localtime(self.when))} {self.clock}  {self.title}{again}", self.what]
        return "\n".join(part for part in (*parts, self.todo, self.trace) if part)


class Incidents:
    """The list of them, newest first. The same thing again is counted, not listed again."""

    def __init__(self, clock: Callable[[], float] = time.time):
        self.clock = clock
        self.all: list[Incident] = []
        self.unseen = 0
        """Those that nobody has looked at."""

    def add(self, title: str, what: str, todo: str = "", trace: str = "") -> Incident:
        """Note that this has happened now. What comes from files is made inert here."""
        title, what, todo, trace = (inert(text[:_LONGEST], keep="\n") for text in (title, what, todo, trace))
        found = Incident(self.clock(), title, what, todo, trace)
        same = next((one for one in self.all if _subject(one) == _subject(found)), None)
        if same is not None:
            found = replace(found, count=same.count + 1)
            # Seen or not, it is one thing: it is told again, and counted once.
            self.unseen -= 1 if self.all.index(same) < self.unseen else 0
            self.all.remove(same)
        self.all.insert(0, found)
        self.unseen += 1
        del self.all[KEPT:]
        self.unseen = min(self.unseen, KEPT)
        return found

    def fail(self, error: BaseException) -> Incident:
        """Note an exception that nobody expected; of those whose message is meant for people no trace is kept."""
        if isinstance(error, LyrxError):
            return self.add("lyrx could not go on with that", str(error))
        return self.add(
            "an error in lyrx itself",
            f"{type(error).__name__}: {error}",
            "The app goes on. If it comes back, copy this and report it.",
            short_trace(error),
        )

    def see(self) -> None:
        """All were looked at."""
        self.unseen = 0

    def clear(self) -> None:
        """Forget all."""
        self.all.clear()
        self.unseen = 0

    def text(self) -> str:
        """All of them, to be copied."""
        return "\n\n".join(one.text() for one in self.all)


def _subject(incident: Incident) -> tuple[str, str, str]:
    return incident.title, incident.what, incident.trace


def short_trace(error: BaseException) -> str:
    """The last few frames of an exception's traceback."""
    lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-_FRAMES)
    return "".join(lines).rstrip()
