"""Tables of runs, and what a check found, as text."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..store import LyrxError, Store, inert
from ..store.check import Report
from .jsonout import dumps, run_json


def rows(store: Store) -> tuple[list[dict[str, Any]], list[LyrxError]]:
    """What there is to say of each run (see `explorer/JSON.md`), and what is wrong with those that cannot be read."""
    runs, errors = store.runs()
    found = []
    for run in runs:
        try:
            found.append(run_json(run))
        except LyrxError as error:
            errors.append(error)
    return found, errors


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """The JSON list of `lyrx ls --json`."""
    return dumps(rows)


def show(store: Store, rows: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Print the runs of a store as a table."""
    console = console or Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    if not rows:
        console.print(Text(f"{inert(str(store.path))} holds no runs yet. `lyrx batch SPEC` makes one."))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("run", "state", "model", "data"):
        table.add_column(title, overflow="fold")
    for title in ("layers", "checkpoints", "epochs", "error"):
        table.add_column(title, justify="right")
    for facts in rows:
        error = facts["error"]
        table.add_row(
            # Text, not str: what comes from a file is never read as markup.
            *(Text(inert(str(text))) for text in (facts["name"], _state(facts), facts["model"], facts["data"])),
            *(str(facts[key]) for key in ("layers", "checkpoints")),
            f"{facts['epoch'] if facts['epoch'] is not None else '–'}/{facts['epochs']}",
            "–" if error is None else f"{100 * error:.2f} %",
        )
    console.print(table)


def _state(facts: dict[str, Any]) -> str:
    """The run's status; of a complete one also how exact its picture is, or how far the newest probe is."""
    progress = facts["progress"]
    if facts["status"] != "complete" or progress["exact"] == progress["cells"]:
        return facts["status"]
    if progress["measured"] < progress["cells"]:
        return f"complete, further probe {progress['measured']}/{progress['cells']}"
    return f"complete, {progress['exact']}/{progress['cells']} exact"


def show_report(report: Report) -> None:
    """Print what a check found."""
    for path in report.swept:
        print(f"swept {inert(str(path))}")
    for path in report.kept:
        print(f"left alone, perhaps still in use: {inert(str(path))}")
    for path in report.mended:
        print(f"written anew from its commit record: {inert(str(path))}")
    for path in report.unsettled:
        print(f"not yet as committed, while a live process writes: {inert(str(path))}")
    for problem in report.damaged:
        print(f"damaged: {inert(str(problem))}")
    state = f"{len(report.damaged)} damaged" if report.damaged else "all whole"
    print(f"{report.runs} runs, {report.checkpoints} checkpoints, {report.rows} rows of numbers: {state}.")
