"""Things that happen often and are told now and then."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

EVERY = 0.1
"""Seconds between two words on the same thing: nobody sees more than ten pictures a second."""


class AtMost:
    """Calls an action at once, and again only when some time has passed since: the last call is never lost."""

    def __init__(self, action: Callable[[Any], None], every: float = EVERY):
        self._action, self._every = action, every
        self._last: dict[Hashable, float] = {}
        self._waiting: set[Hashable] = set()

    def __call__(self, key: Any) -> None:
        if key in self._waiting:
            return
        loop = asyncio.get_running_loop()
        wait = self._last.get(key, -self._every) + self._every - loop.time()
        if wait <= 0:
            self._act(key)
        else:
            self._waiting.add(key)
            loop.call_later(wait, self._act, key)

    def _act(self, key: Any) -> None:
        self._waiting.discard(key)
        self._last[key] = asyncio.get_running_loop().time()
        self._action(key)
