"""Stands in for lyrx's command line where a training is started: what it does depends on the run's name.

    dies        ends at once with a message and exit code 2
    stubborn    does not heed SIGTERM
    anything    prints lines like `lyrx batch`, until it is told to end; then it says so and ends with 130

A dry run is lyrx's own.  It needs no torch, so that all of it takes moments.
"""

import os
import signal
import sys
import time
import tomllib
from pathlib import Path

if "--dry-run" in sys.argv:
    os.execv(sys.executable, [sys.executable, "-m", "lyrx.explorer.cli", *sys.argv[1:]])

name = tomllib.loads(Path(sys.argv[2]).read_text())["run"]["name"]
if name == "dies":
    print("lyrx: there is no data set \x1b[31mhere\x1b[0m. Put it there.", file=sys.stderr)
    raise SystemExit(2)


def end(*_: object) -> None:
    print("lyrx: interrupted. What was finished is kept; the same command goes on from there.", flush=True)
    raise SystemExit(130)


signal.signal(signal.SIGTERM, signal.SIG_IGN if name == "stubborn" else end)
print(f"2026-01-01 00:00:00 {name}: new, 9 epochs", flush=True)
print("loading  10 %\rloading 100 %", flush=True)
while True:
    time.sleep(0.05)
