"""How soon `lyrx explore` shows something: from the start of its process to the frame with the runs in it.

    python tests/benchmarks/first_paint.py STORE TEXT [--times 9] [--posting PATH] [--heatmap STORE RUN TEXT]

TEXT is a part of a run's name that the first screen shows (the end of the newest one's: the front of a long name is
cut), and is waited for on a pseudo-terminal of 80 x 24.  tests/make_stores.py makes a store of 1,000 runs.  In turn
with it: the same without what the app keeps of the table from the start before; posting (https://posting.sh), an app of
the same kind, if it is installed at PATH (made by `python -m venv PATH && PATH/bin/pip install posting
'tree-sitter<0.26'`; its highlighter crashes with a newer one); and a process that only imports Textual's app.
--heatmap opens the app straight on a run of another store, until TEXT (a part of a layer's name, say) is shown, on
120 x 36.  Each has its turn in every round: a busy machine is as unfair to all.  The ratios are those of the pairs.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from terminal import Terminal, spread, table


def first_paint(
    command: list[str], wanted: bytes, size: tuple[int, int] = (80, 24), stay: bool = False, **environment: str
) -> float:
    """Seconds from the start of `command` until `wanted` appears in what it writes.

    To `stay` is to leave it open until it has read all and kept it for its next start.
    """
    with Terminal(command, *size, **environment) as terminal:
        terminal.until(wanted)
        taken = time.perf_counter() - terminal.start
        if stay:
            terminal.settle(quiet=2.0)
        return taken


def textual_alone() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("text")
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--posting", type=Path, metavar="PATH", help="a virtual environment with posting")
    parser.add_argument("--heatmap", nargs=3, metavar=("STORE", "RUN", "TEXT"))
    options = parser.parse_args()
    explore = [sys.executable, "-m", "lyrx.explorer.cli", "explore", options.store]
    wanted = options.text.encode()
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as home:
        # Not where the person who runs this was looking in the store.
        own = {"XDG_CACHE_HOME": kept, "XDG_STATE_HOME": kept}
        sides: dict[str, Callable[[], float]] = {
            "lyrx explore": lambda: first_paint(explore, wanted, **own),
            "the same, the store never seen before": lambda: _unseen(explore, wanted),
        }
        if options.heatmap:
            store, run, text = options.heatmap
            opened = [*explore[:-1], store, "--run", run]
            sides["straight on a heatmap"] = lambda: first_paint(opened, text.encode(), (120, 36), **own)
        posting = options.posting and options.posting / "bin" / "posting"
        if posting and posting.exists():
            # The title of its first screen; its own folders are thrown away.
            theirs = {"XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home, "HOME": home}
            sides["posting"] = lambda: first_paint([str(posting), "--collection", home], b"nter a URL", **theirs)
        else:
            print(f"posting: not measured, {posting or '--posting'} is not there")
        sides["import textual.app, no app"] = textual_alone
        taken: dict[str, list[float]] = {name: [] for name in sides}
        first_paint(explore, wanted, stay=True, **own)
        for turn in range(options.times + 1):
            for name, side in sides.items():
                seconds = side()
                if turn:  # the first one filled the caches
                    taken[name].append(seconds)
    ours = taken["lyrx explore"]
    rows = [
        [
            name,
            spread(values, " s", 1.0, 2),
            f"{statistics.median(b / a for a, b in zip(ours, values, strict=True)):.2f}",
        ]
        for name, values in taken.items()
    ]
    print(f"{options.times} starts each, in turn; medians, in brackets the least and the most\n")
    print(table(["until the first screen", "seconds", "times lyrx explore"], rows))


def _unseen(explore: list[str], wanted: bytes) -> float:
    with tempfile.TemporaryDirectory() as empty:
        return first_paint(explore, wanted, XDG_CACHE_HOME=empty, XDG_STATE_HOME=empty)


if __name__ == "__main__":
    main()
