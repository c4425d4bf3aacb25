"""From a key to the frame that answers it and to the last byte of all that it brings about; how many bytes frames cost.

    python tests/make_stores.py FOLDER
    python tests/benchmarks/explorer.py FOLDER [--presses 200] [--busy 1]

FOLDER holds many.zarr (1,000 runs) and large.zarr (500 layers x 60 columns).  Measured idle, and again while `--busy`
processes do what a probe does (forwards of a convolutional network, `nice` as the worker's), at full speed with all
cores.  Each keyboard action is pressed again and again, each press waits for its frames; p50 and p99 of the presses.
The first frame shows the cursor where it is now; the last one also what is told beside it: a cell's panel and curve,
the glance at a run that is read from the store.  The goal is a p99 of 50 ms from a key to its repaint.  All is told
when nothing came for 30 ms, which is not counted.  On a pseudo-terminal.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from terminal import Answer, Terminal, percentile, table

LOAD = """
import torch
from torchvision.models import resnet18
network, images = resnet18().eval(), torch.rand(64, 3, 64, 64)
print("at work", flush=True)
with torch.no_grad():
    while True:
        network(images)
"""


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes compute at full speed, each with a thread for every core, as a worker does."""
    started = [subprocess.Popen([sys.executable, "-c", LOAD], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in started:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit("the load did not start: are torch and torchvision installed?")
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def explorer(store: Path, *arguments: str, size: tuple[int, int], wanted: bytes) -> Iterator[Terminal]:
    """The app on a store, once it shows `wanted` and has read what there is to read."""
    command = [sys.executable, "-m", "lyrx.explorer.cli", "explore", str(store), *arguments, "--worker", "sleep 100000"]
    with tempfile.TemporaryDirectory() as own, Terminal(command, *size, XDG_CACHE_HOME=own, XDG_STATE_HOME=own) as app:
        app.until(wanted)
        app.settle(quiet=2.0)
        yield app


def presses(app: Terminal, keys: Sequence[str], count: int) -> list[Answer]:
    """The answers to `keys` pressed in turn, `count` times in all."""
    for key in keys[:4]:
        app.answer(key)
    return [app.answer(keys[number % len(keys)]) for number in range(count)]


def latencies(folder: Path, count: int) -> dict[str, list[Answer]]:
    """What every action takes, in seconds and bytes."""
    found: dict[str, list[Answer]] = {}
    right_left = ["l", "l", "j", "h", "h", "k"]
    with explorer(folder / "large.zarr", "--run", "large", size=(120, 40), wanted=b"encoder") as app:
        found["heatmap 120 x 40: the cursor to the next cell"] = presses(app, right_left, count)
        down = ["j"] * 60 + ["k"] * 60
        found["heatmap 120 x 40: down, also over the edge"] = presses(app, down, count)
        found["heatmap 120 x 40: a page down"] = presses(app, ["\x1b[6~"] * 8 + ["\x1b[5~"] * 8, count // 2)
    with explorer(folder / "many.zarr", size=(120, 40), wanted=b"seed0") as app:
        found["1,000 runs: the cursor to the next run"] = presses(app, ["j"] * 20 + ["k"] * 20, count)
        app.answer("/")
        typed = list("resnet error<5%") + ["\x7f"] * 15
        found["1,000 runs: a key typed into the filter"] = presses(app, typed, count)
    return found


def frames(folder: Path) -> list[list[str]]:
    """Bytes of whole frames, and of one cell that was committed."""
    rows = []
    for layers, columns in ((50, 40), (500, 60)):
        with tempfile.TemporaryDirectory() as made:
            store = folder / "large.zarr" if layers == 500 else _smaller(Path(made), layers, columns)
            size = (12 + 7 * columns // 2, layers + 16) if layers == 50 else (200, 50)
            with explorer(store, "--run", "large", size=size, wanted=b"encoder") as app:
                # The heatmap alone is drawn anew: first without digits, then with them.
                drawn = [app.answer("d", quiet=0.3).count for _ in range(2)]
                app.answer("?", quiet=0.3)
                drawn.append(app.answer("\x1b", quiet=0.3).count)
            for part, count in zip(("heatmap", "heatmap with digits", "whole screen"), drawn, strict=True):
                rows.append([f"{layers} x {columns} cells in {size[0]} x {size[1]}: {part}", f"{count:,}"])
    with tempfile.TemporaryDirectory() as made:
        store = _smaller(Path(made), 50, 40)
        with explorer(store, "--run", "large", size=(120, 36), wanted=b"encoder") as app:
            rows.append(["one cell is committed", f"{_one_cell(store, app):,}"])
    return rows


def _smaller(folder: Path, layers: int, columns: int) -> Path:
    script = Path(__file__).parents[1] / "make_stores.py"
    subprocess.run(
        [sys.executable, str(script), str(folder), "--runs", "1", "--layers", str(layers), "--columns", str(columns)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return folder / "large.zarr"


def _one_cell(store: Path, app: Terminal) -> float:
    """The median of the bytes that the app writes when a cell gets another number."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import fakes
    from lyrx.store import Cell, Store

    probe = Store.open(store).run("large").probe()
    costs = []
    for number in range(9):
        # Rows that are on the screen, away from the cursor, so that no panel changes.
        probe.write(Cell(3 + number, 5), fakes.estimate(0.05 * number, n=9_000), durable=False)
        costs.append(len(app.settle(quiet=2.5)))
    return statistics.median(costs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--presses", type=int, default=200)
    parser.add_argument("--busy", type=int, default=1, help="processes that compute, for the second half")
    parser.add_argument("--only", choices=["keys", "bytes"], help="measure one of the two")
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M')}\n")
    if asked.only != "bytes":
        idle = latencies(asked.folder, asked.presses)
        with busy(asked.busy):
            at_work = latencies(asked.folder, asked.presses)
        rows = []
        for name in idle:
            size = statistics.median(answer.count for answer in idle[name])
            cells = [
                f"{1000 * percentile([getattr(answer, end) for answer in found[name]], share):.1f}"
                for end in ("first", "last")
                for found in (idle, at_work)
                for share in (0.5, 0.99)
            ]
            rows.append([name, *cells, f"{size:,.0f}"])
        hows = [f"{how}: {share}" for how in ("idle", "probing") for share in ("p50", "p99")]
        ends = [f"{end}, {how}" for end in ("first", "all") for how in hows]
        head = ["key to repaint, ms", *ends, "bytes"]
        print(table(head, rows), flush=True)
        print()
    if asked.only != "keys":
        print(table(["frame", "bytes"], frames(asked.folder)))


if __name__ == "__main__":
    main()
