"""Following a log file: its last lines, as it grows. Off the event loop."""

import os
from pathlib import Path

from .core.logtext import LogText

_FIRST = 256 * 1024
"""Bytes of the end of a log that are read when it is opened."""
_AT_ONCE = 1024 * 1024
"""Bytes read in one go afterwards; of more, the last ones."""


class LogFile:
    """The end of one log."""

    def __init__(self, path: Path):
        self.path = path
        self._text = LogText()
        self._at: int | None = None
        self._file: tuple[int, int] | None = None

    def poll(self) -> tuple[str, ...]:
        """Its last lines now. Raises OSError when it cannot be read."""
        with self.path.open("rb") as log:
            about = os.fstat(log.fileno())
            if self._file != (about.st_dev, about.st_ino) or about.st_size < (self._at or 0):
                self._text, self._at, self._file = LogText(), None, (about.st_dev, about.st_ino)
            most = _FIRST if self._at is None else _AT_ONCE
            begin = max(self._at or 0, about.st_size - most)
            skipped = begin > (self._at or 0)
            log.seek(begin)
            if skipped:
                self._text = LogText()
                log.readline()  # its first half is not there
            self._text.feed(log.read(most))
            self._at = log.tell()
        return self._text.lines
