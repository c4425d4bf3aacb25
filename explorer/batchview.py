"""Everything `lyrx batch` prints: progress while it works, each run's heatmap when it is complete."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..store import inert
from .core.picture import take_picture
from .progress import Bars, Lines


@contextmanager
def batch_view(store: Path, *, quiet: bool) -> Iterator[Any]:
    """An observer of the engine's events that shows them on standard output."""
    console = Console(highlight=False)
    view = Bars(console) if console.is_terminal else Lines(sys.stdout)

    def observe(event: Any) -> None:
        view(event)
        if type(event).__name__ == "RunClosed":
            _show(event, store, console)

    if quiet:
        yield lambda event: None
        return
    with view:
        yield observe


def _show(event: Any, store: Path, console: Console) -> None:
    from .show import print_heatmap

    console.print()
    print_heatmap(take_picture(event.run, event.run.probe(event.probe)), "error", console)
    console.print(Text(f"Walk through it: lyrx explore {inert(str(store))}", style="bold"))
    console.print()
