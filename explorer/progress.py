"""What `lyrx batch` shows while it works: bars on a terminal, timestamped lines elsewhere.

Both are observers of the engine's events; they are told apart by the events' class names, so that this module needs
nothing of the engine.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..store import inert
from .core.words import next_token_text

_NAMED = 6  # skipped modules named before it says how many more there are
_LINES_EVERY = 5.0  # seconds between two lines about a probe


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _opening(event: Any) -> str:
    if event.created:
        state = "new"
    elif event.epochs_done >= event.epochs:
        state = "trained already"
    else:
        state = f"going on after epoch {event.epochs_done}"
    where = f" on {event.device}" if event.device else ""
    where += f", {event.processes} processes" if event.processes > 1 else ""
    return f"{state}, {event.epochs} epochs{where}"


def _skipped(event: Any) -> str:
    """What the probe leaves out, by name; all of it, with reasons, is in `lyrx show --json`."""
    if not event.skipped:
        return ""
    return f"; in no layer: {_named([line.partition(':')[0] for line in event.skipped])}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _tested(event: Any) -> str:
    """What a network came to on the test examples; of a language model the error is of next tokens."""
    error = f"test error {_percent(event.metrics.test_error)}"
    if event.task != "language":
        return error
    return next_token_text(error, event.metrics.test_loss)


def _first_picture(event: Any) -> str:
    done = f"; all finished, {event.decided:,} decided" if event.finished >= event.todo else ""
    return f"first whole picture after {event.seconds:.1f} s: {event.cells:,} cells, {event.seen:,} examples{done}"


def _baseline(event: Any) -> str:
    return f"the trained network first: {event.seen:,} of {event.of:,} examples"


def _fell_back(event: Any) -> str:
    which = f" ({event.kind})" if event.kind else ""
    return f"{event.layer}{which} is measured by full forwards: {event.reason}"


def _weights(event: Any) -> str:
    what = "training starts from" if event.checkpoint == "start" else f"checkpoint {event.checkpoint}:"
    error = f", test error {_percent(event.test_error)}" if event.test_error == event.test_error else ""
    lacking = f"; it lacks {_named(event.absent)}" if event.absent else ""
    fresh = " (fresh)" if lacking and event.checkpoint == "start" else ""
    return f"{what} {event.file}{error}{lacking}{fresh}{''.join(f'; {note}' for note in event.notes)}"


class _Fallbacks:
    """The first few layers that fall back are told one by one; the heatmap's last line names them all."""

    def __init__(self) -> None:
        self._count = 0

    def text(self, event: Any) -> str | None:
        self._count += 1
        if self._count > _NAMED:
            return "more layers are measured by full forwards" if self._count == _NAMED + 1 else None
        return _fell_back(event)


class Lines:
    """Plain lines with a time, for logs and pipes."""

    def __init__(self, out: TextIO):
        self._out = out
        self._told = 0.0
        self._fallbacks = _Fallbacks()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, event: Any) -> None:
        line = self._line(event)
        if line:
            now = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
            run = event.run if isinstance(event.run, str) else event.run.name
            print(f"{now} {inert(run)}: {inert(line)}", file=self._out, flush=True)

    def _line(self, event: Any) -> str | None:
        match type(event).__name__:
            case "RunOpened":
                return _opening(event) + _skipped(event)
            case "EpochCommitted":
                m = event.metrics
                trained = "" if m.epoch == 0 else f"train loss {m.train_loss:.4f}, lr {m.lr:g}, "
                kept = ", checkpoint kept" if event.checkpoint else ""
                return f"epoch {m.epoch}/{event.epochs}: {trained}{_tested(event)}, {m.seconds:.2f} s{kept}"
            case "WeightsRead":
                return _weights(event)
            case "ProbeOpened":
                self._fallbacks, self._told = _Fallbacks(), time.monotonic()
                return f"probe {event.probe}: {event.todo:,} of {event.total:,} cells to measure"
            case "PictureSharpened":
                return self._sharpened(event)
            case "BaselineProgress":
                return _baseline(event) if self._due() else None
            case "LookProgress":
                return self._within(event) if self._due() else None
            case "LayerFellBack":
                return self._fallbacks.text(event)
            case "Noted":
                return event.note
            case "RunClosed":
                return f"complete, {event.seconds:.1f} s" if event.worked else "complete already, nothing to do"
        return None

    def _due(self) -> bool:
        """Whether it is time for another line on what takes long."""
        now = time.monotonic()
        due = now - self._told >= _LINES_EVERY
        self._told = now if due else self._told
        return due

    def _within(self, event: Any) -> str:
        seen = f"{event.seen:,} of {event.of:,} examples seen in this look"
        return f"{100 * event.share:.0f} % done; {seen}, {event.seconds:.1f} s"

    def _sharpened(self, event: Any) -> str | None:
        now = time.monotonic()
        if event.round == 1:
            self._told = now
            return _first_picture(event)
        if event.finished < event.todo and now - self._told < _LINES_EVERY:
            return None
        self._told = now
        return (
            f"{event.finished:,} of {event.todo:,} cells finished, {event.decided:,} decided; the others have seen "
            f"{event.seen:,} of {event.of:,} examples, {event.seconds:.1f} s"
            if event.finished < event.todo
            else f"all {event.todo:,} cells finished, {event.decided:,} decided, {event.seconds:.1f} s"
        )


class Bars:
    """Progress bars with the time left, for a person at a terminal."""

    def __init__(self, console: Console):
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            expand=True,
        )
        self._task: TaskID | None = None
        self._fallbacks = _Fallbacks()

    def __enter__(self) -> "Bars":
        self._progress.start()
        self._task = self._progress.add_task("starting", total=None, done="", note="loading torch and the data")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Any) -> None:
        match type(event).__name__:
            case "RunOpened":
                self._say(event.run, escape(inert(_opening(event) + _skipped(event))))
                self._begin(f"train {escape(inert(event.run))}", event.epochs, event.epochs_done)
            case "TrainProgress":
                self._advance(event.epoch - 1 + event.share, f"epoch {event.epoch}/{event.epochs}")
            case "EpochCommitted":
                m = event.metrics
                self._advance(m.epoch, f"epoch {m.epoch}/{event.epochs}", f"error {_percent(m.test_error)}")
            case "WeightsRead":
                self._say(event.run, escape(inert(_weights(event))))
            case "ProbeOpened":
                self._fallbacks = _Fallbacks()
                self._begin(f"probe {escape(inert(event.run))}", event.todo, 0)
            case "PictureSharpened":
                if event.round == 1:
                    self._say(event.run, _first_picture(event))
                seen = f"{event.seen:,} of {event.of:,} examples"
                # To the end of the data nearly all cells end in the last look.
                done = max(event.finished, event.share * event.todo)
                self._advance(done, f"cell {event.finished}/{event.todo}", seen)
            case "BaselineProgress":
                self._note(_baseline(event))
            case "LookProgress":
                self._note(f"{event.seen:,} of {event.of:,} examples", event.share * event.todo)
            case "LayerFellBack":
                if text := self._fallbacks.text(event):
                    self._say(event.run, escape(inert(text)))
            case "Noted":
                self._say(event.run, escape(inert(event.note)))
            case "RunClosed":
                self._end()
                done = f"complete in {event.seconds:.1f} s" if event.worked else "complete already, nothing to do"
                self._say(event.run.name, done)

    def _say(self, run: str, text: str) -> None:
        self._console.print(f"{escape(inert(run))}: {text}", highlight=False)

    def _begin(self, what: str, total: float, completed: float) -> None:
        self._end()
        self._task = self._progress.add_task(what, total=total, done="", note="")
        self._progress.update(self._task, completed=completed)

    def _advance(self, completed: float, done: str, note: str | None = None) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=completed, done=done)
            if note is not None:
                self._progress.update(self._task, note=note)

    def _note(self, note: str, completed: float | None = None) -> None:
        if self._task is not None:
            self._progress.update(self._task, note=note, completed=completed)

    def _end(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
