"""`lyrx worker`, as a real process: it commits what it says, hears a cancel, and survives what goes wrong."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lyrx.store import Cell, Run, Store
from running import batch, command, environment


class Talk:
    """A worker process and a conversation with it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            command("worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

    def close(self) -> None:
        """End its input: whoever started it has gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the worker has ended"
        return json.loads(line)

    def until(self, kind: str) -> list[dict[str, Any]]:
        heard = [self.hear()]
        while heard[-1]["type"] != kind:
            heard.append(self.hear())
        return heard

    def probe(self, run: Run, cells: list[list[int | None]], id: str = "1", **more: Any) -> None:  # noqa: A002
        self.send(type="probe", id=id, store=str(run.path.parent.parent), run=run.name, cells=cells, **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, _ = batch(tmp_path_factory.mktemp("worker") / "s.zarr", probe={"batch_size": 5})
    return run


@pytest.fixture
def talk() -> Iterator[Talk]:
    talk = Talk()
    assert talk.hear()["type"] == "ready"
    with talk.process:
        yield talk
        talk.process.kill()


def types(heard: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in heard if event["type"] != "progress"]


def test_measures_what_is_missing_and_commits_it(run: Run, talk: Talk):
    probe = run.probe()
    wanted = probe.read(Cell(1, 1, 0))
    probe.withdraw(Cell(1, 1, 0))
    talk.probe(run, [[1, 1, 0], [0, 1, 0]])
    heard = talk.until("finished")
    assert types(heard) == ["accepted", "device", "committed", "device", "finished"]
    assert heard[0]["cells"] == 1  # the other one was committed already
    committed = next(event for event in heard if event["type"] == "committed")
    assert committed["cell"] == [1, 1, 0]
    assert probe.read(Cell(1, 1, 0)) == wanted
    assert run.writer() is None
    talk.probe(run, [[0, 1, 0], [None, 1, 0]], id="2", again=True)
    heard = talk.until("finished")
    assert [event["cell"] for event in heard if event["type"] == "committed"] == [[0, 1, 0], [None, 1, 0]]
    assert heard[-1] == {"type": "finished", "id": "2", "done": 2, "cancelled": False}


def test_answers_pings_and_refuses_what_it_cannot_do(run: Run, talk: Talk):
    talk.send(type="ping", id="p")
    assert talk.hear() == {"type": "pong", "id": "p"}
    talk.send(type="what")
    assert talk.hear()["type"] == "failed"
    talk.probe(run, [[99, 0, 0]])
    assert "no cell [99, 0, 0]" in talk.hear()["message"]
    talk.send(type="probe", id="3", store="/nowhere", run="x", cells=[])
    assert "there is no store at /nowhere" in talk.hear()["message"]
    talk.send(type="probe", id="4", store=str(run.path.parent.parent), run="x", cells=[])
    assert "no run 'x'" in talk.hear()["message"]
    with run.writing("somebody else"):
        talk.probe(run, [[0, 1, 0]], id="5", again=True)
        heard = talk.until("failed")
    assert "somebody else" in heard[-1]["message"]
    talk.probe(run, [[0, 1, 0]], id="6", again=True)
    assert talk.until("finished")[-1]["done"] == 1


def test_a_cancel_stops_within_a_cell_and_the_worker_goes_on(run: Run, talk: Talk):
    cells: list[list[int | None]] = [[layer, column, 0] for layer in range(3) for column in range(4)] * 1
    talk.probe(run, cells, id="warm", again=True)
    talk.until("finished")
    talk.probe(run, cells, id="a", again=True)
    talk.probe(run, cells, id="b", again=True)
    talk.until("committed")
    talk.send(type="cancel")
    ends = [talk.until("finished")[-1] for _ in range(2)]
    assert {end["id"] for end in ends} == {"a", "b"}
    assert all(end["cancelled"] and end["done"] < len(cells) for end in ends)
    talk.probe(run, [[0, 1, 0]], id="c", again=True)
    assert talk.until("finished")[-1] == {"type": "finished", "id": "c", "done": 1, "cancelled": False}


@pytest.mark.parametrize("way", ["quit", "end of input"])
def test_ends_when_told_or_left_alone(talk: Talk, way: str):
    if way == "quit":
        talk.send(type="quit")
    else:
        talk.close()
    assert talk.process.wait(60) == 0


def test_a_killed_worker_leaves_no_lock_and_no_damage(run: Run, talk: Talk):
    talk.probe(run, [[layer, 1, 0] for layer in range(3)] * 1, again=True)
    talk.until("accepted")
    talk.process.send_signal(signal.SIGKILL)
    talk.process.wait(60)
    assert run.writer() is None
    results = run.probe().results()
    assert results.damaged == []
    with run.writing("test"):
        pass
    batch(Path(run.path.parent.parent), probe={"batch_size": 5})
    assert run.probe().missing() == []


def test_nothing_but_messages_reaches_its_output(tmp_path: Path):
    # A model that prints when it is built, and whose prints must go elsewhere.
    (tmp_path / "noisy.py").write_text(
        "from torch import nn\nimport os\n"
        "def model():\n    print('NOISE'); os.system('echo NOISE')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        run, _ = batch(tmp_path / "s.zarr", model={"name": "noisy:model"})
    finally:
        sys.path.remove(str(tmp_path))
    request = {
        "type": "probe",
        "id": "1",
        "store": str(tmp_path / "s.zarr"),
        "run": run.name,
        "cells": [[0, 1, 0]],
    }
    lines = json.dumps({**request, "again": True}) + "\n"
    env = environment()
    env["PYTHONPATH"] += f":{tmp_path}"
    done = subprocess.run(command("worker"), input=lines, capture_output=True, text=True, env=env, timeout=120)
    assert "NOISE" in done.stderr
    assert all(json.loads(line) for line in done.stdout.splitlines())
    assert "NOISE" not in done.stdout


@pytest.mark.slow
def test_the_end_of_input_cancels_what_is_being_measured(tmp_path: Path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "d.npz",
        train_inputs=rng.integers(0, 255, (64, 1, 8, 8), dtype=np.uint8),
        train_targets=rng.integers(0, 10, 64),
        test_inputs=rng.integers(0, 255, (2_000, 1, 8, 8), dtype=np.uint8),
        test_targets=rng.integers(0, 10, 2_000),
    )
    data = {"name": "arrays", "root": str(tmp_path / "d.npz")}
    run, _ = batch(tmp_path / "s.zarr", data=data, probe={"draws": 0, "batch_size": 1, "examples": 200})
    assert Store.open(tmp_path / "s.zarr").run("r").status() == "complete"
    talk = Talk()
    talk.until("ready")
    cells: list[list[int | None]] = [[layer, column, 0] for layer in range(3) for column in range(3)]
    talk.probe(run, cells * 1, again=True)
    talk.until("committed")
    out, _ = talk.process.communicate(timeout=60)
    assert talk.process.returncode == 0
    assert json.loads(out.splitlines()[-1])["type"] == "finished"
