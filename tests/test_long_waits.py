"""What takes long says how far it is, and can be cancelled: the trained network on all examples, long looks."""

from pathlib import Path
from typing import Any

import pytest
from lyrx.engine import session as session_module
from lyrx.engine import worker as worker_module
from lyrx.engine.errors import CancelledError
from lyrx.engine.session import Session
from lyrx.store import Run, Store
from running import batch, worked
from test_sweep import named

SLOW = {"batch_size": 50, "draws": 1, "exact": True}


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose probe has nothing measured, not even the baseline."""
    with monkeypatch.context() as patch:
        patch.setattr("lyrx.engine.batch.Session", _never)
        with pytest.raises(CancelledError):
            batch(tmp_path / "s.zarr", probe=SLOW)
    run = Store.open(tmp_path / "s.zarr").run("r")
    assert run.trained
    assert run.probe().read_baseline() is None
    return run


def _never(*args: Any) -> Session:
    raise CancelledError("not now")


def test_a_batch_tells_of_the_trained_network_and_within_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session_module, "_TELL_EVERY", 0.0)
    run, events = batch(tmp_path / "s.zarr", probe=SLOW)
    baseline = named(events, "BaselineProgress")
    assert [event.seen for event in baseline] == [50, 100, 150, 200, 250, 300, 350, 360]
    assert {event.of for event in baseline} == {360}
    assert {event.probe for event in baseline} == {run.probe().info.id}
    kinds = [type(event).__name__ for event in events]
    assert kinds.index("ProbeOpened") < kinds.index("BaselineProgress") < kinds.index("LookProgress")
    within = named(events, "LookProgress")
    shares = [event.share for event in within]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert 0.9 < shares[-1] <= 1
    assert {event.todo for event in within} == {named(events, "ProbeOpened")[0].todo}
    assert max(event.seen for event in within) == 360
    # Looks end as often as before.
    assert named(events, "PictureSharpened")[0].seen == 64


def test_what_is_known_is_not_measured_anew(tmp_path: Path):
    batch(tmp_path / "s.zarr", probe={**SLOW, "exact": False})
    _, events = batch(tmp_path / "s.zarr", probe=SLOW)
    assert named(events, "ProbeOpened")
    assert not named(events, "BaselineProgress")


def asked(run: Run, id: str, cells: list[list[int]]) -> dict[str, Any]:  # noqa: A002
    return {"type": "probe", "id": id, "store": str(run.path.parent.parent), "run": run.name, "cells": cells}


def test_a_worker_tells_of_the_trained_network(trained: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_module, "_TELL_EVERY", 0.0)
    heard = worked(asked(trained, "1", [[0, 1, 0]]), asked(trained, "2", [[1, 1, 0]]))
    baseline = [event for event in heard if event["type"] == "baseline"]
    assert [event["examples"] for event in baseline] == [50, 100, 150, 200, 250, 300, 350, 360]
    assert {(event["id"], event["of"]) for event in baseline} == {("1", 360)}
    kinds = [event["type"] for event in heard]
    assert kinds.index("accepted") < kinds.index("baseline") < kinds.index("progress")
    assert [event["done"] for event in heard if event["type"] == "finished"] == [1, 1]


def test_a_cancel_is_heard_while_the_trained_network_is_measured(trained: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_module, "_TELL_EVERY", 0.0)
    heard = worked(asked(trained, "1", [[0, 1, 0]]), asked(trained, "2", [[0, 1, 0]]), cancel_at="baseline")
    ends = [event for event in heard if event["type"] in ("finished", "failed")]
    assert ends[0] == {"type": "finished", "id": "1", "done": 0, "cancelled": True}
    assert (ends[1]["id"], ends[1]["done"], ends[1]["cancelled"]) == ("2", 1, False)
    first = [event for event in heard if event["type"] == "baseline" and event["id"] == "1"]
    assert [event["examples"] for event in first] == [50]
    assert trained.writer() is None


def test_a_session_that_is_cancelled_leaves_nothing_on_the_network(trained: Run):
    def stop(seen: int, of: int) -> None:
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        Session(trained, trained.probe(), on_baseline=stop)
    assert trained.probe().read_baseline() is None
    with Session(trained, trained.probe()) as session:
        session.verify()
