"""A training in words: how it goes or how it ended, how long it takes, what it runs. Plain values in, text out."""

import signal
from dataclasses import dataclass
from statistics import median
from typing import Literal

from rich.text import Text

from ...store import inert
from .logtext import last_words
from .picture import Picture

Phase = Literal["starting", "working", "stopping", "done", "interrupted", "failed", "unseen", "elsewhere", "idle"]

_MARKS: dict[Phase, tuple[str, str]] = {
    "starting": ("◌", "working"),
    "working": ("◐", "accent"),
    "stopping": ("◌", "accent"),
    "done": ("●", "good"),
    "interrupted": ("○", "muted"),
    "failed": ("×", "alarm"),
    "unseen": ("○", "alarm"),
    "elsewhere": ("◐", "working"),
    "idle": ("○", "muted"),
}
_RECENT = 5
"""Epochs that the time left is reckoned from."""


@dataclass(frozen=True)
class Seen:
    """All that is known of a run's training at one moment."""

    run: str
    picture: Picture | None = None
    """None while the store has no such run."""
    writer: str = ""
    """Who writes the run, if anybody does."""
    failure: str = ""
    """Why the last work on it failed, wherever that was; empty if it did not."""
    ours: bool = False
    """Whether it was started from an app on this machine or a shared state folder: there is a record and a log."""
    alive: bool | None = None
    """Of ours; None where that cannot be known from here."""
    host: str = ""
    pid: int | None = None
    command: str = ""
    log: str = ""
    """Where its log is."""
    started: float | None = None
    ended: float | None = None
    code: int | None = None
    """Exit status; None while it lives and where nobody saw its end."""
    asked_to_stop: float | None = None
    lines: tuple[str, ...] = ()
    """The log's last ones."""
    problem: str = ""
    """Why store or log cannot be read."""

    @property
    def phase(self) -> Phase:
        """What is going on, in one word."""
        if self.ours and self.alive:
            if self.asked_to_stop is not None:
                return "stopping"
            return "working" if self.writer else "starting"
        if self.writer:
            return "elsewhere"
        if not self.ours or self.alive is None:
            return "done" if self.picture is not None and self.picture.status == "complete" else "idle"
        if self.code == 0:
            return "done"
        if self.code == 130 or (self.asked_to_stop is not None and self.code is not None):
            return "interrupted"
        if self.code is None:
            # Of a run whose first probe is whole, too, it may have died in a further one.
            whole = self.picture is not None and self.picture.status == "complete" and self.picture.progress.complete
            return "done" if whole else "unseen"
        return "failed"

    @property
    def stoppable(self) -> bool:
        """Whether it can be stopped from here."""
        return self.phase in ("starting", "working", "stopping")

    @property
    def over(self) -> bool:
        """Whether nobody is at work on it."""
        return self.phase not in ("starting", "working", "stopping", "elsewhere")


def share(seen: Seen) -> float | None:
    """How much of the epochs, or after them of the cells, is done, 0..1; None where that is not known."""
    picture = seen.picture
    if picture is None:
        return None
    if not _trained(picture):
        return _epoch(picture) / max(1, picture.run.epochs)
    return (picture.wanted() - picture.missing()) / max(1, picture.wanted())


def state_line(seen: Seen, now: float, width: int) -> Text:
    """Mark, words, bar, time: as much as fits into `width` columns."""
    phase = seen.phase
    mark, tone = _MARKS[phase]
    text = Text.assemble((f"{mark} {_words(seen)}", tone), no_wrap=True, overflow="ellipsis")
    done = progress_text(seen)
    if done and phase != "failed":
        text.append(f"  {done}", "muted" if seen.over else "")
    part = share(seen)
    times = " · ".join(filter(None, [_took(seen, now), _left(seen)]))
    if part is not None and not seen.over:
        room = min(30, width - text.cell_len - len(times) - 11)
        if room >= 6:
            text.append("  ")
            text.append_text(bar(part, room))
        else:
            text.append(" ·", "muted")
        text.append(f" {100 * part:.0f} %")
    if times and text.cell_len + len(times) + 3 <= width:
        text.append(f"  {times}", "muted")
    return text


def bar(part: float, width: int) -> Text:
    """A bar of which `part` is done: told by its shape, not by colour alone."""
    full = round(min(1.0, max(0.0, part)) * width)
    return Text.assemble(("━" * full, "accent"), ("╌" * (width - full), "faint"))


def progress_text(seen: Seen) -> str:
    """'epoch 42 of 100', or '30 of 57 cells' once it is trained."""
    picture = seen.picture
    if picture is None:
        return ""
    if not _trained(picture):
        return f"epoch {_epoch(picture)} of {picture.run.epochs}"
    return f"{picture.wanted() - picture.missing():,} of {picture.wanted():,} cells"


def note(seen: Seen) -> tuple[str, bool]:
    """One line below: what happened and what to do; and whether it is bad news."""
    phase = seen.phase
    if seen.problem:
        return inert(seen.problem), True
    if phase == "failed":
        said = inert(last_words(seen.lines))
        return f"s starts it again  ·  {said or 'it said nothing before it ended'}", True
    if phase == "unseen":
        return (
            "nobody saw its end: the machine went down, or it was killed with its keeper; s goes on",
            True,
        )
    if phase == "interrupted":
        return "what was finished is kept; s goes on from there", False
    if phase == "starting":
        return "loading torch and the data", False
    if phase == "stopping":
        return "it was asked to stop: it ends after the step at hand, and keeps what is committed", False
    if phase == "elsewhere" and not seen.ours:
        return "stop it and read its log where it was started", False
    if phase == "elsewhere":
        return "stop it where it was started; this log is of the one before", False
    if seen.failure and phase in ("idle", "unseen"):
        return f"it failed: {inert(seen.failure)}", True
    if phase == "idle" and seen.ours:
        return f"started on {inert(seen.host)}: whether it lives can be seen there only", False
    if not seen.ours:
        return "not started from here: there is no log; n in the table of runs starts a training", False
    return "", False


def facts(seen: Seen) -> Text:
    """Process, times, command and log of a training that was started from here."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if not seen.ours:
        who = f"written by {inert(seen.writer)}" if seen.writer else "nobody is writing it"
        return text.append(who, "muted")
    parts = [f"process {seen.pid}" if seen.pid else "", "" if not seen.host else f"on {inert(seen.host)}"]
    if phase_elsewhere := seen.phase == "elsewhere":
        parts = [f"written by {inert(seen.writer)}"]
    text.append(" ".join(filter(None, parts)), "muted")
    if phase_elsewhere:
        return text
    text.append(f"  $ {inert(seen.command)}", "")
    return text


def log_title(seen: Seen, following: bool, home: str = "") -> Text:
    """Where the log is, and whether its end is followed."""
    where = inert(seen.log)
    where = f"~{where.removeprefix(home)}" if home and where.startswith(f"{home}/") else where
    text = Text.assemble(("log ", "bold"), (where, "muted"), no_wrap=True, overflow="ellipsis")
    if not following:
        text = Text.assemble(("log ", "bold"), ("G follows its end  ", "accent"), (where, "muted"), no_wrap=True,
                             overflow="ellipsis")  # fmt: skip
    return text


def duration(seconds: float) -> str:
    """'42 s', '12:34 min', '3:05 h', '2 d 4 h'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d} h" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def seconds_left(picture: Picture) -> float | None:
    """Until the last epoch has ended, as the last few took; None where that cannot be reckoned."""
    times = [metrics.seconds for metrics in picture.history if metrics.epoch and metrics.seconds == metrics.seconds]
    if _trained(picture) or not times:
        return None
    return median(times[-_RECENT:]) * (picture.run.epochs - _epoch(picture))


def _words(seen: Seen) -> str:
    phase = seen.phase
    if phase in ("working", "elsewhere"):
        doing = "measuring" if seen.picture is not None and _trained(seen.picture) else "training"
        return doing if phase == "working" else f"{doing}, not from here"
    if phase == "interrupted":
        if seen.code == -signal.SIGKILL:
            return "killed, as asked"
        return "interrupted, as asked" if seen.asked_to_stop is not None else "interrupted"
    if phase == "failed":
        return f"failed: {how(seen.code)}"
    if phase == "unseen":
        return "ended, unseen"
    if phase == "idle":
        return "nothing is under way"
    return {"done": "complete", "starting": "starting", "stopping": "stopping"}[phase]


def how(code: int | None) -> str:
    """What an exit status means."""
    if code is None:
        return "unseen"
    if code == 2:
        return "refused (exit code 2)"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")


def _took(seen: Seen, now: float) -> str:
    if seen.started is None:
        return ""
    if not seen.over:
        return f"{duration(now - seen.started)} so far"
    return "" if seen.ended is None else f"took {duration(seen.ended - seen.started)}"


def _left(seen: Seen) -> str:
    if seen.picture is None or seen.over:
        return ""
    left = seconds_left(seen.picture)
    return "" if left is None else f"about {duration(left)} left"


def _trained(picture: Picture) -> bool:
    return picture.run.checkpoints[-1] in picture.committed


def _epoch(picture: Picture) -> int:
    return picture.history[-1].epoch if picture.history else 0
