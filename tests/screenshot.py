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
from textual.app import App
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

AT_REST = 3
"""Looks in a row at which nothing may be under way and the screen must be the same: one change may bring the next."""


async def settle(pilot: Pilot) -> None:
    """Wait until everything that was begun has ended and is on the screen.

    A pause of Textual's own takes a process that uses no CPU for one that is idle: on a machine where others compute it
    is merely waiting for its turn.  So what counts is what is still to be done, and what is shown.  An app that was
    told to end does nothing of it any more.
    """
    shown: list[str] = []
    quiet = 0
    while quiet < AT_REST and not pilot.app._exit:
        await pilot.pause()
        while list(pilot.app.workers):
            with contextlib.suppress(WorkerCancelled):  # it has ended too
                await pilot.app.workers.wait_for_complete()
            await pilot.pause()
        before, shown = shown, screen_text(pilot)
        quiet = quiet + 1 if shown == before and not _under_way(pilot.app) else 0


def screen_text(pilot: Pilot) -> list[str]:
    """The whole screen as text."""
    return ["".join(segment.text for segment in strip) for strip in pilot.app.screen._compositor.render_strips()]


def _under_way(app: App) -> bool:
    """Whether an answer, a message, a callback, a new arrangement or drawing is still to come on the screen."""
    if isinstance(app, LyrxApp) and app.weights.busy:
        return True  # a process reads weights, and a figure of them will follow
    screen = app.screen
    if screen._callbacks or screen._layout_required or screen._repaint_required or screen._dirty_widgets:
        return True
    return any(node.message_queue_size or node._next_callbacks for node in (app, *screen.walk_children(with_self=True)))


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
