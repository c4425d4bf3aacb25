"""Everything real at once: a trained run, the app in a pseudo-terminal, its worker, and a kill. Nothing sleeps."""

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest
from lyrx.store import Cell, Estimate, Run
from running import batch, command, environment
from terminal import Terminal, explore


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Run, dict[Cell, Estimate]]:
    """A run that `lyrx batch` trained and measured to exact numbers, and these; four of them are taken back."""
    path = tmp_path_factory.mktemp("terminal") / "lyrx.zarr"
    run, _ = batch(
        path,
        run={"name": "quick", "seed": 0, "device": "cpu"},
        model={"name": "fcn", "width": 32, "depth": 2},
        train={"epochs": 3, "batch_size": 32, "lr": 0.1, "momentum": 0.9, "checkpoints": [0, 1, 3]},
        probe={"draws": 2, "exact": True},
    )
    probe = run.probe()
    exact = dict(probe.results().estimates)
    for cell in (Cell(1, 1), Cell(0, 2), Cell(1, 0, 0), Cell(1, 0, 1)):
        probe.withdraw(cell)
    return run, exact


@pytest.fixture
def env(tmp_path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    homes = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("STATE", "CONFIG", "CACHE")}
    return {**kept, **homes, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}


def workers(app: int) -> list[int]:
    """The living workers of the app with this process id."""
    found = []
    for child in psutil.Process(app).children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE and "lyrx.engine.worker" in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def known(run: Run, cell: Cell) -> Estimate | None:
    return run.probe().read(cell)


@pytest.mark.slow
def test_measuring_live_through_the_death_of_a_worker(trained, env):
    run, exact = trained
    store: Path = run.path.parent.parent
    with Terminal(explore(str(store), "--run", "quick"), env, (120, 36)) as terminal:
        terminal.until(lambda: "fc1" in terminal.text and "baseline" in terminal.text)
        # The cursor stands on the first layer at checkpoint 0; one down is missing.
        terminal.press("j")
        terminal.until(lambda: "not measured yet" in terminal.text)
        terminal.until(lambda: workers(terminal.pid))  # it warms up by itself
        terminal.press("e")
        terminal.until(lambda: known(run, Cell(1, 1)) is not None)
        terminal.until(lambda: "exact" in terminal.text and "not measured yet" not in terminal.text)
        assert known(run, Cell(1, 1)) == exact[Cell(1, 1)], "live, the numbers of the batch"

        # The worker is killed. It is told, with what to do, and the app goes on.
        (first,) = workers(terminal.pid)
        os.kill(first, 9)
        terminal.until(lambda: "SIGKILL" in terminal.text)
        assert not terminal.ended()
        terminal.press("!")
        terminal.until(lambda: "the worker was killed" in terminal.text and "dmesg" in terminal.text)
        terminal.press("\x1b")
        terminal.until(lambda: "dmesg" not in terminal.text)

        # The next measurement works, by another worker: a cell, then a column with its draws.
        terminal.press("kl")
        terminal.until(lambda: "not measured yet" in terminal.text)
        terminal.press("e")
        terminal.until(lambda: (now := known(run, Cell(0, 2))) is not None and now.exact)
        assert known(run, Cell(0, 2)) == exact[Cell(0, 2)]
        assert first not in workers(terminal.pid)
        terminal.press("hhj")
        terminal.until(lambda: "re-randomised" in terminal.text and "not measured yet" in terminal.text)
        terminal.press("e")
        terminal.until(lambda: all(known(run, Cell(1, 0, draw)) is not None for draw in (0, 1)))
        terminal.until(lambda: "mean of 2 draws" in terminal.text)
        for draw in (0, 1):
            assert known(run, Cell(1, 0, draw)) == exact[Cell(1, 0, draw)]

        # Two layers at once: a row of its own, with the number of `lyrx probe --joint`.
        terminal.press("l ")
        terminal.until(lambda: "◆fc2" in terminal.text)
        terminal.press("k J")
        terminal.until(lambda: "fc1+fc2" in terminal.text and run.companions(run.probe().info.id))
        (companion,) = run.companions(run.probe().info.id)
        terminal.until(lambda: companion.read(Cell(0, 1)) is not None)
        pids = workers(terminal.pid)

        # Smaller, larger, and out; nothing stays behind.
        terminal.resize(50, 24)
        terminal.until(lambda: "fc1+fc2" in terminal.text)
        terminal.resize(100, 30)
        terminal.until(lambda: "fc1+fc2" in terminal.text)
        terminal.press("q")
        terminal.until(lambda: "1 run" in terminal.text)
        terminal.press("q")
        terminal.until(terminal.ended)
        assert terminal.code == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    found = subprocess.run(
        command("probe", "quick", "--store", store, "--joint", "fc1,fc2", "--json"),
        capture_output=True, text=True, env=environment(), timeout=240,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    shown = json.loads(found.stdout)
    row = shown["layers"].index("fc1+fc2")
    (oracle,) = [cell["error"] for cell in shown["cells"] if (cell["layer"], cell["column"]) == (row, 1)]
    live = companion.read(Cell(0, 1))
    assert live is not None
    assert live.error == oracle
    assert run.probe().info.companion == ""
