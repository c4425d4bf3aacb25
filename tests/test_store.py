"""The store: what is committed comes back, bit for bit, and nothing else ever does."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given
from hypothesis import strategies as st
from lyrx.store import (
    Cell,
    CheckpointError,
    DamagedError,
    EpochMetrics,
    NotAStoreError,
    NotCommittedError,
    ResumeState,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    Store,
    StoreNotFoundError,
    StoreVersionError,
    TensorInfo,
    inert,
)
from lyrx.store.check import Report, check_store
from lyrx.store.layout import CHUNK_BYTES, NameTooLongError, chunk_shape, folder_name
from small import PROBE, TENSORS, estimate, finished_store, run_info, small_store, weights


def test_weights_survive_bit_for_bit(tmp_path: Path):
    _, run = small_store(tmp_path / "s.zarr")
    with run.writing("test"):
        run.checkpoints.append(0, weights(0), "f")
        run.checkpoints.append(2, weights(7), "f")
    again = Store.open(tmp_path / "s.zarr").run("small")
    for epoch, seed in ((0, 0), (2, 7)):
        read = again.checkpoints.read(epoch)
        for name, value in weights(seed).items():
            assert read[name].dtype == value.dtype
            assert read[name].shape == value.shape
            assert read[name].tobytes() == value.tobytes()
    assert again.checkpoints.committed() == [0, 2]


def test_one_layer_at_one_checkpoint_reads_only_its_own_chunks(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    for file in (run.path / "weights").rglob("c/**/*"):
        if file.is_file() and "fc2" not in str(file):
            file.unlink()
    assert list(run.checkpoints.read(2, ["fc2.weight"])) == ["fc2.weight"]
    with pytest.raises(DamagedError, match=r"fc1\.weight"):
        run.checkpoints.read(2, ["fc1.weight"])


def test_zero_chunks_are_written_also_after_reopening(tmp_path: Path):
    # zarr leaves out chunks equal to the fill value and forgets to be told otherwise when an array is reopened.
    small_store(tmp_path / "s.zarr")
    run = Store.open(tmp_path / "s.zarr").run("small")
    with run.writing("test"):
        run.checkpoints.append(0, {name: np.zeros_like(value) for name, value in weights(0).items()}, "f")
    assert (run.path / "weights" / "fc1.weight" / "c" / "0" / "0" / "0").is_file()
    (run.path / "weights" / "fc1.weight" / "c" / "0" / "0" / "0").write_bytes(b"")
    with pytest.raises(DamagedError):
        run.checkpoints.read(0)


def test_presence_proves_nothing_only_a_commit_does(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    (run.path / "checkpoint" / "commits" / "1.json").unlink()
    assert run.checkpoints.committed() == [0]
    assert not run.trained
    with pytest.raises(NotCommittedError):
        run.checkpoints.read(2)
    probe = run.probe()
    (probe.path / "estimate" / "commits" / "0.1.0.json").unlink()
    assert probe.read(Cell(0, 1, 0)) is None
    assert probe.missing() == [Cell(0, 1, 0)]


def test_refuses_tensors_that_are_not_the_runs(tmp_path: Path):
    _, run = small_store(tmp_path / "s.zarr")
    bad = weights(0)
    bad["fc1.weight"] = bad["fc1.weight"].astype("float64")
    with run.writing("test"):
        with pytest.raises(CheckpointError, match="float64"):
            run.checkpoints.append(0, bad, "f")
        with pytest.raises(CheckpointError, match=r"fc1\.bias"):
            run.checkpoints.append(0, {k: v for k, v in weights(0).items() if k != "fc1.bias"}, "f")
        with pytest.raises(NotCommittedError, match="keeps no checkpoint 1"):
            run.checkpoints.append(1, weights(0), "f")
    assert run.checkpoints.committed() == []


def checked(store: Store) -> Report:
    report = Report()
    assert len(list(check_store(store, report))) == report.runs
    return report


def flip_a_bit(path: Path, at: int = 5) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_every_flipped_bit_is_found_and_named(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    probe = run.probe()
    flip_a_bit(run.path / "weights" / "fc1.weight" / "c" / "1" / "0" / "0")
    flip_a_bit(probe.record(Cell(1, 2, 0)), at=40)
    flip_a_bit(probe.record(Cell(None, 1)), at=40)
    flip_a_bit(run.history.rows.commits.path((1,)), at=40)
    report = checked(store)
    found = "\n".join(map(str, report.damaged))
    assert len(report.damaged) == 4
    assert "tensor 'fc1.weight' at checkpoint 2 of run 'small'" in found
    assert ".. " not in found, "its sentences end once"
    for part in ("estimate/commits/1.2.0.json", "network/commits/1.json", "history/commits/1.json"):
        assert part in found
    with pytest.raises(DamagedError):
        probe.read(Cell(1, 2, 0))
    results = probe.results()
    assert Cell(1, 2, 0) not in results.estimates
    assert results.damaged_cells == {Cell(1, 2, 0), Cell(None, 1)}
    # What is damaged counts as missing, so that probing again mends it.
    assert set(probe.missing()) == {Cell(1, 2, 0), Cell(None, 1)}
    probe.write(Cell(1, 2, 0), estimate(0.5))
    assert probe.read(Cell(1, 2, 0)) == estimate(0.5)


def test_a_lost_chunk_is_damage_not_a_fill_value(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    (run.path / "weights" / "fc1.bias" / "c" / "0" / "0").unlink()  # all zeros, as the fill value is
    (run.path / "weights" / "fc1.weight" / "c" / "0" / "0" / "0").unlink()
    report = checked(store)
    # The bias is zeros and the fill value is 0: its contents are what was committed.
    assert len(report.damaged) == 1
    assert "tensor 'fc1.weight' at checkpoint 0" in str(report.damaged[0])


def test_a_damaged_record_is_named(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    (run.probe().path / "estimate" / "commits" / "0.0.0.json").write_text('{"hash": "tru')
    report = checked(store)
    assert [str(p) for p in report.damaged if "0.0.0.json" in str(p)]
    (run.path / "zarr.json").write_text("{")
    runs, errors = store.runs()
    assert runs == []
    assert len(errors) == 1
    assert "zarr.json is damaged" in str(errors[0])


def test_estimates_and_history_come_back(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    results = run.probe().results()
    assert set(results.estimates) == set(PROBE.all_cells())
    assert results.estimates[Cell(None, 2)] == estimate(0.1)
    assert results.distances == {0: ((0.0, 0.0), (0.0, 0.0)), 2: ((0.1, 0.2), (0.3, 0.4))}
    epochs, damaged = run.history.read()
    assert [m.epoch for m in epochs] == [0, 1, 2]
    assert epochs[2] == EpochMetrics(2, 1.0, 0.1, 0.4, 2.3, 0.5)
    assert damaged == []
    assert run.status() == "complete"


def test_a_stranger_finds_weights_and_heatmap_with_named_dimensions(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing in the store may look foreign to zarr
        root = zarr.open_group(tmp_path / "s.zarr", mode="r")
        members = dict(root.members(max_depth=None))
        group = root["runs/small"]
        weight = group["weights/fc1.weight"]
        heatmap = group[f"probes/{PROBE.id}/estimate"]
    assert weight.metadata.dimension_names == ("checkpoint", "axis0", "axis1")
    assert np.array_equal(weight[1], weights(2)["fc1.weight"])
    assert heatmap.metadata.dimension_names == ("layer", "column", "draw", "quantity")
    assert "runs/small/metrics/history" in members
    data = xarray.open_zarr(tmp_path / "s.zarr", group=f"runs/small/probes/{PROBE.id}", consolidated=False)
    value = data.estimate.sel(layer="fc2", column="0", draw=0, quantity="error").item()
    assert value == run.probe().results().estimates[Cell(1, 1, 0)].error
    assert np.isnan(data.estimate.sel(layer="fc2", column="0", draw=1, quantity="error").item())


def test_resume_state_keeps_the_one_before_until_the_next_is_committed(tmp_path: Path):
    _, run = small_store(tmp_path / "s.zarr")
    assert run.resume.read("f") is None
    for epoch, size in ((0, 3), (1, 5), (2, 5)):  # it grows once, when the optimiser takes its first step
        arrays = {"w": np.arange(size, dtype="float32"), "step": np.array(epoch, dtype="float32")}
        run.resume.write(ResumeState(epoch, arrays, {"plain": {"x": None}}), "f")
    state = run.resume.read("f")
    assert state is not None
    assert state.epoch == 2
    assert state.arrays["step"].shape == ()
    assert state.arrays["w"].tolist() == [0, 1, 2, 3, 4]
    flip_a_bit(next(p for p in (run.path / "resume" / "c" / "0").iterdir()))
    older = run.resume.read("f")
    assert older is not None
    assert older.epoch == 1
    assert run.resume.read("other fingerprint") is None


def test_newer_schema_and_strange_folders_are_refused(tmp_path: Path):
    path = tmp_path / "s.zarr"
    with pytest.raises(StoreNotFoundError, match="there is no store"):
        Store.open(path)
    finished_store(path)
    meta = json.loads((path / "zarr.json").read_text())
    meta["attributes"]["lyrx"]["schema"] = 99
    (path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(StoreVersionError, match="schema 99"):
        Store.open(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotAStoreError):
        Store.open(tmp_path / "folder")
    (tmp_path / "folder" / "file").write_text("x")
    with pytest.raises(NotAStoreError):
        Store.open_or_create(tmp_path / "folder")
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(NotAStoreError, match="not a lyrx store"):
        Store.open(tmp_path / "other.zarr")
    with pytest.raises(NotAStoreError):
        Store.open(tmp_path / "folder" / "file")


def test_a_run_with_a_newer_schema_is_refused(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    meta = json.loads((run.path / "zarr.json").read_text())
    meta["attributes"]["lyrx"]["schema"] = 99
    (run.path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(StoreVersionError):
        store.run("small")


def test_runs_are_found_by_name_and_by_the_name_tables_show(tmp_path: Path):
    evil = "a/../b\x1b[31m[red]x"
    store, _ = finished_store(tmp_path / "s.zarr", evil)
    assert store.run(evil).name == evil
    assert store.run(inert(evil)).name == evil
    with pytest.raises(RunNotFoundError, match=r"no run 'nix'"):
        store.run("nix")
    with pytest.raises(RunExistsError):
        store.create_run(run_info(evil), PROBE)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]
    store.delete_run(evil)
    assert store.runs() == ([], [])


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_folder_names_are_reversible_and_safe(a: str, b: str):
    one, two = folder_name(a), folder_name(b)
    assert unquote(one, errors="surrogatepass") == a
    assert (one == two) == (a == b)
    assert one.isascii()
    assert "/" not in one
    assert not one.startswith((".", "__"))


def test_names_too_long_for_a_folder_are_refused():
    with pytest.raises(NameTooLongError):
        folder_name("x" * 300)


@given(st.text(max_size=30))
def test_inert_text_cannot_steer_a_terminal(text: str):
    shown = inert(text)
    assert all(ord(c) >= 32 and not 0x7F <= ord(c) < 0xA0 for c in shown)
    assert "\u202e" not in shown
    assert inert(shown) == shown


@given(st.lists(st.integers(0, 5000), max_size=4), st.sampled_from([1, 2, 4, 8]))
def test_chunks_stay_below_their_limit_and_cover_the_tensor(shape: list[int], itemsize: int):
    chunk = chunk_shape(tuple(shape), itemsize)
    assert len(chunk) == len(shape)
    assert all(1 <= c <= max(1, s) for c, s in zip(chunk, shape, strict=True))
    assert np.prod(chunk, dtype=np.int64) * itemsize <= CHUNK_BYTES or all(c == 1 for c in chunk[:-1])


def test_a_large_tensor_is_split_and_comes_back(tmp_path: Path):
    from dataclasses import replace

    info = replace(run_info("big"), tensors=(TensorInfo("w", "float32", (5, 4_000_000), "parameter"),))
    probe = replace(PROBE, layers=(replace(PROBE.layers[0], tensors=("w",)),))
    run = Store.open_or_create(tmp_path / "s.zarr").create_run(info, probe)
    value = np.random.default_rng(0).normal(size=(5, 4_000_000)).astype("float32")
    with run.writing("test"):
        run.checkpoints.append(2, {"w": value}, "f")
    files = [p for p in (run.path / "weights" / "w" / "c").rglob("*") if p.is_file()]
    assert len(files) == 3
    assert np.array_equal(run.checkpoints.read(2)["w"], value)


def _hold(path: str, ready, wait) -> None:
    with Store.open(path).run("small").writing("test holder"):
        ready.set()
        wait.wait(60)


@pytest.mark.parametrize("way", ["ends", "killed"])
def test_the_lock_holds_against_a_live_process_and_not_for_a_dead_one(tmp_path: Path, way: str):
    store, run = finished_store(tmp_path / "s.zarr")
    context = multiprocessing.get_context("spawn")
    ready, wait = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(store.path), ready, wait))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(RunLockedError, match=rf"process {holder.pid} \(test holder\)"), run.writing("test"):
        pass
    with pytest.raises(RunLockedError):
        store.delete_run("small")
    assert run.writer() is not None
    if way == "ends":
        wait.set()
    else:
        os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join(60)
    assert run.writer() is None
    with run.writing("test"):
        assert run.writer() is not None
    assert run.writer() is None


def test_the_lock_says_whether_there_is_a_writer_and_the_note_only_who(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    note = run.path / "checkpoint" / "writer"
    # Left by a dead writer, perhaps on another host or in another container: this very pid lives here.
    note.write_text(json.dumps({"pid": os.getpid(), "host": "elsewhere", "purpose": "x"}))
    assert run.writer() is None
    assert run.status() == "complete"
    with run.writing("test"):
        assert str(run.writer()) == f"process {os.getpid()} (test)"
        note.unlink()
        assert str(run.writer()) == "another process"
        with pytest.raises(RunLockedError, match="another process"), run.writing("second"):
            pass


def test_a_run_made_anew_belongs_to_its_new_writer(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    with run.writing("the old one"):
        run.path.rename(tmp_path / "moved")
        _, anew = small_store(tmp_path / "s.zarr")
        lock = anew.writing("the new one")
        lock.__enter__()
    assert str(anew.writer()) == f"process {os.getpid()} (the new one)"  # the old one left this note alone
    lock.__exit__(None, None, None)
    assert anew.writer() is None
    assert store.run("small").status() == "interrupted"


def test_a_further_probe_that_was_begun_leaves_a_run_complete(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    assert run.status() == "complete"
    newer = run.create_probe(replace(PROBE, granularity="block", fingerprint="b" * 64, created=9e9))
    assert [probe.info.id for probe in run.probes()] == [PROBE.id, newer.info.id]
    assert run.status() == "complete"
    assert run.status_of(complete=False, probe=PROBE.id) == "interrupted", "the other one is not whole"
    with run.writing("probe"):
        assert run.status() == "probing"


def test_names_that_look_like_leftovers_are_not_swept(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr", "x.host-1-0123abcd.partial")
    assert [r.name for r in store.runs()[0]] == [run.name]
    report = checked(store)
    assert (report.swept, report.damaged, report.runs) == ([], [], 1)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (f"probes/{PROBE.id}/zarr.json", '{"attributes": {"lyrx": {"columns": []}}}'),
        (f"probes/{PROBE.id}/zarr.json", "{"),
        (f"probes/{PROBE.id}/estimate/zarr.json", "garbage"),
        ("weights/fc1.weight/zarr.json", '{"zarr_format": 3, "node_type": "array"}'),
        ("metrics/history/commits/1.json", "[]"),
        ("zarr.json", '{"attributes": {"lyrx": {"schema": "1"}}}'),
    ],
)
def test_damaged_metadata_is_named_and_takes_no_other_run_down(tmp_path: Path, file: str, content: str):
    store, run = finished_store(tmp_path / "s.zarr")
    small_store(tmp_path / "s.zarr", "healthy")
    (run.path / file).write_text(content)
    report = checked(store)
    assert report.damaged
    assert any("small" in str(problem) for problem in report.damaged)
    from lyrx.explorer.listing import rows

    found, _ = rows(store)
    assert "healthy" in [row["name"] for row in found]


def test_check_reads_as_a_stranger_does_and_misses_no_checkpoint(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    chunk = run.probe().chunk(Cell(0, 1))
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x99")  # the checksum that zarr goes by, not the numbers
    (run.path / "checkpoint" / "commits" / "0.json").unlink()
    report = checked(store)
    assert report.mended == [chunk]
    (found,) = map(str, report.damaged)
    assert "checkpoint 0 is gone" in found
    assert checked(store).mended == []


def test_a_stray_record_is_nothing(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    commits = run.probe().path / "estimate" / "commits"
    (commits / "0.json").write_bytes((commits / "0.0.0.json").read_bytes())
    (commits / "77.0.0.json").write_bytes((commits / "0.0.0.json").read_bytes())
    assert set(run.probe().results().estimates) == set(PROBE.all_cells())


def _open_store(path: str, barrier, results) -> None:
    barrier.wait(60)
    results.put(str(Store.open_or_create(path).path))


def test_two_processes_that_make_the_same_store_share_it(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    (tmp_path / "s.zarr").mkdir()  # an empty folder may become a store
    makers = [context.Process(target=_open_store, args=(str(tmp_path / "s.zarr"), barrier, results)) for _ in range(2)]
    for maker in makers:
        maker.start()
    assert [results.get(timeout=60) for _ in makers] == [str(tmp_path / "s.zarr")] * 2
    for maker in makers:
        maker.join(60)
    assert dict(zarr.open_group(tmp_path / "s.zarr", mode="r").members()).keys() == {"runs"}


def test_check_sweeps_leftovers_of_dead_writers_and_spares_live_ones(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    import socket

    host, pid = socket.gethostname(), dead.stdout.strip()
    for leftover in (
        store.runs_path / f"x.{host}-{pid}-0123abcd.partial",
        store.runs_path / f"y.{host}-1-0123abcd.partial",
    ):
        leftover.mkdir()
        (leftover / "zarr.json").write_text("{}")
    (run.path / "weights" / "fc1.bias" / "c" / "0" / f"0.{'a' * 32}.partial").write_text("half")
    report = checked(store)
    assert len(report.swept) == 2
    assert [p.name for p in report.kept] == [f"y.{host}-1-0123abcd.partial"]  # process 1 is alive
    assert report.damaged == []
    assert (report.runs, report.checkpoints) == (1, 2)
    with run.writing("test"):
        (run.path / "weights" / "fc1.bias" / "c" / "0" / f"0.{'a' * 32}.partial").write_text("half")
        report = checked(store)
        assert (run.path / "weights" / "fc1.bias" / "c" / "0" / f"0.{'a' * 32}.partial").exists()


def test_leftovers_and_foreign_files_are_no_runs(tmp_path: Path):
    store, _ = finished_store(tmp_path / "s.zarr")
    (store.runs_path / "x.host-1-0123abcd.partial").mkdir()
    runs, errors = store.runs()
    assert [run.name for run in runs] == ["small"]
    assert errors == []


def _make(path: str, barrier, results) -> None:
    barrier.wait(60)
    try:
        Store.open_or_create(path).create_run(run_info("same"), PROBE)
        results.put("made")
    except RunExistsError:
        results.put("exists")


def test_two_processes_that_make_the_same_run_make_one(tmp_path: Path):
    Store.open_or_create(tmp_path / "s.zarr")
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    makers = [context.Process(target=_make, args=(str(tmp_path / "s.zarr"), barrier, results)) for _ in range(2)]
    for maker in makers:
        maker.start()
    outcomes = sorted(results.get(timeout=60) for _ in makers)
    for maker in makers:
        maker.join(60)
    assert outcomes == ["exists", "made"]
    runs, errors = Store.open(tmp_path / "s.zarr").runs()
    assert len(runs) == 1
    assert errors == []


def test_a_writer_that_commits_again_never_shows_a_reader_damage(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    script = (
        "import sys\nfrom small import estimate\nfrom lyrx.store import *\n"
        "probe = Store.open(sys.argv[1]).run('small').probe()\n"
        "for i in range(150): probe.write(Cell(0, 1, 0), estimate(i / 1000), durable=i % 2 == 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s.zarr")], env=environment) as writer:
        probe, seen = run.probe(), set()
        while writer.poll() is None:
            value = probe.read(Cell(0, 1, 0))  # raises DamagedError if it ever looks torn
            seen.add(value.error if value else None)
    assert writer.returncode == 0
    assert None not in seen, "it never vanishes"
    assert probe.read(Cell(0, 1, 0)) == estimate(0.149)


def test_tensor_descriptions_round_trip():
    for info in TENSORS:
        assert TensorInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
