"""The terminal app: `lyrx explore`.

It starts in a blink because it imports no torch and no zarr, ever: numbers are read from the store's files, and cells
are measured by a worker process.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

# Read by Textual when it is imported. A key waits for the next frame, and only what changes is sent (`frames`): many
# frames cost little over SSH, and what moves by itself would cost more than it says.
os.environ.setdefault("TEXTUAL_FPS", "120")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

from textual.binding import Binding, BindingType
from textual.events import Event, InputEvent
from textual.filter import Monochrome, NoColor

from .collecting import EVERY, Collector
from .core.doing import ProbeKey
from .core.picture import Picture
from .core.runrow import Table
from .core.troubles import Trouble
from .core.view import HeatView, TableView
from .nocolour import NoColours
from .screens.base import LyrxScreen
from .screens.heatmap import HeatmapScreen
from .screens.measuring import Measuring
from .screens.runs import RunsScreen
from .tablefeed import TableFeed
from .telling import TellingApp
from .themes import OURS, colours_of, our_themes
from .weights import Weights
from .widgets.heatmap import Heatmap
from .widgets.side import CellSide

if TYPE_CHECKING:
    from .config import Config
    from .remembering import Remembering

POLL_SECONDS = 0.25
"""Between two looks at the store while things change; more while nothing does (`tail.Pace`)."""

KEEP_SECONDS = 2.0
"""How often it is noted how the app is looked at."""


def _worker_log() -> Path:
    from .paths import worker_log

    return worker_log()


class LyrxApp(TellingApp, inherit_bindings=False):
    """Walk through the store at `store_path`; open `run` at once if it is given.

    `worker_command` starts a worker (default: this Python's `lyrx.engine.worker`); with `warm_up` it is started as soon
    as a heatmap has been looked at for half a second, else by the first measurement. `config` is what the person wants
    otherwise, `remembering` keeps how the app was left (None: nothing is kept).
    """

    CSS_PATH = "lyrx.tcss"
    TITLE = "lyrx"
    ENABLE_COMMAND_PALETTE = False  # ours is opened by a binding with an id

    # What Textual binds to ctrl+q and ctrl+c is not among them: terminals take the one, and the other copies.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help", id="app.help"),
        Binding("ctrl+p,colon", "palette", "commands", id="app.palette"),
        Binding("exclamation_mark", "errors", "what went wrong", id="app.errors", show=False),
        Binding("ctrl+l", "draw_anew", "draw the screen anew", id="app.draw", show=False),
        Binding("ctrl+z", "suspend_process", "suspend; fg comes back", id="app.suspend", show=False),
        Binding("ctrl+c", "interrupt", "how to leave", id="app.interrupt", show=False, system=True),
    ]

    def __init__(
        self,
        store_path: Path,
        worker_command: Sequence[str] | None = None,
        run: str | None = None,
        *,
        warm_up: bool = True,
        poll_seconds: float = POLL_SECONDS,
        feed: TableFeed | None = None,
        first: Table | None = None,
        config: "Config | None" = None,
        remembering: "Remembering | None" = None,
    ):
        super().__init__()
        for theme in our_themes():
            self.register_theme(theme)
        self.config = config
        self.remembering = remembering
        self._look(config, remembering)
        self.store_path = store_path
        self.warm_up = warm_up
        self.poll_seconds = config.poll_seconds if config and config.poll_seconds else poll_seconds
        self.measuring = Measuring(
            store_path.absolute(), worker_command, _worker_log, self._changed, self._committed, self._trouble
        )
        self.weights = Weights(self._weights_came)
        self._open_first = run
        self._feed = feed or TableFeed(store_path)
        self._first = first
        self.clock = time.time
        self.collector = Collector()

    def _look(self, config: "Config | None", remembering: "Remembering | None") -> None:
        """Theme and colours, before anything is drawn."""
        wanted = (config.theme if config else None) or (remembering.theme if remembering else None)
        theme = wanted if wanted in self.available_themes else OURS[0]
        self.set_reactive(LyrxApp.theme, theme)
        self.stylesheet.set_variables(self.get_css_variables())
        # Textual turns colours into greys; NO_COLOR means none at all.
        self._filters = [NoColours() if isinstance(one, Monochrome | NoColor) else one for one in self._filters]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The tones as `$lyrx-muted` and so on, for style sheets."""
        return colours_of(self.current_theme).variables

    def on_mount(self) -> None:
        if self.config is not None:
            self._use(self.config)
        # A run asked for at the start is painted at once; the table is made when somebody goes back to it.
        if self._open_first is not None:
            self.open_run(self._open_first)
        else:
            self.push_screen(self._table())
        if self.remembering is not None:
            self.set_interval(KEEP_SECONDS, self._keep)
        if not self.is_headless:
            from .hangup import end_in_order

            end_in_order(self)
            self.set_timer(EVERY, self.collector.take_over)
            self.set_interval(EVERY, self.collector.look)

    async def on_event(self, event: Event) -> None:
        if isinstance(event, InputEvent):
            self.collector.used()
        await super().on_event(event)

    def _use(self, config: "Config") -> None:
        """A person's keys, and what is wrong with the settings."""
        problems = list(config.problems)
        if config.keys:
            from .config import Problem
            from .core.keys import checked
            from .keys import all_keys, normal_key

            keys, refused = checked(config.keys, all_keys(), normal_key)
            self.set_keymap(keys)
            problems += [Problem(f"keys.{one.id}", one.what, one.todo) for one in refused]
        for problem in reversed(problems):
            where = f"{config.path}, {problem.key}" if problem.key else str(config.path)
            self.incident("a setting is not used", f"{where}: {problem.what}", problem.todo)

    def _table(self) -> RunsScreen:
        """The table of runs, as it was looked at."""
        view = self.remembering.table if self.remembering else TableView()
        return RunsScreen(self._feed, self._first, view)

    def open_run(self, name: str) -> None:
        """Show the heatmap of the run called `name`."""
        screen = HeatmapScreen(name)
        self.push_screen(screen)
        view = self._first_view(name)
        if view is not None:
            screen.restore(view)

    def _first_view(self, run: str) -> HeatView | None:
        """How `run` was looked at, or how a person wants to look at one that is new to them."""
        kept = self.remembering.view(run) if self.remembering else None
        return kept if kept is not None else self._wanted_view()

    def _wanted_view(self) -> HeatView | None:
        """How a person wants to look at heatmaps, if the settings say it."""
        if self.config is None:
            return None
        wanted = {"ramp": self.config.ramp, "digits": self.config.digits}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return HeatView(**wanted) if wanted else None

    def open_model(self, name: str, picture: Picture | None = None, layer: int | None = None) -> None:
        """Show the network of the run called `name`: at once if its `picture` is known, at its `layer`."""
        from .screens.model import ModelScreen

        self.push_screen(ModelScreen(name, picture, layer))

    def compare(self, runs: Sequence[str], probe: str | None = None, view: "HeatView | None" = None) -> None:
        """Show these runs beside each other, the first one's `probe` (default: its newest).

        They are looked at as in `view`, or where that is not given as the settings say.
        """
        from .screens.compare import CompareScreen

        self.push_screen(CompareScreen(runs, probe, view or self._wanted_view()))

    def compare_with(self, run: str, probe: str | None = None, view: "HeatView | None" = None) -> None:
        """Ask for the runs that `run` is compared with."""
        from .screens.compare_pick import PickRuns

        self.push_screen(PickRuns(self.store_path, run, lambda others: self.compare([run, *others], probe, view)))

    def go_to_layer(self, run: str, layer: str) -> None:
        """From the network of a run to the row of one of its layers in its heatmap."""
        self.pop_screen()
        if not (isinstance(self.screen, HeatmapScreen) and self.screen.run_name == run):
            self.open_run(run)
        heatmap = self.screen_stack[-1]
        assert isinstance(heatmap, HeatmapScreen)
        heatmap.go_to_layer(layer)

    async def action_back(self) -> None:
        """From a heatmap to the table of runs."""
        self.look_around()  # while the screen that is left is still there
        if any(isinstance(screen, RunsScreen) for screen in self.screen_stack):
            self.pop_screen()
        else:
            await self.switch_screen(self._table())

    # What is over every screen

    async def action_help(self) -> None:
        from .screens.help import Help, active_keys

        keys = [key for key, _, _ in active_keys(self.screen)]
        await self.push_screen(Help(keys, marks=bool(self.screen.query(Heatmap))))

    async def action_palette(self) -> None:
        from .screens.palette import Palette

        await self.push_screen(Palette(self.screen))

    async def action_errors(self) -> None:
        from .screens.incidents import IncidentsPanel

        await self.push_screen(IncidentsPanel())

    def action_draw_anew(self) -> None:
        """For a terminal that something else has written to."""
        self.draw_anew()

    def action_interrupt(self) -> None:
        """Ctrl+c measures nothing and ends nothing; somebody who presses it is told what does."""
        screen = self.screen
        if isinstance(screen, LyrxScreen) and screen.query("#note"):
            screen.say("ctrl+c copies what is selected with the mouse; q goes back, and quits from the table of runs")

    def choose_theme(self, name: str) -> None:
        """Look like this from now on, and the next time."""
        self.theme = name
        if self.remembering is not None:
            self.remembering.keep_theme(name)

    def ramp_names(self) -> tuple[str, ...]:
        """The colour scales that there are, the usual one first."""
        from .settings import ramp_names

        return ramp_names()

    def see_incidents(self) -> None:
        super().see_incidents()
        self.measuring.seen()

    # Measuring

    def _changed(self, key: ProbeKey | None) -> None:
        for screen in self._heatmaps():
            if key is None or key in screen.probe_keys:
                screen.refresh_marks()

    def _trouble(self, trouble: Trouble) -> None:
        self.incident(trouble.title, trouble.what, trouble.todo)

    def _committed(self, key: ProbeKey) -> None:
        for screen in self._heatmaps():
            if key in screen.probe_keys:
                screen.read()

    def _weights_came(self) -> None:
        for side in self.screen.query(CellSide):
            side.redraw()

    def _heatmaps(self) -> list[HeatmapScreen]:
        """The screens with a heatmap. While the app ends, a screen stays a moment longer than what is on it."""
        return [screen for screen in self.screen_stack if isinstance(screen, HeatmapScreen) and screen.query(Heatmap)]

    # How the app is left

    def look_around(self) -> None:
        """Note where one is, and how the table and every heatmap are looked at."""
        if self.remembering is None or not self._screen_stack:
            return
        open_run = None
        for screen in self.screen_stack:
            if isinstance(screen, HeatmapScreen):
                open_run = screen.run_name
                self.remembering.keep_view(open_run, screen.view)
            elif isinstance(screen, RunsScreen):
                self.remembering.keep_table(screen.view)
        self.remembering.keep_place(run=open_run)

    async def _keep(self) -> None:
        self.look_around()
        assert self.remembering
        if self.remembering.changed:
            await asyncio.to_thread(self.remembering.write)

    def exit(self, *args: Any, **named: Any) -> None:
        # While the screens are still there.
        self.look_around()
        super().exit(*args, **named)

    async def on_unmount(self) -> None:
        await self.weights.close()
        if self.remembering is not None:
            await asyncio.to_thread(self.remembering.write)
        await self.measuring.close()
