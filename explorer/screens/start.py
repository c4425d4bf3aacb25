"""Start a training: pick a spec, see what it says and what would become of it, start it detached."""

import asyncio
import contextlib
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.suggester import Suggester
from textual.widgets import Input, Static
from textual.widgets.option_list import Option

from ...store import inert
from .. import specfiles, trainings
from ..checking import SpecChecker
from ..core.speclist import SpecFile, highlighted, is_path, list_line, matching, split_options
from ..core.specs import Checked, checked_text
from ..widgets.confirm import Confirm
from ..widgets.keybar import KeyBar
from ..widgets.toned import toned
from ..widgets.tonelist import ToneList
from .base import LyrxScreen
from .training import TrainingScreen

_DEBOUNCE = 0.12
"""Seconds that a choice must stand before it is checked."""
_MOST_PROCESSES = 1024


def shown_folder() -> str:
    """The working folder, as it is shown."""
    return str(Path.cwd())


class SpecList(ToneList):
    """The files to choose from. A click chooses, a second one starts."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "next spec", id="specs.down", show=False),
        Binding("k", "cursor_up", "spec before", id="specs.up", show=False),
        Binding("g", "first", "first spec", id="specs.first", show=False),
        Binding("G", "last", "last spec", id="specs.last", show=False),
    ]

    async def _on_click(self, event: events.Click) -> None:
        # Textual's own would select at once, and to select is to start.
        event.prevent_default()
        chosen = event.style.meta.get("option")
        if chosen is not None and not self.get_option_at_index(chosen).disabled:
            self.highlighted = chosen
            if event.chain > 1:
                await self.screen.run_action("start")


class _Paths(Suggester):
    """Completes paths as they are typed; the right arrow takes what is suggested."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(specfiles.completed, value, Path.cwd()) if is_path(value) else None


class StartScreen(LyrxScreen):
    """Pick a spec and start its training."""

    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-narrow"), (100, "-beside"), (130, "-wide")]
    DEFAULT_CSS = """
    StartScreen Input, StartScreen Input:focus {
        height: 1; border: none; padding: 0; background: $panel; color: $foreground;
    }
    StartScreen .row { height: 1; padding: 0 1; }
    StartScreen .label { width: 9; color: $lyrx-muted; }
    StartScreen #filter, StartScreen #options { width: 1fr; }
    StartScreen #processes { width: 6; }
    StartScreen #processes-label { width: 12; padding: 0 0 0 2; color: $lyrx-muted; }
    StartScreen #work { height: 1fr; layout: vertical; padding: 1 1 0 1; }
    StartScreen SpecList, StartScreen SpecList:focus {
        height: auto; max-height: 30%; width: 100%; border: none; padding: 0; background: $background;
        text-wrap: nowrap; text-overflow: ellipsis; scrollbar-size: 1 1;
    }
    StartScreen SpecList > .option-list--option { padding: 0; }
    StartScreen SpecList > .option-list--option-disabled { color: $lyrx-muted; }
    StartScreen SpecList > .option-list--option-highlighted { background: $panel; color: $foreground; }
    StartScreen SpecList:focus > .option-list--option-highlighted { background: $lyrx-line; color: $lyrx-cursor-text; }
    StartScreen.-nothing SpecList { display: none; }
    StartScreen #about { height: 1fr; width: 100%; margin: 1 0 0 0; }
    StartScreen #checked { height: auto; max-height: 60%; }
    StartScreen #text-scroll { height: 1fr; margin: 1 0 0 0; }
    StartScreen #checked-text, StartScreen #text { width: 100%; height: auto; }
    StartScreen VerticalScroll {
        scrollbar-size: 1 1; scrollbar-color: $lyrx-faint; scrollbar-background: $panel;
        scrollbar-color-hover: $lyrx-muted; scrollbar-background-hover: $panel;
        scrollbar-color-active: $lyrx-accent; scrollbar-background-active: $panel;
    }
    StartScreen.-low #work { padding: 0 1; }
    StartScreen.-beside #work, StartScreen.-wide #work { layout: horizontal; padding: 1 1 0 1; }
    StartScreen.-beside SpecList, StartScreen.-wide SpecList {
        width: 40%; max-width: 64; height: 100%; max-height: 100%;
    }
    StartScreen.-beside #about, StartScreen.-wide #about { width: 1fr; height: 100%; margin: 0 0 0 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "start", "start", id="start.start", priority=True),
        Binding("up", "move(-1)", "spec before", id="start.up", show=False),
        Binding("down", "move(1)", "next spec", id="start.down", show=False),
        Binding("pageup", "scroll_text(-1)", "spec's text up", id="start.text-up", show=False),
        Binding("pagedown", "scroll_text(1)", "spec's text down", id="start.text-down", show=False),
        Binding("slash", "filter", "filter", id="start.filter", show=False),
        Binding("tab", "app.focus_next", "next field", id="start.next"),
        Binding("f1", "app.help", "help", id="start.help"),
        Binding("escape", "app.back", "back", id="start.back"),
        Binding("q", "app.back", "back", id="start.quit", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._files: list[SpecFile] = []
        self._listed: list[SpecFile | None] = []
        """What each line of the list is; None for the name of a folder."""
        self.checked: Checked | None = None
        """The answer for what is chosen; None while it is awaited."""
        self._checker: SpecChecker | None = None
        self._options: list[str] = []
        self._stamp: object = None
        self._wanted = self._starting = False
        self._hint = ""

    def content(self) -> ComposeResult:
        yield Static("", id="title")
        with Horizontal(classes="row"):
            yield Static("spec", classes="label")
            yield Input(placeholder="type to filter, or a path", id="filter", suggester=_Paths())
        with Horizontal(classes="row"):
            yield Static("set", classes="label")
            yield Input(placeholder="train.epochs=10 …, --exact, --fresh", id="options")
            yield Static("processes", id="processes-label")
            yield Input("1", id="processes", restrict=r"\d{0,4}", max_length=4)
        with Container(id="work"):
            yield SpecList(id="specs", markup=False)
            with Container(id="about"):
                with VerticalScroll(id="checked", can_focus=False):
                    yield Static("", id="checked-text")
                with VerticalScroll(id="text-scroll"):
                    yield Static("", id="text")
        yield Static("", id="note")
        yield KeyBar()

    def on_mount(self) -> None:
        store = inert(str(self.lyrx.store_path))
        self.put("#title", Text.assemble(("start a training", "accent bold"), (f"  into {store}", "muted")))
        self._checker = SpecChecker(self.lyrx.store_path)
        for field in self.query(Input):
            field.cursor_blink = False  # each blink is bytes over SSH
        self.query_one("#filter", Input).focus()
        self._find()
        self.set_interval(self.lyrx.poll_seconds, self._look_again)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self._fill)

    # Which files there are

    def _find(self) -> None:
        self.run_worker(self._read_files(), group="find", exclusive=True)

    async def _read_files(self) -> None:
        typed = self.query_one("#filter", Input).value.strip()
        if is_path(typed):
            listed = await asyncio.to_thread(specfiles.completions, typed, Path.cwd())
        else:
            self._files = await asyncio.to_thread(specfiles.find_specs, Path.cwd())
            listed = matching(self._files, typed)
        self._list(listed)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        typed = event.value.strip()
        if is_path(typed):
            self._find()
        else:
            self._list(matching(self._files, typed))

    def _list(self, files: list[SpecFile]) -> None:
        before = self.chosen
        self._listed = []
        for number, file in enumerate(files):
            if not number or files[number - 1].group != file.group:
                self._listed.append(None)
            self._listed.append(file)
        self._fill(before)

    def _fill(self, before: SpecFile | None = None) -> None:
        specs, before = self.query_one(SpecList), before or self.chosen
        width = specs.size.width - 3
        named = min(36, max((len(file.name) for file in self._listed if file), default=0))
        lines = []
        for number, file in enumerate(self._listed):
            group = next((one.group for one in self._listed[number:] if one), "")
            line = Text(inert(group.rstrip("/") + "/"), "muted")
            if file is not None:
                line = Text("  ").append_text(list_line(file, width, named))
            lines.append(Option(toned(line, self.app), disabled=file is None))
        self.set_class(not lines, "-nothing")
        specs.clear_options()
        specs.add_options(lines)
        paths = [file and file.path for file in self._listed]
        again = paths.index(before.path) if before and before.path in paths else None
        first = next((number for number, file in enumerate(self._listed) if file), None)
        specs.highlighted = first if again is None else again
        if first is None:
            self._choose()

    @property
    def chosen(self) -> SpecFile | None:
        """The file under the cursor."""
        number = self.query_one(SpecList).highlighted
        return self._listed[number] if number is not None and number < len(self._listed) else None

    # What the chosen one says

    def on_option_list_option_highlighted(self) -> None:
        self._choose()

    @on(Input.Changed, "#options")
    def _options_changed(self) -> None:
        self._choose()

    @on(Input.Changed, "#processes")
    def _processes_changed(self) -> None:
        self._show()

    def _choose(self) -> None:
        """Read and check what is chosen; what was being checked before is given up."""
        self._wanted, self._hint = False, ""
        self.run_worker(self._look(), group="check", exclusive=True)

    async def _look(self) -> None:
        file = self.chosen
        assert self._checker
        self.checked = None
        if file is None:
            self.put("#text", Text(""))
            self._show()
            return
        try:
            self._options = split_options(self.query_one("#options", Input).value)
        except ValueError as error:
            self._options, self.checked = [], Checked(error=str(error))
        try:
            text = highlighted(await asyncio.to_thread(specfiles.text_of, file.path))
        except OSError as error:
            text = Text(f"{inert(str(file.path))}: {error.strerror or error}", "alarm")
        self._stamp = specfiles.stamp_of(file.path)
        self.put("#text", text)
        known = self._checker.known(_short(file.path), self._options)
        if self.checked is None and known is None:
            self._show()
            await asyncio.sleep(_DEBOUNCE)
            known = await self._checker.check(_short(file.path), self._options)
        self.checked = self.checked or known
        self._show()
        if self._wanted:
            self._wanted = False
            self.action_start()

    def _look_again(self) -> None:
        """A file may have been edited, another one added."""
        file = self.chosen
        if file is not None and self.is_current and specfiles.stamp_of(file.path) != self._stamp:
            self._choose()

    def on_screen_resume(self) -> None:
        if self._checker is not None:
            self._checker.forget()
            self._find()
            self._choose()

    def _show(self) -> None:
        file, checked = self.chosen, self.checked
        if file is None:
            self.put("#checked-text", self._nothing())
        elif checked is None:
            self.put("#checked-text", Text("checking …", "muted"))
        else:
            text = checked_text(checked, str(self.lyrx.store_path), self.query_one("#about").size.width - 2)
            if checked.startable:
                text.append("\n$ ", "muted")
                text.append(trainings.shown_command(self._command(file)))
            self.put("#checked-text", text)
        self._say()

    def _nothing(self) -> Text:
        typed = self.query_one("#filter", Input).value.strip()
        if typed:
            hint = "Clear the line, or type a path such as ~/specs/net.toml."
            return Text.assemble("No spec matches.\n", (hint, "muted"))
        return Text.assemble(
            "There are no specs here.\n\n",
            ("Looked for *.toml in ", "muted"), inert(shown_folder()), (" and in its examples folder.\n", "muted"),
            ("A spec says what to train and what to measure: sections run, model, data, train and probe "
             "(README, “A spec”). Type the path of one above.", "muted"),
        )  # fmt: skip

    def _say(self) -> None:
        if self._hint:
            self.say(self._hint, alarm=True)
        elif self._starting:
            self.say("starting …")
        elif self._wanted:
            self.say("starts as soon as it is checked …")
        elif self.checked is not None and self.checked.startable:
            self.say("enter starts it, detached: it outlives the app and the connection")
        else:
            self.say("")

    # Starting

    def _command(self, file: SpecFile) -> tuple[str, ...]:
        spec = self.checked.spec if self.checked and self.checked.spec else {}
        device = spec.get("run", {}).get("device") if isinstance(spec.get("run"), dict) else None
        gpus = 0 if device == "cpu" else trainings.gpu_count()
        count = int(self.query_one("#processes", Input).value or 1)
        processes = max(1, min(count, _MOST_PROCESSES))
        return trainings.batch_command(_short(file.path), self.lyrx.store_path, self._options, processes, gpus=gpus)

    def action_start(self) -> None:
        """Start what is chosen, if it can be; while it is being checked, as soon as it is."""
        file, checked = self.chosen, self.checked
        if self._starting or file is None:
            return
        if checked is None:
            self._wanted = True
            self._say()
        elif not checked.startable:
            said = checked.error or checked.refused or "this run is complete: there is nothing left to do"
            self._hint = inert(said.splitlines()[0])
            self._say()
        elif checked.notes or checked.state == "anew":
            self.app.push_screen(Confirm(_doubts(checked), "start it", "do not"), self._confirmed)
        else:
            self._confirmed(True)

    def _confirmed(self, yes: bool | None) -> None:
        if yes and self.chosen is not None and self.checked is not None:
            self._starting = True
            self._say()
            self.run_worker(self._start(self.chosen, self.checked.run), group="start")

    async def _start(self, file: SpecFile, run: str) -> None:
        command, store = self._command(file), self.lyrx.store_path.absolute()
        try:
            await asyncio.to_thread(trainings.start, command, run=run, store=store, spec=file.path.absolute())
        except trainings.TrainingError as error:
            self._hint = inert(str(error))
        else:
            # Not awaited here: with this screen ends what it has begun, and this is part of it.
            self.app.call_later(self.app.switch_screen, TrainingScreen(run))
            return
        finally:
            self._starting = False
        self._say()

    # Moving

    def action_move(self, step: int) -> None:
        specs = self.query_one(SpecList)
        specs.action_cursor_down() if step > 0 else specs.action_cursor_up()

    def action_scroll_text(self, step: int) -> None:
        scroll = self.query_one("#text-scroll", VerticalScroll)
        scroll.scroll_relative(y=step * max(1, scroll.size.height - 1), animate=False)

    def action_filter(self) -> None:
        self.query_one("#filter", Input).focus()


def _short(path: Path) -> Path:
    """`path` as one would type it in the working folder; that is kept with the training."""
    with contextlib.suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path


def _doubts(checked: Checked) -> Text:
    """What to think of before it is started."""
    text = Text()
    if checked.state == "anew":
        text.append(f"The run {inert(checked.run)} is removed first, with all that was measured of it.\n", "alarm")
    for missing in checked.notes:
        text.append(f"{inert(missing)}\n", "alarm")
    if checked.notes:
        text.append("It will most likely end as soon as it begins.\n", "muted")
    return text.append("Start it all the same?")
