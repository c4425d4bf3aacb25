"""`lyrx worker`, as a real process: it commits what it says, hears a cancel, and survives what goes wrong."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lyrx.engine.protocol import to_wire
from lyrx.store import Cell, Run, Store, change_settings
from running import batch, command, environment


class Talk:
    """A worker process and a conversation with it."""

    def __init__(self, **extra: str) -> None:
        self.process = subprocess.Popen(
            command("worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment(), **extra},
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


@pytest.fixture(scope="module")
def alive() -> Iterator[list[Talk]]:
    """The worker that tests share, as long as none has ended it: loading torch is most of what it takes."""
    kept: list[Talk] = []
    yield kept
    for talk in kept:
        talk.process.kill()
        with contextlib.suppress(OSError), talk.process:  # what was written to one that had ended goes nowhere
            pass


@pytest.fixture
def talk(alive: list[Talk], request: pytest.FixtureRequest) -> Iterator[Talk]:
    if not alive or alive[-1].process.poll() is not None:
        alive.append(Talk())
        assert alive[-1].hear()["type"] == "ready"
    talk = alive[-1]
    yield talk
    with contextlib.suppress(OSError, ValueError, AssertionError):  # a test has ended it
        talk.send(type="ping", id=request.node.name)
        while talk.hear() != {"type": "pong", "id": request.node.name}:
            pass


def types(heard: list[dict[str, Any]]) -> list[str]:
    """What was said, without what is only said when it takes long."""
    found = [event["type"] for event in heard if event["type"] not in ("progress", "pace")]
    return [one for one, before in zip(found, ["", *found], strict=False) if one != "device" or before != "device"]


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


def test_settings_that_were_changed_in_between_hold_for_a_warm_worker_too(tmp_path: Path, talk: Talk):
    run, _ = batch(tmp_path / "s.zarr")
    probe = run.probe()
    cells = [to_wire(cell) for cell, estimate in probe.results().estimates.items() if not estimate.exact]
    assert cells
    talk.probe(run, cells[:1], again=True)
    assert types(talk.until("finished"))[0] == "accepted"
    change_settings(probe, {**probe.info.settings, "exact": True})
    talk.probe(run, cells, id="2")
    heard = talk.until("finished")
    assert heard[-1]["done"] == len(cells)
    assert all(estimate.exact for estimate in run.probe().results().estimates.values())


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


@pytest.mark.slow
def test_an_older_request_goes_on_while_newer_ones_are_measured(run: Run, talk: Talk):
    """Not only when all of the newer have come to their end; and the numbers are what they are alone."""
    cells: list[list[int | None]] = [[layer, column, 0] for layer in range(3) for column in range(4)]
    probe = run.probe()
    talk.probe(run, cells, id="alone", again=True, exact=True)
    talk.until("finished")
    alone = {tuple(cell): probe.read(Cell(*cell)) for cell in cells}  # type: ignore[arg-type]
    ids = ["a", "b", "c"]
    for name in ids:
        talk.probe(run, cells, id=name, again=True, exact=True)
    heard = [event for _ in ids for event in talk.until("finished")]
    ended = {event["id"]: place for place, event in enumerate(heard) if event["type"] == "finished"}
    assert ended.keys() == set(ids)
    told = [(place, event["id"]) for place, event in enumerate(heard) if event["type"] in ("committed", "progress")]
    first = min(ended.values())
    assert {name for place, name in told if place < first} == set(ids), "all of them came on before the first had ended"
    assert all(event["done"] == len(cells) for event in heard if event["type"] == "finished")
    assert {cell: probe.read(Cell(*cell)) for cell in alone} == alone  # type: ignore[arg-type]
    assert run.writer() is None
    assert not probe.results().damaged


def test_the_lock_is_held_until_the_last_of_several_requests_has_ended(run: Run, talk: Talk):
    cells: list[list[int | None]] = [[layer, column, 0] for layer in range(3) for column in range(4)]
    talk.probe(run, cells, id="a", again=True, exact=True)
    talk.probe(run, cells[:1], id="b", again=True)
    talk.send(type="cancel", id="a")
    ends = [talk.until("finished")[-1] for _ in range(2)]
    assert {end["id"]: end["cancelled"] for end in ends}["b"] is False
    talk.probe(run, cells[:2], id="c", again=True)
    assert talk.until("finished")[-1]["done"] == 2
    assert run.writer() is None


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


@pytest.mark.slow
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
    talk = Talk(PYTHONPATH=f"{environment()['PYTHONPATH']}:{tmp_path}")
    heard = talk.until("ready")
    talk.probe(run, [[0, 1, 0]], again=True)
    heard += talk.until("finished")  # every line is a message
    talk.send(type="quit")
    rest, errors = talk.process.communicate(timeout=60)
    assert heard[-1]["done"] == 1
    assert rest == b""
    assert b"NOISE" in errors


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


# Plans


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with batch norm whose probe is exact."""
    model = {"name": "fcn", "width": 8, "depth": 2, "batch_norm": True}
    run, _ = batch(tmp_path_factory.mktemp("plans") / "s.zarr", model=model, probe={"exact": True})
    return run


def plan(talk: Talk, run: Run, id: str = "p", **wanted: Any) -> dict[str, Any]:  # noqa: A002
    talk.send(type="plan", id=id, store=str(run.path.parent.parent), run=run.name, **wanted)
    return talk.hear()


def test_a_joint_reset_is_planned_beside_the_probe_and_gives_the_numbers_of_lyrx_probe(planned: Run, talk: Talk):
    base = planned.probe()
    before = {path: path.stat().st_mtime_ns for path in base.path.rglob("*")}
    answer = plan(talk, planned, probe=base.info.id, joint=[["output", "fc1"]])
    assert answer["type"] == "planned", answer
    companion = planned.probe(answer["probe"])
    assert companion.info.companion == base.info.id
    assert [(layer.name, layer.joint) for layer in companion.info.layers] == [("fc1+output", ("fc1", "output"))]
    assert companion.info.columns == base.info.columns
    assert companion.info.settings["exact"] is True
    assert companion.read_baseline() is not None
    assert planned.companions(base.info.id)[0].info.id == companion.info.id
    # It is nobody's newest probe, and the base is what it was.
    assert planned.probe().info.id == planned.probe("layer").info.id == base.info.id
    assert [probe.info.id for probe in planned.probes()] == [base.info.id]
    assert {path: path.stat().st_mtime_ns for path in base.path.rglob("*")} == before
    assert planned.status() == "complete"
    cells: list[list[int | None]] = [
        [0, column, draw] for column in range(4) for draw in range(2 if column == 0 else 1)
    ]
    talk.probe(planned, cells, id="m", probe=companion.info.id, exact=True)
    heard = talk.until("finished")
    assert "baseline" not in types(heard), "the trained network is not measured again"
    assert heard[-1]["done"] == 5
    # The same row as `lyrx probe --joint` measures it, in a probe with all rows.
    from lyrx.engine.batch import run_probe

    path = planned.path.parent.parent
    probed = run_probe(path, planned.name, {"probe.joint": [["fc1", "output"]]}, observer=lambda event: None)
    row = [layer.name for layer in probed.info.layers].index("fc1+output")
    for layer, column, draw in cells:
        ours, theirs = companion.read(Cell(0, column, draw)), probed.read(Cell(row, column, draw))
        assert ours == theirs, (layer, column, draw)
        assert ours is not None
        assert ours.exact
    distances, oracle = companion.results().distances, probed.results().distances
    assert {epoch: l2[0] for epoch, (l2, _) in distances.items()} == {e: l2[row] for e, (l2, _) in oracle.items()}
    assert companion.progress().complete
    # Asked for once more, in another order, it is found; in the probe that holds the row, that is it.
    assert plan(talk, planned, probe=base.info.id, joint=[["fc1", "output"]])["probe"] == companion.info.id
    assert plan(talk, planned, probe=probed.info.id, joint=[["fc1", "output"]])["probe"] == probed.info.id


def test_another_granularity_is_the_probe_that_lyrx_probe_makes(planned: Run, talk: Talk):
    from lyrx.engine.batch import run_probe

    answer = plan(talk, planned, probe="layer", granularity="module")
    made = planned.probe(answer["probe"])
    assert made.info.granularity == "module"
    assert [layer.name for layer in made.info.layers] == ["fc1", "norm1", "fc2", "norm2", "output"]
    assert made.missing()
    assert made.read_baseline() is not None
    path = planned.path.parent.parent
    probed = run_probe(path, planned.name, {"probe.granularity": "module"}, observer=lambda event: None)
    assert probed.info.id == made.info.id
    assert planned.probe().info.id == made.info.id, "it stands for itself: the newest"


def test_plans_that_cannot_be_are_refused_in_words(planned: Run, talk: Talk):
    base = planned.probe("layer").info.id
    assert "two layers or more; fc1 was given" in plan(talk, planned, probe=base, joint=[["fc1", "fc1"]])["message"]
    assert "no row 'fc9'" in plan(talk, planned, probe=base, joint=[["fc1", "fc9"]])["message"]
    assert "either joint or granularity" in plan(talk, planned, probe=base)["message"]
    with planned.writing("somebody else"):
        assert "somebody else" in plan(talk, planned, probe=base, joint=[["fc1", "fc2"]])["message"]
    assert not [probe for probe in planned.all_probes() if probe.info.layers[0].name == "fc1+fc2"]


def test_a_request_that_is_cancelled_before_its_turn_does_nothing(planned: Run, talk: Talk):
    cells: list[list[int | None]] = [[layer, column, 0] for layer in range(3) for column in range(4)]
    talk.probe(planned, cells, id="a", probe="layer", again=True)
    talk.until("device")
    talk.probe(planned, cells, id="b", probe="layer", again=True)
    talk.send(type="cancel", id="b")
    heard = talk.until("finished")
    if heard[-1]["id"] == "b":
        assert heard[-1]["cancelled"]
        heard = talk.until("finished")
    assert (heard[-1]["id"], heard[-1]["cancelled"], heard[-1]["done"]) == ("a", False, len(cells))
    talk.probe(planned, [[0, 1, 0]], id="c", probe="layer", again=True)
    assert talk.until("finished")[-1]["done"] == 1
