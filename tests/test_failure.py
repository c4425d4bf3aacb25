"""Why a run failed: what is kept of it in the store, and when it goes."""

import json

import fakes
import pytest
from lyrx.engine import batch
from lyrx.engine.errors import RunFailedError
from lyrx.engine.specfile import make_spec
from lyrx.store import Store
from lyrx.store.failure import LONGEST
from lyrx.store.stamps import run_stamp
from running import spec_values


@pytest.fixture
def run(tmp_path):
    return fakes.training_run(Store.open_or_create(tmp_path / "s.zarr"), "r")


def test_an_error_is_kept_with_its_stage_and_goes_when_told(run):
    assert run.failure.read() is None
    with pytest.raises(MemoryError), run.failure.kept(run.stage):
        raise MemoryError("no room for 3 GiB")
    failure = run.failure.read()
    assert (failure.stage, failure.message) == ("training", "MemoryError: no room for 3 GiB")
    assert failure.time > 1_700_000_000
    run.failure.clear()
    assert run.failure.read() is None
    run.failure.clear()


def test_the_words_of_our_own_errors_are_kept_as_they_are(run):
    with pytest.raises(RunFailedError), run.failure.kept(run.stage):
        raise RunFailedError("layer 'a' gives NaN.")
    assert run.failure.read().message == "layer 'a' gives NaN."


def test_an_interrupt_is_no_failure(run):
    with pytest.raises(KeyboardInterrupt), run.failure.kept(run.stage):
        raise KeyboardInterrupt
    assert run.failure.read() is None


def test_a_long_message_is_cut_and_a_damaged_note_is_none(run):
    run.failure.write("probing", "x" * 10_000)
    assert len(run.failure.read().message) == LONGEST
    run.failure.path.write_text("{")
    assert run.failure.read() is None
    run.failure.path.write_text(json.dumps({"stage": "probing"}))
    assert run.failure.read() is None


def test_a_note_that_cannot_be_written_does_not_hide_the_error(run, monkeypatch):
    def refuse(*_):
        raise PermissionError("read only")

    monkeypatch.setattr(run.failure, "write", refuse)
    with pytest.raises(ZeroDivisionError), run.failure.kept(run.stage):
        raise ZeroDivisionError


def test_the_stamp_of_a_run_changes_with_everything_that_is_committed_to_it(run, monkeypatch):
    # Settled: what changed just now changes the stamp at every call.
    monkeypatch.setattr("lyrx.store.commits._SETTLED", -1)
    probe = run.probe().path.name
    seen = [run_stamp(run.path, probe)]
    assert run_stamp(run.path, probe) == seen[0]
    changes = [
        lambda: fakes.commit_history(run, 43, since=43),
        lambda: fakes.commit_checkpoints(run, 100),
        lambda: fakes.commit_distances(run.probe()),
        lambda: fakes.commit_cells(run.probe(), run.probe().info.network_cells()[:1]),
        lambda: fakes.commit_cells(run.probe(), run.probe().info.cells()[:1]),
        lambda: run.failure.write("probing", "x"),
        run.failure.clear,
    ]
    for change in changes:
        change()
        stamp = run_stamp(run.path, probe)
        assert stamp != seen[-1]
        assert run_stamp(run.path, probe) == stamp
        seen.append(stamp)
    with run.writing("probe"):
        assert run_stamp(run.path, probe) != seen[-1]
    assert run_stamp(run.path, None)[0] is None
    with pytest.raises(FileNotFoundError):
        run_stamp(run.path.with_name("none"), None)


def test_a_training_that_fails_says_why_in_the_store_and_the_next_one_forgets_it(tmp_path, monkeypatch):
    from lyrx.engine.train import Trainer

    store = tmp_path / "s.zarr"
    spec = make_spec(spec_values())

    def fail(self):
        raise RuntimeError("the driver went away")

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "train", fail)
        with pytest.raises(RunFailedError, match="the driver went away"):
            batch.run_batch([spec], store, fresh=False, observer=lambda event: None)
    run = Store.open(store).run(spec.run.name)
    failure = run.failure.read()
    assert (failure.stage, failure.message) == ("training", "RuntimeError: the driver went away")

    seen = []

    def look(event):
        seen.append(run.failure.read())

    def probe_fails(*_):
        raise RunFailedError("probing is broken")

    with monkeypatch.context() as patched:
        patched.setattr(batch, "carry_out_plan", probe_fails)
        with pytest.raises(RunFailedError):
            batch.run_batch([spec], store, fresh=False, observer=look)
    assert set(seen) == {None}
    assert run.failure.read().stage == "probing"
    batch.run_batch([spec], store, fresh=False, observer=look)
    assert run.failure.read() is None
    assert run.status() == "complete"
