"""`torchrun` with two processes: the numbers of one, whatever becomes of either."""

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lyrx.engine.batch import run_probe
from lyrx.store import Run, Store
from lyrx.store.check import Report, check_store
from running import batch, launch, launched, lyrx, write_spec

NETWORK = {"name": "networks_for_sharing:Watched"}
TRAINING = {"epochs": 3, "checkpoints": [0, 1, 2, 3]}
AT = "random,0,1,zero,noise:0.1,path:0.5"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trained run, nothing probed but one layer."""
    path = tmp_path_factory.mktemp("trained") / "s.zarr"
    batch(path, model=NETWORK, train=TRAINING, probe={"draws": 2, "layers": ["fc"], "batch_size": 16})
    return path


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "two.zarr"))


def alone(store: Path, **settings: Any) -> Run:
    """The probe in this process, with as many threads as each of two has: rounding may depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run_probe(store, "r", said(**settings), observer=lambda event: None)
    torch.set_num_threads(before)
    return Store.open(store).run("r")


def said(exact: bool = False) -> dict[str, Any]:
    return {"probe.at": AT.split(","), "probe.layers": [], "probe.exact": exact}


def probing(store: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The probe in two processes."""
    return launch("probe", "r", "--store", store, "--at", AT, "--set", "probe.layers=[]", *arguments, **variables)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("it hangs")
    return process.returncode, out, err


def same(one: Run, two: Run, losses: float = 1e-9) -> None:
    """The same estimates; the same counts behind them; losses to the last digits of a sum."""
    ours, theirs = one.probe().results(), two.probe().results()
    assert not theirs.damaged
    assert ours.estimates.keys() == theirs.estimates.keys()
    for cell, estimate in ours.estimates.items():
        other = theirs.estimates[cell]
        assert (other.n, other.total, other.error) == (estimate.n, estimate.total, estimate.error), cell
        assert (other.low, other.high, other.agreement) == (estimate.low, estimate.high, estimate.agreement), cell
        assert other.loss == pytest.approx(estimate.loss, rel=losses), cell
        record, found = ours.records[cell], theirs.records[cell]
        for key in ("wrong", "worse", "better", "agreeing", "evaluator", "full", "seed"):
            assert record.get(key) == found.get(key), (cell, key)


def forwards(folder: Path) -> list[int]:
    return [(folder / str(rank)).stat().st_size for rank in range(2)]


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one_first_roughly_then_exactly(trained: Path, store: Path, tmp_path: Path):
    one = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr")))
    code, out, err = ended(probing(store, SHARING_LOG=str(tmp_path)))
    assert code == 0, err
    assert "2 processes" in out
    assert out.count("first whole picture") == 1  # one process speaks
    two = Store.open(store).run("r")
    same(one, two)
    ranks = Counter(record.get("rank") for record in two.probe().results().records.values())
    assert ranks[0] > 3  # both commit cells of their own
    assert ranks[1] > 3
    rough = {cell: estimate.n for cell, estimate in two.probe().results().estimates.items()}
    assert min(rough.values()) < 360
    assert min(forwards(tmp_path)) > 0.5 * max(forwards(tmp_path))  # and both compute
    # Exact, from what is committed on.
    log = tmp_path / "exact"
    log.mkdir()
    code, out, err = ended(probing(store, "--exact", "--json", SHARING_LOG=str(log)))
    assert code == 0, err
    assert json.loads(out)  # one object: the other process prints nothing
    same(alone(tmp_path / "one.zarr", exact=True), two)
    assert two.probe().progress().exact == two.probe().progress().total
    assert sum(forwards(log)) < sum(forwards(tmp_path)) + sum(360 - n for n in rough.values())
    report = Report()
    list(check_store(Store.open(store), report))
    assert not report.damaged


@pytest.mark.slow
def test_an_error_in_one_process_ends_both_with_its_message(store: Path):
    began = time.monotonic()
    code, _, err = ended(probing(store, "--exact", SHARING_RAISE="1:90"))
    assert code == 1
    assert err.count("no more of this") == 1
    assert "lyrx: process 1: run 'r' failed: RuntimeError: no more of this" in err
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_only_its_cells(trained: Path, store: Path, tmp_path: Path):
    whole = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr"))).probe().results().estimates
    run = Store.open(store).run("r")
    folder = run.path / "weights" / "a.weight" / "c"
    chunk = next(path for path in (folder / "1").rglob("*") if path.is_file())
    chunk.write_bytes(b"\0" * chunk.stat().st_size)
    code, _, err = ended(probing(store))
    assert code == 1
    assert "could not be probed wholly" in err
    assert "a.weight" in err
    info, found = run.probe().info, run.probe().results().estimates
    column = next(i for i, column in enumerate(info.columns) if column.label == "1")
    lost = set(whole) - set(found)
    assert {cell.column for cell in lost} == {column}
    assert {None if cell.layer is None else info.layers[cell.layer].name for cell in lost} == {None, "a"}
    assert all(found[cell].error == whole[cell].error for cell in found)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_its_cells_to_the_next_start(trained: Path, store: Path, tmp_path: Path):
    one = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr")), exact=True)
    for place in ("1:150", "0:150"):
        code, _, _ = ended(probing(store, "--exact", SHARING_KILL=place))
        assert code != 0
        assert lyrx("check", store).returncode == 0
        known = Store.open(store).run("r").probe().results().estimates
        assert len(known) > 10
        assert not all(estimate.exact for estimate in known.values())
    done = lyrx("probe", "r", "--store", store, "--at", AT, "--set", "probe.layers=[]", "--exact")
    assert done.returncode == 0, done.stderr
    same(one, Store.open(store).run("r"))


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_keeps_what_was_finished(trained: Path, store: Path, tmp_path: Path, which: signal.Signals):
    one = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr")), exact=True)
    process = probing(store, "--exact", SHARING_SLOW="1:0.02")
    assert process.stdout is not None
    for line in process.stdout:
        if "first whole picture" in line:
            time.sleep(1)
            process.send_signal(which)
            break
    code, _, err = ended(process)
    assert code != 0
    assert err.count("lyrx: interrupted. What was finished is kept") == 1
    known = Store.open(store).run("r").probe().results().estimates
    assert len(known) > 20
    assert ended(probing(store, "--exact"))[0] == 0
    same(one, Store.open(store).run("r"))


@pytest.mark.slow
def test_a_slow_process_takes_less_and_holds_nobody(store: Path, tmp_path: Path):
    code, _, err = ended(probing(store, "--exact", SHARING_SLOW="1:0.03", SHARING_LOG=str(tmp_path)))
    assert code == 0, err
    fast, slow = forwards(tmp_path)
    assert slow < 0.5 * fast
    ranks = Counter(record.get("rank") for record in Store.open(store).run("r").probe().results().records.values())
    assert ranks[1] > 3  # it commits its share all the same


@pytest.mark.slow
def test_scarce_memory_in_one_process_makes_the_batches_of_all_smaller(trained: Path, store: Path, tmp_path: Path):
    one = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr")), exact=True)
    code, _, err = ended(probing(store, "--exact", SHARING_MEMORY="1:150", SHARING_LOG=str(tmp_path)))
    assert code == 0, err
    assert (tmp_path / "1").read_text().count("M") == 1
    same(one, Store.open(store).run("r"), losses=1e-6)  # batches of another size round otherwise


@pytest.mark.slow
def test_an_error_in_one_process_while_it_trains_ends_both(tmp_path: Path):
    spec = write_spec(tmp_path / "spec.toml", model=NETWORK, train=TRAINING)
    code, _, errors = launched("batch", spec, "--store", tmp_path / "s.zarr", SHARING_RAISE="1:4")
    assert code == 1
    assert "no more of this" in errors
