"""What the app remembers of how it was left: in memory, and written to the user's state folder now and then."""

import threading
from pathlib import Path
from typing import Any

from .core.view import HeatView, TableView
from .viewstate import ViewState


class Remembering:
    """The looks at one store, and the app's theme. Two small files are read when it is made, others when asked for."""

    def __init__(self, store: Path, folder: Path | None = None, *, fresh: bool = False):
        self._state = ViewState(store, folder, fresh=fresh)
        self._app = self._state.app()
        self._place = self._state.place()
        self._views: dict[str, HeatView | None] = {}
        self._unwritten: set[str | None] = set()
        """Names of runs; None: where one is."""
        self._new_theme = False
        self._writing = threading.Lock()

    @property
    def theme(self) -> str | None:
        """The theme chosen last."""
        theme = self._app.get("theme")
        return theme if isinstance(theme, str) else None

    def keep_theme(self, name: str) -> None:
        """Keep the theme."""
        self._app = {**self._app, "theme": name}
        self._new_theme = True

    @property
    def run(self) -> str | None:
        """The run that was open."""
        run = self._place.get("run")
        return run if isinstance(run, str) else None

    @property
    def table(self) -> TableView:
        """How the table of runs was looked at."""
        return TableView.from_json(self._place.get("table"))

    def keep_table(self, view: TableView) -> None:
        """Keep how the table of runs is looked at."""
        self.keep_place(table=view.to_json())

    def keep_place(self, **values: Any) -> None:
        """Keep where one is in this store, besides what was kept before."""
        place = {**self._place, **values}
        if place != self._place:
            self._place = place
            self._unwritten.add(None)

    def view(self, run: str) -> HeatView | None:
        """How the heatmap of `run` was looked at, or None if it was not. Reads a small file the first time."""
        if run not in self._views:
            self._views[run] = self._state.view(run)
        return self._views[run]

    def keep_view(self, run: str, view: HeatView) -> None:
        """Keep how the heatmap of `run` is looked at."""
        if self._views.get(run) != view:
            self._views[run] = view
            self._unwritten.add(run)

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._unwritten or self._new_theme)

    def write(self) -> None:
        """Write what has changed. From any thread; errors of the file system keep nobody from working."""
        with self._writing:
            names, self._unwritten = self._unwritten, set()
            theme, self._new_theme = self._new_theme, False
            if theme:
                self._state.keep_app(self._app)
            for name in names:
                view = None if name is None else self._views.get(name)
                if name is None:
                    self._state.keep_place(self._place)
                elif view is not None:
                    self._state.keep_view(name, view)
