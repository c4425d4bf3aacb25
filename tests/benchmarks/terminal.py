"""A program on a pseudo-terminal, for the benchmarks of the app: what it writes, and when."""

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import termios
import time
from collections.abc import Sequence
from typing import NamedTuple


class Answer(NamedTuple):
    """What a program writes because of a key."""

    first: float
    """Seconds from the key until something was drawn."""
    last: float
    """Seconds from the key until all was drawn that it brings about."""
    count: int
    """Bytes."""


class Terminal:
    """`command` on a pseudo-terminal of `columns` x `lines`; use it in a `with`."""

    def __init__(self, command: Sequence[str], columns: int = 80, lines: int = 24, **environment: str):
        self.start = time.perf_counter()
        self._size = struct.pack("HHHH", lines, columns, 0, 0)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            # As installed: modules that are compiled at every start say nothing of a program that has been.
            os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", **environment)
            try:
                os.execvp(command[0], command)
            finally:
                os._exit(127)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, self._size)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)

    def press(self, keys: str) -> None:
        """Send keys, as a terminal encodes them."""
        os.write(self._fd, keys.encode())

    def until(self, wanted: bytes, patience: float = 30.0) -> bytes:
        """What it writes until `wanted` was written. Raises TimeoutError."""
        output, end = b"", time.perf_counter() + patience
        while wanted not in output:
            more = self._read(end - time.perf_counter())
            if not more:
                last = output[-300:]
                raise TimeoutError(f"{wanted!r} did not appear within {patience} s; the last was: {last!r}")
            output += more
        return output

    def settle(self, quiet: float = 0.3, patience: float = 30.0) -> bytes:
        """What it writes until it has been quiet for a while."""
        output, end = b"", time.perf_counter() + patience
        while time.perf_counter() < end and (more := self._read(quiet)):
            output += more
        return output

    def answer(self, keys: str, quiet: float = 0.03, patience: float = 2.0) -> "Answer":
        """What is written because of these keys.

        The answer has ended when nothing came for `quiet` seconds.  Raises TimeoutError when there is none.
        """
        self.press(keys)
        start = time.perf_counter()
        if not (more := self._read(patience)):
            raise TimeoutError(f"nothing was drawn within {patience} s of {keys!r}")
        first = last = time.perf_counter()
        count = len(more)
        while more := self._read(quiet):
            last, count = time.perf_counter(), count + len(more)
        return Answer(first - start, last - start, count)

    def _read(self, patience: float) -> bytes:
        if patience <= 0 or not select.select([self._fd], [], [], patience)[0]:
            return b""
        try:
            return os.read(self._fd, 1 << 16)
        except OSError:
            return b""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal and for a README."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def spread(values: Sequence[float], unit: str = " ms", scale: float = 1000.0, digits: int = 1) -> str:
    """Median, in brackets the least and the most."""
    low, middle, high = (f"{scale * f(values):.{digits}f}" for f in (min, statistics.median, max))
    return f"{middle}{unit} ({low} to {high})"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of them do not exceed."""
    return sorted(values)[min(len(values) - 1, max(0, -(-int(share * 1000) * len(values) // 1000) - 1))]
