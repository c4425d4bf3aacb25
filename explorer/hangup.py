"""An app whose terminal is gone, or that is asked to end, ends in order: views are kept, and the worker ends."""

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import LyrxApp

_PATIENCE = 8.0
"""Seconds until it ends in any case: a thread may be waiting for a terminal or a disk that is no more. The worker ends
by itself then, since nobody speaks to it."""


def end_in_order(app: "LyrxApp") -> None:
    """Have SIGHUP (the connection or the window is gone) and SIGTERM end `app`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGHUP, signal.SIGTERM):
        loop.add_signal_handler(number, _end, app, number)


def _end(app: "LyrxApp", number: signal.Signals) -> None:
    code = 128 + number
    last = threading.Timer(_PATIENCE, os._exit, [code])
    last.daemon = True
    last.start()
    if app.remembering is not None:
        app.look_around()
        threading.Thread(target=app.remembering.write, daemon=True).start()
    app.exit(return_code=code)
