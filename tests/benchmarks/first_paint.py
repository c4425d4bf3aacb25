"""How soon `lyrx explore` shows something: from the start of its process to the frame with the runs in it.

    python tests/benchmarks/first_paint.py STORE RUN [--times 9]

RUN is a run of the store, whose name is waited for on a pseudo-terminal of 80 x 24.  Beside it, in turn, a process that
only imports Textual's app: what is left of the ratio is lyrx's own.
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time


def seconds_until(command: list[str], wanted: bytes, patience: float = 20.0) -> float:
    """From the start of `command` on a pseudo-terminal until `wanted` appears in its output."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    output = b""
    try:
        while time.perf_counter() - start < patience:
            if select.select([terminal], [], [], 0.05)[0]:
                output += os.read(terminal, 65536)
                if wanted in output:
                    return time.perf_counter() - start
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    sys.exit(f"{wanted!r} did not appear within {patience} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("run")
    parser.add_argument("--times", type=int, default=9)
    options = parser.parse_args()
    explore = [sys.executable, "-m", "lyrx.explorer.cli", "explore", options.store]
    paints, imports = [], []
    for _ in range(options.times + 1):
        paints.append(seconds_until(explore, options.run.encode()))
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import textual.app"], check=True)
        imports.append(time.perf_counter() - start)
    del paints[0], imports[0]  # these filled the caches
    print(f"{options.times} starts; medians")
    print(f"runs on the screen: {statistics.median(paints):.2f} s ({min(paints):.2f} to {max(paints):.2f})")
    print(f"import textual.app: {statistics.median(imports):.2f} s ({min(imports):.2f} to {max(imports):.2f})")


if __name__ == "__main__":
    main()
