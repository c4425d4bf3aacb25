"""How long a warm worker takes to answer: from the request's line to the line that says the cell is committed.

    python tests/benchmarks/worker.py STORE RUN [--times 30] [--exact]

Measures one cell of RUN again and again through a real `lyrx worker` process, until it is decided or with --exact on
all examples, and beside it, in turn, the plain forward of the whole network over the examples that the probe sees, in
this process.  Then, in this process with everything warm, the time from asking until a cell's first estimate is
committed, for every row.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
from lyrx.engine.session import Session
from lyrx.store import Cell, Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("run")
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--exact", action="store_true")
    options = parser.parse_args()
    run = Store.open(options.store).run(options.run)
    session = Session(run, run.probe())

    @torch.inference_mode()
    def forward() -> None:
        step = session.batch_size.now
        for start in range(0, session.examples, step):
            session.forwards.full(session._batches.between(start, min(start + step, session.examples))[0])

    def estimate(layer: int) -> tuple[float, int]:
        """Seconds until the first look at a cell is committed, and the examples it saw."""
        start = time.perf_counter()
        look = next(session.measure([Cell(layer, 1, 0)], again=True))
        return time.perf_counter() - start, look.seen

    command = [sys.executable, "-m", "lyrx.engine.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(number: int) -> float:
            cell = [number % len(run.probe().info.layers), 1, 0]
            request = {"type": "probe", "id": str(number), "store": options.store, "run": options.run}
            line = json.dumps({**request, "cells": [cell], "again": True, "exact": options.exact}).encode() + b"\n"
            start = time.perf_counter()
            process.stdin.write(line)
            process.stdin.flush()
            while json.loads(process.stdout.readline())["type"] != "committed":
                pass
            answered = time.perf_counter() - start
            while json.loads(process.stdout.readline())["type"] != "finished":
                pass
            return answered

        first = ask(0)
        answers, forwards = [], []
        for number in range(options.times):
            answers.append(ask(number))
            start = time.perf_counter()
            forward()
            forwards.append(time.perf_counter() - start)
        process.stdin.write(b'{"type": "quit"}\n')
        process.stdin.flush()
    rows = range(len(run.probe().info.layers))
    with run.writing("benchmark"):
        for layer in rows:
            estimate(layer)
        estimates, seen = zip(*(estimate(layer) for layer in rows), strict=True)
    ratios = [answer / plain for answer, plain in zip(answers, forwards, strict=True)]
    print(f"{options.times} cells, {session.examples:,} examples each, {torch.get_num_threads()} threads; medians")
    print(f"first answer (imports, data, model): {first:.2f} s")
    print(f"warm answer: {1000 * statistics.median(answers):.1f} ms, slowest {1000 * max(answers):.1f} ms")
    print(
        f"first estimate ({max(seen)} examples): {1000 * statistics.median(estimates):.1f} ms, "
        f"slowest of {len(rows)} rows {1000 * max(estimates):.1f} ms"
    )
    print(f"plain forward: {1000 * statistics.median(forwards):.1f} ms; ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
