"""The terminal app: `lyrx explore`.

It starts in a blink because it imports no torch and no zarr, ever: numbers are read from the store's files, and cells
are measured by a worker process.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

# Read by Textual when it is imported: over SSH, fewer frames are more.
os.environ.setdefault("TEXTUAL_FPS", "30")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

from textual.app import App

from ..store import LyrxError, Store
from .screens.feed import Table, TableFeed
from .screens.heatmap import HeatmapScreen
from .screens.measuring import Measuring, ProbeKey
from .screens.runs import RunsScreen
from .widgets.heatmap import Heatmap

POLL_SECONDS = 1.0


def _worker_log() -> Path:
    from .paths import worker_log

    return worker_log()


class LyrxApp(App[int]):
    """Walk through the store at `store_path`; open `run` at once if it is given.

    `worker_command` starts a worker (default: this Python's `lyrx.engine.worker`); with `warm_up` it is started as soon
    as a heatmap has been looked at for half a second, else by the first measurement.
    """

    CSS_PATH = "lyrx.tcss"
    TITLE = "lyrx"
    ENABLE_COMMAND_PALETTE = False

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
    ):
        super().__init__()
        self.store_path = store_path
        self.warm_up = warm_up
        self.poll_seconds = poll_seconds
        self.measuring = Measuring(store_path.absolute(), worker_command, _worker_log, self._changed, self._committed)
        self._open_first = run
        self._feed = feed or TableFeed(store_path)
        self._first = first

    def on_mount(self) -> None:
        # A run asked for at the start is painted at once; the table is made when somebody goes back to it.
        if self._open_first is not None:
            self.open_run(self._open_first)
        else:
            self.push_screen(RunsScreen(self._feed, self._first))

    def open_run(self, name: str) -> None:
        """Show the heatmap of the run called `name`."""
        self.push_screen(HeatmapScreen(name))

    async def action_help(self) -> None:
        from .screens.help import Help

        await self.push_screen(Help(self.screen))

    async def action_back(self) -> None:
        """From a heatmap to the table of runs."""
        if any(isinstance(screen, RunsScreen) for screen in self.screen_stack):
            self.pop_screen()
        else:
            await self.switch_screen(RunsScreen(self._feed, self._first))

    def _changed(self, key: ProbeKey | None) -> None:
        for screen in self._heatmaps():
            if key in (None, screen.key):
                screen.refresh_marks()

    def _committed(self, key: ProbeKey) -> None:
        for screen in self._heatmaps():
            if screen.key == key:
                screen.read()

    def _heatmaps(self) -> list[HeatmapScreen]:
        """The screens with a heatmap. While the app ends, a screen stays a moment longer than what is on it."""
        return [screen for screen in self.screen_stack if isinstance(screen, HeatmapScreen) and screen.query(Heatmap)]

    async def on_unmount(self) -> None:
        await self.measuring.close()


def run_app(store_path: Path, worker: list[str] | None, run: str | None) -> int:
    """Open the app on a store and stay until it is left. Returns the exit code.

    Raises LyrxError before anything is drawn: no such store, not a store, no such run.
    """
    store = Store.open(store_path)
    name = None if run is None else store.run(run).name
    feed = TableFeed(store_path)
    found: list[Table] = []
    # Read while the app is being built: the first frame then shows the runs, and a slow disk delays no frame.
    reader = threading.Thread(target=_read_first, args=(feed, found), daemon=True)
    reader.start()
    reader.join(0.2)
    app = LyrxApp(store_path, worker, name, feed=feed if found else None, first=found[0] if found else None)
    app.run()
    return app.return_code or 0


def _read_first(feed: TableFeed, found: list[Table]) -> None:
    try:
        table = feed.poll()
    except (LyrxError, OSError):
        return  # the app reads again, and says it
    if table is not None:
        found.append(table)
