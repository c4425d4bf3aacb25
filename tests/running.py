"""Running lyrx in tests: specs as plain values, batches in this process, commands in processes of their own."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lyrx.engine.batch import run_batch
from lyrx.engine.specfile import make_spec
from lyrx.engine.worker import Worker
from lyrx.store import Run, Store

TESTS = Path(__file__).parent

SPEC: dict[str, Any] = {
    "run": {"name": "r", "seed": 3, "device": "cpu"},
    "model": {"name": "fcn", "width": 16, "depth": 2},
    "data": {"name": "digits"},
    "train": {"epochs": 3, "batch_size": 32, "lr": 0.05, "checkpoints": [0, 1, 3]},
    "probe": {"draws": 2},
}


def spec_values(**sections: dict[str, Any]) -> dict[str, Any]:
    """SPEC with some keys of some sections changed (a section with a new `name` is replaced)."""
    values = {section: dict(keys) for section, keys in SPEC.items()}
    for section, keys in sections.items():
        values[section] = keys if "name" in keys and section in ("model", "data") else {**values[section], **keys}
    return values


def batch(store: Path, *, fresh: bool = False, **sections: dict[str, Any]) -> tuple[Run, list[Any]]:
    """Carry a spec out in this process; returns its run and the events."""
    events: list[Any] = []
    spec = make_spec(spec_values(**sections))
    run_batch([spec], store, fresh=fresh, observer=events.append)
    return Store.open(store).run(spec.run.name), events


def write_spec(path: Path, **sections: dict[str, Any]) -> Path:
    """SPEC, changed, as a TOML file."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{k}" = {text(v)}' for k, v in value.items()) + "}"
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value).replace("'", '"')

    lines = []
    for section, keys in spec_values(**sections).items():
        lines += [f"[{section}]", *(f"{key} = {text(value)}" for key, value in keys.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def environment(**extra: str) -> dict[str, str]:
    """This process's, with the tests' modules importable, and without a launcher's variables."""
    keep = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LYRX_STORE")}
    return {**keep, "PYTHONPATH": str(TESTS), "COLUMNS": "100", **extra}


def lyrx(*arguments: str | Path, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment(**extra), cwd=cwd, timeout=240
    )


def command(*arguments: str | Path) -> Sequence[str]:
    return [sys.executable, "-m", "lyrx.explorer.cli", *map(str, arguments)]


def weights(run: Run, epoch: int) -> dict[str, bytes]:
    """Every tensor's bytes at a checkpoint."""
    return {name: array.tobytes() for name, array in run.checkpoints.read(epoch).items()}


def cells(run: Run) -> dict[Any, Any]:
    """Every committed estimate of the newest probe."""
    return run.probe().results().estimates


def worked(*requests: dict[str, Any], cancel_at: str = "") -> list[dict[str, Any]]:
    """What a worker in this very process says to requests, each made when the one before has finished or failed.

    At the first event of the type `cancel_at` all is cancelled; the worker goes on when it has heard it.
    """
    read, write = os.pipe()
    events = io.BytesIO()
    with os.fdopen(read, "rb") as given, os.fdopen(write, "wb") as giving:
        waiting, cancelled = iter(requests), []

        def ask() -> None:
            request = next(waiting, None)
            if request is None:
                giving.close()
            else:
                giving.write(json.dumps(request).encode() + b"\n")
                giving.flush()

        class Events(io.BytesIO):
            def write(self, line: Any) -> int:
                events.write(line)
                said = json.loads(line)
                if said["type"] == cancel_at and not cancelled:
                    cancelled.append(said)
                    giving.write(b'{"type": "cancel"}\n')
                    giving.flush()
                    while not worker._cancelled:
                        time.sleep(0.001)
                if said["type"] == "finished" or (said["type"] == "failed" and said["cell"] is None):
                    ask()
                return len(line)

        worker = Worker(given, Events())
        ask()
        worker.run()
    return [json.loads(line) for line in events.getvalue().splitlines()]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """The command line in a process of its own that is still running, its output and errors on pipes."""
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def launch(*arguments: str | Path, **extra: str) -> subprocess.Popen[str]:
    """The command line under `torchrun` as two processes of one thread each, output and errors on pipes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launcher += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m"]
    return subprocess.Popen(
        [*launcher, *command(*arguments)[2:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(OMP_NUM_THREADS="1", **extra),
    )


def launched(*arguments: str | Path, **extra: str) -> tuple[int, str, str]:
    """The same to its end: exit code, output, errors."""
    with launch(*arguments, **extra) as process:
        try:
            output, errors = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, output, errors


def assert_trained_alike(two: Run, one: Run, epoch: int, atol: float) -> None:
    """That two processes trained as one does: the same first weights, the last to `atol`, the same errors.

    Losses agree to 1e-4 only: each process adds up its own share.
    """
    assert two.status() == "complete"
    for ours, theirs in zip(two.history.read()[0], one.history.read()[0], strict=True):
        assert ours.test_error == theirs.test_error
        assert ours.test_loss == pytest.approx(theirs.test_loss, rel=1e-4)
        if ours.epoch:
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
    trained = two.checkpoints.read(epoch)
    for name, array in one.checkpoints.read(epoch).items():
        assert np.allclose(trained[name], array, atol=atol)
    assert weights(two, 0) == weights(one, 0)
