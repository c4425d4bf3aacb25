"""A real pseudo-terminal with a program in it: its bytes, its screen, and keys pressed."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

PATIENCE = 60.0


class Terminal:
    """`command` in a pseudo-terminal of `size` columns and lines. A context manager: what still runs then is killed."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], size: tuple[int, int] = (80, 24)):
        self.raw = b""
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.code: int | None = None
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(command[0], list(command), dict(env))
            finally:
                os._exit(127)
        self.resize(*size)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def hang_up(self) -> None:
        """The window is closed, the connection is lost."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def _read(self) -> None:
        if self.master < 0 or not select.select([self.master], [], [], 0.02)[0]:
            return
        try:
            found = os.read(self.master, 65536)
        except OSError:  # the program has ended
            return
        self.raw += found
        # pyte takes a question about the keyboard (CSI ? u, CSI > u) for a text; nobody answers it here either.
        self._stream.feed(found)

    def until(self, condition: Callable[[], object]) -> None:
        """Read until this is so."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"it did not happen; the screen:\n{self.text}")
            self._read()

    def ended(self) -> bool:
        """Whether the program has ended; its exit code (minus the signal that killed it) is then in `code`."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def stopped(self) -> bool:
        """Whether the program was put to sleep since this was asked last."""
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        return bool(pid) and os.WIFSTOPPED(status)


def explore(*arguments: str) -> list[str]:
    """The command line of the app."""
    return [sys.executable, "-m", "lyrx.explorer.cli", "explore", *arguments]
