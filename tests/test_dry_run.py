"""`lyrx batch --dry-run`: what would be done with a spec, found out without torch and without writing anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lyrx.engine.outlook import outlooks
from lyrx.engine.specfile import make_spec
from lyrx.explorer.core.specs import Checked, checked_text, facts, outlook_text
from lyrx.store import Store
from running import batch, environment, lyrx, spec_values, write_spec


def dry(tmp_path: Path, *arguments: str, **sections) -> tuple[int, list[dict], str]:
    """Exit code, what was printed, and the complaint."""
    spec = write_spec(tmp_path / "spec.toml", **sections)
    done = lyrx("batch", spec, "--store", tmp_path / "s.zarr", "--dry-run", "--json", *arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout else [], done.stderr


def outlook(store: Path, *, fresh: bool = False, **sections):
    return outlooks([make_spec(spec_values(**sections))], store, fresh=fresh)[0]


def test_a_new_run_is_described_and_nothing_is_written(tmp_path: Path):
    code, (found,), errors = dry(tmp_path, "--set", "train.epochs=4", "--set", "train.checkpoints=[2]")
    assert (code, errors) == (0, "")
    assert (found["run"], found["state"], found["error"]) == ("r", "new", None)
    assert found["spec"]["train"]["checkpoints"] == [0, 2, 4]
    assert found["spec"]["train"]["momentum"] == 0.9, "defaults are written out"
    assert found["columns"] == ["random", "0", "2", "4"]
    assert os.listdir(tmp_path) == ["spec.toml"]


def test_a_wrong_spec_is_refused_in_the_words_of_batch(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml")
    wrong = ("batch", spec, "--store", tmp_path / "s.zarr", "--set", "train.epcohs=4")
    really, dryly = lyrx(*wrong), lyrx(*wrong, "--dry-run", "--json")
    assert dryly.returncode == really.returncode == 2
    assert dryly.stderr == really.stderr
    assert "Did you mean 'epochs'?" in dryly.stderr
    assert dryly.stdout == ""


def test_it_says_what_would_become_of_a_run_that_is_there(tmp_path: Path):
    store = tmp_path / "s.zarr"
    run, _ = batch(store)
    assert outlook(store).state == "complete"
    assert outlook(store, probe={"exact": True}).state in ("goes on", "complete")
    other = outlook(store, probe={"draws": 1})
    assert (other.state, other.trained, other.epochs_done) == ("goes on", True, 3)
    refused = outlook(store, train={"epochs": 5, "checkpoints": []})
    assert refused.state == "refused"
    assert "train.epochs: 3, now 5" in str(refused.error)
    assert outlook(store, fresh=True, train={"epochs": 5, "checkpoints": []}).state == "anew"
    with run.writing("test"):
        locked = outlook(store)
        assert locked.state == "being written"
        assert f"process {os.getpid()} (test)" in str(locked.error)
    # The command says the same, with its exit code, and prints what it knows.
    code, (found,), errors = dry(tmp_path, "--set", "train.lr=0.5")
    assert code == 2
    assert found["state"] == "refused"
    assert f"lyrx: {found['error']}\n" == errors
    assert "train.lr: 0.05, now 0.5" in errors


@pytest.mark.slow
def test_the_words_are_those_with_which_batch_refuses(tmp_path: Path):
    batch(tmp_path / "s.zarr")
    _, (found,), _ = dry(tmp_path, "--set", "run.seed=9")
    really = lyrx("batch", tmp_path / "spec.toml", "--store", tmp_path / "s.zarr", "--set", "run.seed=9")
    assert really.stderr == f"lyrx: {found['error']}\n"


def test_what_is_not_there_is_named(tmp_path: Path):
    gone = tmp_path / "gone"
    named = outlook(tmp_path / "s.zarr", data={"name": "mnist", "root": str(gone)})
    assert named.notes == (f"data.root: there is no {gone}",)
    assert outlook(tmp_path / "s.zarr", data={"name": "mnist", "root": str(gone), "download": True}).notes == ()
    assert outlook(tmp_path / "s.zarr", model={"name": "fcn", "weights": str(gone)}).notes == (
        f"model.weights: there is no {gone}",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o500)
    spec = write_spec(tmp_path / "spec.toml")
    done = lyrx("batch", spec, "--store", tmp_path / "locked" / "s.zarr", "--dry-run")
    assert done.returncode == 2
    assert "cannot write" in done.stderr


def test_what_is_no_store_and_json_alone_are_refused(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").touch()
    done = lyrx("batch", spec, "--store", tmp_path / "full", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a lyrx store" in done.stderr
    assert "--json goes with --dry-run" in lyrx("batch", spec, "--json").stderr


def test_two_specs_of_one_name_are_refused(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml")
    done = lyrx("batch", spec, spec, "--store", tmp_path / "s.zarr", "--dry-run")
    assert done.returncode == 2
    assert "two of the specs are called 'r'" in done.stderr


def test_it_is_readable_too(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml")
    done = lyrx("batch", spec, "--store", tmp_path / "s.zarr", "--dry-run")
    assert done.returncode == 0
    for words in ("● r  a new run", "fcn · width 16 · depth 2", "3 epochs · batch 32 · sgd, lr 0.05",
                  "checkpoints 0, 1, 3", "layers: random, 0, 1, 3; 2 draws"):  # fmt: skip
        assert words in done.stdout


def test_it_needs_no_torch(tmp_path: Path):
    batch(tmp_path / "s.zarr")
    spec = write_spec(tmp_path / "spec.toml")
    code = (
        "import sys\nfrom lyrx.explorer.cli import app\n"
        f"try: app({['batch', str(spec), '--store', str(tmp_path / 's.zarr'), '--dry-run']!r})\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert Store.open(tmp_path / "s.zarr").run("r").status() == "complete"


# What is said of it


def checked(**changes) -> Checked:
    spec = make_spec(spec_values()).resolved()
    return Checked(**{"run": "r", "state": "new", "columns": ("random", "0"), "spec": spec, **changes})


def test_an_answer_in_words():
    assert outlook_text(checked(), "s.zarr").plain == "● r  a new run in s.zarr"
    assert outlook_text(checked(state="goes on", epochs_done=2), "s").plain == "◐ r  goes on after epoch 2 of 3"
    assert "cells are missing" in outlook_text(checked(state="goes on", trained=True), "s").plain
    assert checked_text(checked(refused="no\x1b"), "s").plain.splitlines()[1] == "no\\x1b"
    assert "× not a spec" in checked_text(Checked(error="wrong"), "s").plain


def test_what_can_be_started():
    assert checked().startable
    assert checked(state="goes on").startable
    for other in ({"state": "complete"}, {"refused": "no"}, {"error": "no"}, {"state": ""}):
        assert not checked(**other).startable


def test_facts_believe_no_shape():
    assert facts({}, ())[0] == ("network", "None")
    assert all("\x1b" not in value for _, value in facts({"model": {"name": "\x1b[31m"}, "data": 3}, ("\x1b",)))
    long = dict(facts({"train": {"checkpoints": list(range(40))}}, ()))
    assert long["keeps"].endswith("10, 11 and 28 more")
    with pytest.raises(KeyError):
        Checked.from_json({"run": "r"})
