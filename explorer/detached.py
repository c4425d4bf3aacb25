"""Start a command that outlives whoever asks for it, and keep how it ended: `python -m lyrx.explorer.detached RECORD`.

RECORD is a JSON file with `command` and `cwd`; the log lies beside it.  The process forks: the first one goes as soon
as the command runs (or says on standard output why it cannot), the second one, in a session of its own, writes the
command's process id into the record, waits, and leaves the exit status beside it.  So nobody's end, no hang-up and no
closed connection reaches the command, and its end is known even if no app was there to see it.

Standard library and psutil only: it lives as long as the training does, and should cost next to nothing.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Replace `path` atomically. (Not the store's: nothing here needs to survive a power cut.)"""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=1))
    os.replace(partial, path)


def log_path(record: Path) -> Path:
    """The log of the training with this record."""
    return record.with_suffix(".log")


def exit_path(record: Path) -> Path:
    """Where its exit status is kept once it has ended."""
    return record.with_suffix(".exit")


def main() -> int:
    record = Path(sys.argv[1])
    told, tell = os.pipe()
    with contextlib.suppress(PermissionError):
        os.setsid()  # refused only where this process leads a group already, and then has a session of its own
    if os.fork():
        os.close(tell)
        with os.fdopen(told) as heard:
            complaint = heard.read()
        print(complaint, end="", flush=True)
        return 1 if complaint else 0
    os.close(told)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _keep(record, tell)
    os._exit(0)


def _keep(record: Path, tell: int) -> None:
    """Run the command to its end."""
    import psutil

    facts = json.loads(record.read_text())
    try:
        with log_path(record).open("ab") as log:
            process = subprocess.Popen(
                facts["command"],
                cwd=facts["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                process_group=0,
                # What is ignored stays so in a child.
                preexec_fn=_heed_signals,
            )
        created = psutil.Process(process.pid).create_time()
        keeper = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    except (OSError, psutil.Error) as error:
        os.write(tell, str(error).encode())
        return
    write_json(record, {**facts, "pid": process.pid, "created": created, "keeper": keeper})
    # From here on nobody is listening, and nothing may keep the app's pipes or its folder.
    _let_go()
    os.close(tell)
    code = process.wait()
    write_json(exit_path(record), {"code": code, "ended": time.time()})


def _heed_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def _let_go() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    os.chdir("/")


if __name__ == "__main__":
    raise SystemExit(main())
