"""How the app is begun: what is read before it is drawn, and what its end means for whoever began it."""

import os
import signal
import threading
from pathlib import Path

from ..store import LyrxError, Store
from .collecting import nothing_collected
from .core.runrow import Table
from .tablefeed import RowCache, TableFeed

_BUDGET = 0.05
"""Seconds that the store is read before the first frame: enough for the runs that fit on it. Imports share the
interpreter with it, so that each of these is one that the frame comes later."""


def run_app(store_path: Path, worker: list[str] | None, run: str | None, *, fresh_view: bool = False) -> int:
    """Open the app on a store and stay until it is left. Returns the exit code.

    With no `run` it opens where one was; with `fresh_view` as if for the first time.

    Raises LyrxError before anything is drawn: no such store, not a store, no such run, LYRX_CONFIG names no settings.
    """
    with nothing_collected():
        return _run(store_path, worker, run, fresh_view)


def _run(store_path: Path, worker: list[str] | None, run: str | None, fresh_view: bool) -> int:
    store = Store.open(store_path)
    name = None if run is None else store.run(run).name
    from .remembering import Remembering
    from .settings import settings

    remembering = Remembering(store_path, fresh=fresh_view)
    if name is None:
        name = _still_there(store, remembering.run)
    feed = TableFeed(store_path, RowCache.of(store_path))
    found: list[Table] = []
    reader = threading.Thread(target=_read_first, args=(feed, found), daemon=True)
    if name is None:
        # Read while Textual is imported: the first frame then shows the runs, and a slow disk delays no frame.
        reader.start()
    from .app import LyrxApp

    config = settings()
    if name is None:
        reader.join(0.2)
    app = LyrxApp(
        store_path,
        worker,
        name,
        feed=None if reader.is_alive() else feed,
        first=found[0] if found else None,
        config=config,
        remembering=remembering,
    )
    app.run()
    if app.return_code == 128 + signal.SIGHUP:
        # Nobody can be told anything any more, and trying to would be an error at the very end.
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    return app.return_code or 0


def _still_there(store: Store, run: str | None) -> str | None:
    try:
        return None if run is None else store.run(run).name
    except (LyrxError, OSError):
        return None  # it is gone, and the table shows what is there


def _read_first(feed: TableFeed, found: list[Table]) -> None:
    try:
        table = feed.poll(budget=_BUDGET)
    except (LyrxError, OSError):
        return  # the app reads again, and says it
    if table is not None:
        found.append(table)
