"""Save a picture of the app (SVG, drawn by the app itself) from any store: the one in the README is made so.

    python tests/screenshot.py STORE [--run RUN] [--size 120x36] [--keys down,right] [--out app.svg]

No worker is started and nothing is measured.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from lyrx.explorer.app import LyrxApp
from textual.worker import WorkerCancelled


async def settle(pilot) -> None:
    """Wait until everything that was begun has ended and is on the screen."""
    await pilot.pause()
    while list(pilot.app.workers):
        with contextlib.suppress(WorkerCancelled):  # it has ended too
            await pilot.app.workers.wait_for_complete()
        await pilot.pause()


async def export_picture(
    store: Path, out: Path, *, run: str | None = None, size: tuple[int, int] = (120, 36), keys: Sequence[str] = ()
) -> Path:
    """Save what the app shows of `store` after these `keys` were pressed, in `size` columns and lines, as SVG."""
    app = LyrxApp(store, None, run, warm_up=False, poll_seconds=3600)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
        await settle(pilot)
        out.write_text(app.export_screenshot(title="lyrx"), encoding="utf-8")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--run")
    parser.add_argument("--size", default="120x36")
    parser.add_argument("--keys", default="", help="names of keys with commas between them")
    parser.add_argument("--out", type=Path, default=Path("app.svg"))
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    keys = [key for key in asked.keys.split(",") if key]
    asyncio.run(export_picture(asked.store, asked.out, run=asked.run, size=(width, height), keys=keys))
    print(asked.out)


if __name__ == "__main__":
    main()
