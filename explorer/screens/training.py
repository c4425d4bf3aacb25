"""One training: its log, its curves, how far it is and how it ended; and the key that stops it."""

import asyncio
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from ...store import inert
from .. import trainings, watching
from ..core.plot import Plot
from ..core.plots import training_plot
from ..core.training import Seen, facts, log_title, note, state_line
from ..tail import News, Pace, Tail, Trouble
from ..widgets.chart import Chart
from ..widgets.confirm import Confirm
from ..widgets.keybar import KeyBar
from ..widgets.logview import LogView
from .base import LyrxScreen

_CLOCK = 1.0
"""Seconds between two looks, at most."""

STOP_PATIENCE = 10.0
"""Seconds that a training gets to end by itself before it is offered to kill it."""


def shown_home() -> str:
    """What ~ stands for."""
    return str(Path.home())


class TrainingScreen(LyrxScreen):
    """The training of one run, followed."""

    DEFAULT_CSS = """
    TrainingScreen #state, TrainingScreen #facts, TrainingScreen #log-title {
        height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis;
    }
    TrainingScreen #both { height: 1fr; layout: vertical; }
    TrainingScreen #curves { height: 40%; min-height: 6; width: 100%; padding: 1 1 0 1; }
    TrainingScreen #logged { height: 1fr; width: 100%; margin: 1 0 0 0; }
    TrainingScreen #log { height: 1fr; margin: 0 1; }
    TrainingScreen.-no-log #logged { display: none; }
    TrainingScreen.-no-log #curves { height: 1fr; max-height: 24; }
    TrainingScreen.-low #logged { margin: 0; }
    TrainingScreen.-wide #both { layout: horizontal; }
    TrainingScreen.-wide #curves { width: 66; height: 100%; max-height: 24; padding: 1 2 0 0; }
    TrainingScreen.-wide.-no-log #curves { width: 100; }
    TrainingScreen.-wide #logged { width: 1fr; height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "stop", id="training.stop"),
        Binding("s", "again", "start again", id="training.again"),
        Binding("enter", "open", "heatmap", id="training.open"),
        Binding("y", "copy_log", "copy the log", id="training.copy", show=False),
        Binding("u", "copy_command", "copy the command", id="training.copy-command", show=False),
        Binding("R", "read", "read again", id="training.read", show=False),
        Binding("escape,q", "app.back", "back", id="training.back"),
    ]

    def __init__(self, run: str):
        super().__init__()
        self.run_name = run
        self.seen = Seen(run)
        self._feed: watching.TrainingFeed | None = None
        self._tail: Tail[Seen] | None = None
        self._hint = ""

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        yield Static("", id="state")
        yield Static("", id="facts")
        with Container(id="both"):
            with Container(id="logged"):
                yield Static("", id="log-title")
                yield LogView(id="log")
            yield Chart(id="curves")
        yield Static("", id="note")
        yield KeyBar()

    def on_mount(self) -> None:
        self._feed = watching.TrainingFeed(self.lyrx.store_path, self.run_name)
        self.put("#title", Text.assemble((inert(self.run_name), "accent bold"), ("  reading …", "muted")))
        self.query_one(LogView).focus()
        # Its clock goes on also while nothing is committed.
        pace = Pace(self.pace.fastest, max(self.pace.fastest, _CLOCK))
        self._tail = Tail(self, self._poll, self._hear, self._lost, pace=pace)
        self.read()

    # Following

    def read(self) -> None:
        """Look for what is new, off the event loop."""
        if self._tail is not None:
            self._tail.kick()

    def _poll(self, force: bool) -> Seen | None:
        del force
        assert self._feed
        seen = self._feed.poll()
        return None if seen == self.seen else seen

    def _hear(self, news: News[Seen]) -> None:
        self.seen = news.update or self.seen
        self.refresh_all()

    def _lost(self, trouble: Trouble) -> None:
        self.report(trouble)
        self.say(trouble.message, alarm=True)

    def refresh_all(self) -> None:
        """Show everything anew."""
        seen, picture = self.seen, self.seen.picture
        self.put("#title", _title(seen))
        self.put("#state", state_line(seen, watching.now(), self.size.width - 2))
        self.put("#facts", facts(seen))
        log = self.query_one(LogView)
        log.show(seen.lines)
        self.put("#log-title", log_title(seen, log.following, shown_home()))
        curves = Plot("", empty="no epoch has been finished yet") if picture is None else training_plot(picture)
        self.query_one("#curves", Chart).show(curves)
        self.set_class(not seen.ours, "-no-log")
        self._say()
        self.refresh_bindings()

    def _say(self) -> None:
        said, bad = note(self.seen)
        self.say(self._hint or said, alarm=bad and not self._hint)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self.refresh_all)

    def on_log_view_followed(self) -> None:
        self.refresh_all()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing are not shown."""
        if action == "again":
            return self.seen.ours and self.seen.over and self.seen.phase != "done"
        if action == "stop":
            return self.seen.stoppable
        return True

    # Stopping and starting

    def action_stop(self) -> None:
        seen = self.seen
        if not seen.stoppable:
            self._tell("nothing is under way that could be stopped from here")
        elif seen.asked_to_stop is not None and watching.now() - seen.asked_to_stop >= STOP_PATIENCE:
            self._offer_to_kill()
        elif seen.asked_to_stop is not None:
            self._tell("it was asked to stop already, and has a moment to do so")
        else:
            question = Text.assemble(("Stop the training of ", ""), (inert(seen.run), "accent bold"), "?\n")
            question.append("What it has committed is kept; started again, it goes on from there.", "muted")
            self.app.push_screen(Confirm(question, "stop it", "leave it"), self._stop)

    def _stop(self, yes: bool | None) -> None:
        if yes and self._feed and self._feed.training:
            self._act(self._feed.training.stop)
            self.set_timer(STOP_PATIENCE, self._still_there)

    def _still_there(self) -> None:
        """It had its time: kill it?"""
        if self.seen.alive and self.seen.asked_to_stop is not None and self.is_current:
            self._offer_to_kill()

    def _offer_to_kill(self) -> None:
        question = Text.assemble((inert(self.seen.run), "accent bold"), f" has not ended within {STOP_PATIENCE:g} s.")
        question.append(" Kill it?\nEpochs and cells that are committed are kept; the one at work is lost.", "muted")
        self.app.push_screen(Confirm(question, "kill it", "wait"), self._kill)

    def _kill(self, yes: bool | None) -> None:
        if yes and self._feed and self._feed.training:
            self._act(self._feed.training.kill)

    def action_again(self) -> None:
        if self._feed and self._feed.training:
            training = self._feed.training
            self._act(lambda: trainings.again(training))

    def _act(self, action) -> None:
        self.run_worker(self._carry_out(action), group="act")

    async def _carry_out(self, action) -> None:
        self._hint = ""
        try:
            await asyncio.to_thread(action)
        except trainings.TrainingError as error:
            self._hint = inert(str(error))
        self.read()

    def _tell(self, hint: str) -> None:
        self._hint = inert(hint)
        self._say()

    # Elsewhere

    def action_open(self) -> None:
        if self.seen.picture is None:
            self._tell("the run has not begun yet: it has no heatmap")
        else:
            self.lyrx.open_run(self.run_name)

    def action_copy_log(self) -> None:
        self.app.copy_to_clipboard("\n".join(self.seen.lines))
        self._tell(f"copied {len(self.seen.lines):,} lines of the log")

    def action_copy_command(self) -> None:
        if not self.seen.command:
            self._tell("it was not started from here: its command is not known")
            return
        self.app.copy_to_clipboard(self.seen.command)
        self._tell("copied the command")

    def action_read(self) -> None:
        self._hint = ""
        self.read()


def _title(seen: Seen) -> Text:
    title = Text.assemble((inert(seen.run), "accent bold"), no_wrap=True, overflow="ellipsis")
    if seen.picture is not None:
        title.append(f"  {inert(seen.picture.run.model)} on {inert(seen.picture.run.data)}")
        history = seen.picture.history
        if history:
            last = history[-1]
            loss = "" if last.train_loss != last.train_loss else f"train loss {last.train_loss:.4f}, "
            title.append(f" · {loss}test error {100 * last.test_error:.2f} %", "muted")
    return title
