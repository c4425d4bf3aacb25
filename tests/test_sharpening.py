"""Cells that are committed again and again: never lost, never wrong, whoever reads and whatever is killed."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from lyrx.store import Cell, DamagedError, Estimate, Fallback, Progress, RowError, Run, Store
from lyrx.store.check import Report, check_store
from lyrx.store.files import sha256
from small import PROBE, finished_store, small_store

TESTS = Path(__file__).parent
CELL = Cell(0, 1, 0)


def look(n: int, total: int = 1000) -> Estimate:
    """What a cell may know after `n` examples; every number follows from n."""
    half = 0.0 if n == total else 0.5 / n
    return Estimate(n / 2000, n / 2000 - half, n / 2000 + half, n / 7, 1 - n / 2000, n, total)


def checked(store: Store) -> Report:
    report = Report()
    list(check_store(store, report))
    return report


def as_zarr(run: Run, cell: Cell) -> Estimate:
    """The cell as a stranger reads it."""
    path = run.probe().path
    if cell.layer is None:
        return Estimate.from_values(tuple(map(float, zarr.open_array(path / "network", mode="r")[cell.column])))  # type: ignore[arg-type]
    place = (cell.layer, cell.column, cell.draw)
    return Estimate.from_values(tuple(map(float, zarr.open_array(path / "estimate", mode="r")[place])))  # type: ignore[arg-type]


def script(tmp_path: Path, body: str) -> list[str]:
    """A process that writes: `probe` is the small run's."""
    head = (
        "import os, signal, sys\nfrom lyrx.store import *\nfrom test_sharpening import look\n"
        f"probe = Store.open({str(tmp_path / 's.zarr')!r}).run('small').probe()\n"
    )
    return [sys.executable, "-c", head + body]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS)}


def test_every_look_replaces_the_one_before_for_lyrx_and_for_strangers(tmp_path: Path):
    _, run = small_store(tmp_path / "s.zarr")
    probe, reader = run.probe(), run.probe()
    for n in (64, 128, 1000):
        for cell in (CELL, Cell(None, 2)):
            probe.write(cell, look(n), durable=n == 1000, worse=n // 2, evaluator="replay")
            assert reader.read(cell) == look(n)
            assert as_zarr(run, cell) == look(n)
    results = reader.results()
    assert results.estimates == {CELL: look(1000), Cell(None, 2): look(1000)}
    record = results.records[CELL]
    assert (record["worse"], record["evaluator"]) == (500, "replay")
    assert list(record["values"]) == list(look(1000).to_values())
    assert record["hash"] == sha256(np.array(record["values"], dtype="<f8").tobytes())


def test_a_whole_picture_in_one_go(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    probe, cells = run.probe(), PROBE.all_cells()
    for n, durable in ((10, False), (500, False), (1000, True)):
        probe.write_many([(cell, look(n + i), {"worse": i}) for i, cell in enumerate(cells)], durable=durable)
        found = run.probe().results()
        assert found.estimates == {cell: look(n + i) for i, cell in enumerate(cells)}
        assert [found.records[cell]["worse"] for cell in cells] == list(range(len(cells)))
        assert [as_zarr(run, cell) for cell in cells] == [look(n + i) for i, cell in enumerate(cells)]
    report = checked(store)
    assert (report.rows, report.damaged, report.mended, report.swept) == (len(cells), [], [], [])
    assert probe.missing() == []
    probe.write_many([])


def test_numbers_that_are_not_finite_come_back(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    for loss in (float("inf"), float("-inf"), float("nan"), -float("nan"), -0.0):
        run.probe().write(CELL, Estimate(0.1, 0.1, 0.1, loss, 0.9, 10, 10))
        read, strange = run.probe().read(CELL), as_zarr(run, CELL)
        assert read is not None
        assert repr(read.loss) == repr(strange.loss) == repr(loss)
        json.loads(run.probe().record(CELL).read_text(), parse_constant=pytest.fail)  # strict JSON
        assert checked(store).damaged == []


@pytest.mark.parametrize("cell", [Cell(2, 0), Cell(-1, 0), Cell(0, 3), Cell(0, 1, 2), Cell(None, 9)])
def test_a_cell_that_is_not_in_the_plan_is_refused_and_nothing_is_written(tmp_path: Path, cell: Cell):
    _, run = small_store(tmp_path / "s.zarr")
    before = sorted(run.path.rglob("*"))
    with pytest.raises(RowError, match="has no row"):
        run.probe().write_many([(CELL, look(3), {}), (cell, look(3), {})])
    assert sorted(run.path.rglob("*")) == before
    with pytest.raises(RowError, match="3 numbers, and 7 are needed"):
        run.probe()._estimate.write((0, 1, 0), [1, 2, 3], "f")


def test_replacements_within_one_tick_of_the_clock_are_all_seen(tmp_path: Path):
    # Inodes are used again at once, and a file's time is coarse: neither tells one record from the next.
    _, run = small_store(tmp_path / "s.zarr")
    writer, reader = run.probe(), run.probe()
    stamps = set()
    for n in range(1, 400):
        writer.write(CELL, look(n), durable=False)
        assert reader.read(CELL) == look(n)
        stamps.add(reader.stamp())
    assert len(stamps) == 399


KILLED = {
    "before the chunk": ("'/c/' in str(to)", False),
    "between chunk and record": ("'/commits/' in str(to)", False),
    "after the record": ("'/commits/' in str(to)", True),
}


@pytest.mark.parametrize("when", KILLED)
@pytest.mark.parametrize("durable", [True, False])
def test_a_writer_killed_anywhere_loses_nothing(tmp_path: Path, when: str, durable: bool):
    store, run = small_store(tmp_path / "s.zarr")
    run.probe().write(CELL, look(100), worse=7)
    condition, after = KILLED[when]
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    body = (
        "replace = os.replace\n"
        "def deadly(source, to):\n"
        f"    if {condition} and not {after}: {kill}\n"
        "    replace(source, to)\n"
        f"    if {condition}: {kill}\n"
        f"os.replace = deadly\nprobe.write(Cell(0, 1, 0), look(200), durable={durable}, worse=9)\n"
    )
    done = subprocess.run(script(tmp_path, body), env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL
    known = 200 if after else 100
    results = run.probe().results()
    assert results.estimates == {CELL: look(known)}
    assert results.records[CELL]["worse"] == (9 if after else 7)
    between = when.startswith("between")
    assert as_zarr(run, CELL) == look(200 if after or between else 100)
    report = checked(store)
    assert report.damaged == []
    assert report.mended == ([run.probe().chunk(CELL)] if between else [])
    assert len(report.swept) == (0 if after else 1 if between else 2)
    assert as_zarr(run, CELL) == look(known), "what strangers read is again what was committed"
    assert checked(store) == Report(runs=1, rows=1)
    run.probe().write(CELL, look(1000))
    assert run.probe().read(CELL) == look(1000)


@pytest.mark.parametrize("seed", range(4))
def test_a_writer_killed_at_any_moment_leaves_a_whole_picture(tmp_path: Path, seed: int):
    store, run = small_store(tmp_path / "s.zarr")
    run.probe().write_many([(cell, look(1), {}) for cell in PROBE.all_cells()])
    body = (
        "print('on', flush=True)\n"
        "for n in range(2, 1000): probe.write_many([(c, look(n), {'worse': n}) for c in probe.info.all_cells()],"
        " durable=n % 5 == 0)\n"
    )
    with subprocess.Popen(script(tmp_path, body), env=ENVIRONMENT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(0.005 + random.Random(seed).random() * 0.2)
        writer.kill()
    estimates, records = run.probe().results().estimates, run.probe().results().records
    assert set(estimates) == set(PROBE.all_cells())
    assert {cell: look(value.n) for cell, value in estimates.items()} == estimates
    assert all(records[cell].get("worse", 1) == value.n for cell, value in estimates.items())
    report = checked(store)
    assert report.damaged == []
    assert len(report.mended) <= 1
    assert {cell: as_zarr(run, cell) for cell in estimates} == estimates


def test_a_reader_never_misses_a_cell_that_sharpens(tmp_path: Path):
    _, run = small_store(tmp_path / "s.zarr")
    cells = PROBE.cells()
    run.probe().write_many([(cell, look(1), {}) for cell in cells])
    body = "for n in range(2, 200): probe.write_many([(c, look(n), {}) for c in probe.info.cells()], durable=n == 50)\n"
    last = dict.fromkeys(cells, 0)
    with subprocess.Popen(script(tmp_path, body), env=ENVIRONMENT) as writer:
        probe, looks = run.probe(), 0
        while writer.poll() is None:
            found = probe.results()
            assert found.damaged == []
            assert set(found.estimates) == set(cells)
            for cell, value in found.estimates.items():
                assert value == look(value.n)
                assert value.n >= last[cell]
                last[cell] = value.n
            looks += 1
    assert writer.returncode == 0
    assert looks > 1
    assert set(last.values()) <= set(range(1, 200))
    assert {value.n for value in probe.results().estimates.values()} == {199}


def _write_share(path: str, rank: int, barrier) -> None:
    probe = Store.open(path).run("small").probe()
    mine = probe.info.cells()[rank::2]
    barrier.wait(60)
    for n in range(1, 60):
        probe.write_many([(cell, look(n), {"rank": rank}) for cell in mine], durable=n == 59)


def test_two_ranks_write_at_once(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    ranks = [context.Process(target=_write_share, args=(str(store.path), rank, barrier)) for rank in range(2)]
    with run.writing("the first of them"):
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(120)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    results = run.probe().results()
    assert results.estimates == dict.fromkeys(PROBE.cells(), look(59))
    assert [results.records[cell]["rank"] for cell in PROBE.cells()] == [i % 2 for i in range(len(PROBE.cells()))]
    assert {cell: as_zarr(run, cell) for cell in PROBE.cells()} == results.estimates
    report = checked(store)
    assert (report.damaged, report.mended, report.swept, report.kept) == ([], [], [], [])


TORN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "without its end": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
    "half of zeros": lambda data: data[:100] + bytes(len(data) - 100),
    "another value": lambda data: data.replace(b'"values":[0.05,', b'"values":[0.06,'),
    "another count": lambda data: data.replace(b'"worse":7', b'"worse":8'),
    "a value less": lambda data: data.replace(b",1000.0]", b"]"),
    "no numbers": lambda data: b'{"fingerprint": "%s", "hash": "x", "values": [[]]}' % (b"f" * 64),
    "a huge number": lambda data: b'{"fingerprint": "x", "hash": "x", "values": [1%s,1,1,1,1,1,1]}' % (b"0" * 400),
}


@pytest.mark.parametrize("how", TORN)
def test_a_torn_record_counts_as_missing_and_is_named(tmp_path: Path, how: str):
    store, run = small_store(tmp_path / "s.zarr")
    probe = run.probe()
    probe.write(CELL, look(100), durable=False, worse=7)
    probe.write(Cell(1, 1), look(300), durable=False)
    path = probe.record(CELL)
    data = path.read_bytes()
    torn = TORN[how](data)
    assert torn != data
    path.write_bytes(torn)
    results = run.probe().results()
    assert results.estimates == {Cell(1, 1): look(300)}
    assert results.damaged_cells == {CELL}
    with pytest.raises(DamagedError):
        run.probe().read(CELL)
    assert CELL in run.probe().missing()
    (named,) = checked(store).damaged
    assert str(path) in str(named)
    probe.write(CELL, look(128), worse=8)
    assert run.probe().read(CELL) == look(128)
    assert checked(store).damaged == []


def test_a_chunk_that_was_not_flushed_is_written_anew_unless_somebody_writes(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    probe = run.probe()
    torn, gone, zeros = probe.chunk(CELL), probe.chunk(Cell(1, 1)), run.history.rows.chunk((1,))
    torn.write_bytes(torn.read_bytes()[:30])
    gone.unlink()
    zeros.write_bytes(bytes(44))
    before = run.probe().results()
    assert before.damaged == []
    with run.writing("somebody"):
        report = checked(store)
        assert (report.mended, report.damaged) == ([], [])
        assert set(report.unsettled) == {torn, gone, zeros}
    report = checked(store)
    assert (report.damaged, report.unsettled) == ([], [])
    assert set(report.mended) == {torn, gone, zeros}
    assert as_zarr(run, Cell(1, 1)) == before.estimates[Cell(1, 1)]
    assert checked(store).mended == []


def age(run: Run, cell: Cell) -> None:
    """Make a cell's record one of the first version: without its numbers and without a seal."""
    path = run.probe().record(cell)
    record = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps({key: record[key] for key in record if key not in ("values", "seal")}, indent=1))


def test_records_of_the_first_version_are_read_from_their_chunks(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    new = run.probe().results().estimates
    for cell in PROBE.all_cells():
        age(run, cell)
    old = Store.open(store.path).run("small")
    assert old.probe().results().estimates == new
    assert checked(store).damaged == []
    chunk = old.probe().chunk(CELL)
    data = chunk.read_bytes()
    chunk.write_bytes(data[:8] + b"\1" + data[9:])
    with pytest.raises(DamagedError, match="estimate/c/0/1/0"):
        old.probe().read(CELL)
    assert len(checked(store).damaged) == 1
    old.probe().write(CELL, look(5))
    assert old.probe().read(CELL) == look(5)
    assert checked(store).damaged == []


def test_a_record_of_the_first_version_survives_a_kill_while_it_is_replaced(tmp_path: Path):
    store, run = finished_store(tmp_path / "s.zarr")
    before = run.probe().results()
    age(run, CELL)
    body = (
        "replace = os.replace\n"
        "def deadly(source, to):\n"
        "    replace(source, to)\n"
        "    if '/c/' in str(to): os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.replace = deadly\nprobe.write(Cell(0, 1, 0), look(200))\n"
    )
    assert subprocess.run(script(tmp_path, body), env=ENVIRONMENT).returncode == -signal.SIGKILL
    after = run.probe().results()
    assert after.estimates == before.estimates
    assert after.records[CELL]["time"] == before.records[CELL]["time"]
    assert len(checked(store).mended) == 1


def test_an_array_with_other_codecs_is_written_through_zarr(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    path = run.probe().path / "estimate"
    zarr.create_array(
        path, shape=(2, 3, 2, 7), chunks=(1, 1, 1, 7), dtype="float64", fill_value=np.nan, overwrite=True,
        compressors=[zarr.codecs.ZstdCodec()], dimension_names=("layer", "column", "draw", "quantity"),
    )  # fmt: skip
    run.probe().write(CELL, look(64), durable=False)
    run.probe().write(CELL, look(128))
    assert run.probe().read(CELL) == as_zarr(run, CELL) == look(128)
    assert checked(store).damaged == []
    run.probe().chunk(CELL).unlink()
    assert len(checked(store).mended) == 1
    assert as_zarr(run, CELL) == look(128)


def test_what_was_removed_is_not_made_again_by_a_writer(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    probe = run.probe()
    probe.write(CELL, look(3))
    store.delete_run("small")
    with pytest.raises(FileNotFoundError):
        probe.write(CELL, look(4))
    assert [path.name for path in store.runs_path.iterdir()] == ["zarr.json"]


def test_an_estimate_is_not_missing_and_not_exact(tmp_path: Path):
    _, run = small_store(tmp_path / "s.zarr")
    probe = run.probe()
    assert probe.progress() == Progress(10, 0, 0, None, 10)
    probe.write_many([(cell, look(1000), {}) for cell in PROBE.all_cells()])
    assert probe.progress() == Progress(10, 10, 10, None)
    probe.write(CELL, Estimate(0.3, 0.2, 0.41, 1.0, 0.5, 64, 100))
    probe.write(Cell(1, 1), Estimate(0.3, 0.25, 0.35, 1.0, 0.5, 64, 100))
    probe.withdraw(Cell(1, 2))
    progress = probe.progress()
    assert (progress.total, progress.committed, progress.exact) == (10, 9, 7)
    assert progress.widest == pytest.approx(0.105)
    assert probe.missing() == [Cell(1, 2)]


# The baseline


def numbers(n: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.permutation(n), generator.integers(-1, 10, size=n)


def test_the_baseline_comes_back_and_strangers_find_it(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    probe = run.probe()
    assert probe.read_baseline() is None
    assert zarr.open_array(probe.path / "order", mode="r").shape == (100,), "made with the probe"
    order, prediction = numbers()
    probe.write_baseline(order, prediction.astype("int32"), 7, 12.5, device="cpu")
    found = run.probe().read_baseline()
    assert found is not None
    assert found.order.dtype == found.prediction.dtype == np.dtype("int64")
    assert np.array_equal(found.order, order)
    assert np.array_equal(found.prediction, prediction)
    assert (found.wrong, found.loss_sum, found.record["device"]) == (7, 12.5, "cpu")
    data = xarray.open_zarr(store.path, group=f"runs/small/probes/{PROBE.id}", consolidated=False)
    assert data.baseline.dims == data.order.dims == ("example",)
    assert np.array_equal(data.baseline.values, prediction)
    assert checked(store).damaged == []
    probe.write_baseline(order[::-1], prediction, 8, float("inf"))
    again = run.probe().read_baseline()
    assert again is not None
    assert np.array_equal(again.order, order[::-1])
    assert (again.wrong, again.loss_sum) == (8, float("inf"))


def test_a_probe_of_an_older_lyrx_gets_its_baseline_on_the_first_write(tmp_path: Path):
    import shutil

    store, run = small_store(tmp_path / "s.zarr")
    for name in ("order", "baseline"):
        shutil.rmtree(run.probe().path / name)
    assert run.probe().read_baseline() is None
    order, prediction = numbers()
    run.probe().write_baseline(order, prediction, 7, 12.5)
    found = run.probe().read_baseline()
    assert found is not None
    assert np.array_equal(found.prediction, prediction)
    assert checked(store).damaged == []


@pytest.mark.parametrize(
    ("order", "prediction", "wrong"),
    [
        (np.zeros(100, int), np.zeros(100, int), 0),
        (np.arange(1, 101), np.zeros(100, int), 0),
        (np.arange(100), np.zeros(99, int), 0),
        (np.arange(99), np.zeros(99, int), 0),
        (np.arange(100).reshape(2, 50), np.zeros((2, 50), int), 0),
        (np.arange(100), np.zeros(100, int), 101),
        (np.arange(100), np.zeros(100, int), -1),
    ],
)
def test_a_baseline_that_does_not_fit_is_refused(tmp_path: Path, order, prediction, wrong: int):
    _, run = small_store(tmp_path / "s.zarr")
    run.probe().write_baseline(*numbers(), 7, 12.5)
    with pytest.raises(RowError):
        run.probe().write_baseline(order, prediction, wrong, 0.0)
    found = run.probe().read_baseline()
    assert found is not None
    assert found.wrong == 7


@pytest.mark.parametrize("name", ["order", "baseline"])
def test_a_damaged_baseline_is_named(tmp_path: Path, name: str):
    store, run = small_store(tmp_path / "s.zarr")
    run.probe().write_baseline(*numbers(), 7, 12.5)
    chunk = run.probe().path / name / "c" / "0"
    data = bytearray(chunk.read_bytes())
    data[9] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(DamagedError, match=name):
        run.probe().read_baseline()
    (found,) = checked(store).damaged
    assert name in str(found)
    run.probe().write_baseline(*numbers(), 7, 12.5)
    assert checked(store).damaged == []


def test_a_large_baseline_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dataclasses import replace

    from small import run_info

    monkeypatch.setattr("lyrx.store.layout.CHUNK_BYTES", 800)
    info = replace(run_info(), data_facts={"test_examples": 1000})
    run = Store.open_or_create(tmp_path / "s.zarr").create_run(info, PROBE)
    order, prediction = numbers(1000)
    run.probe().write_baseline(order, prediction, 7, 12.5)
    assert len(list((run.probe().path / "order" / "c").iterdir())) == 10
    found = run.probe().read_baseline()
    assert found is not None
    assert np.array_equal(found.order, order)


# Fallbacks


def test_fallbacks_are_kept_with_their_reasons(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    probe = run.probe()
    assert probe.fallbacks() == []
    stamp = probe.stamp()
    probe.write_fallback("fc2", "zero", "it is read twice")
    probe.write_fallback("fc1", "rerandomise", "first")
    probe.write_fallback("fc1", "rerandomise", "its output \x1b[31m is altered in place")
    assert probe.stamp() != stamp
    assert run.probe().fallbacks() == [
        Fallback("fc1", "rerandomise", "its output \x1b[31m is altered in place"),
        Fallback("fc2", "zero", "it is read twice"),
    ]
    probe.withdraw_fallback("fc2", "noise")  # nothing is said of it
    probe.withdraw_fallback("fc1", "rerandomise")
    assert [fallback.layer for fallback in run.probe().fallbacks()] == ["fc2"]
    probe.write_fallback("fc1", "rerandomise", "again")
    file = next(path for path in (probe.path / "estimate" / "fallbacks").iterdir() if b"twice" in path.read_bytes())
    file.write_bytes(file.read_bytes().replace(b"twice", b"once!"))
    assert [fallback.layer for fallback in run.probe().fallbacks()] == ["fc1"]
    probe.write_note("batches", "examples know of each other")
    (found,) = checked(store).damaged
    assert str(file) in str(found)
    assert dict(zarr.open_group(probe.path, mode="r").members()).keys() == {
        "estimate", "network", "distance", "order", "baseline",
        "layer", "column", "draw", "quantity", "checkpoint", "norm",
    }  # fmt: skip


def test_a_note_is_kept_by_its_subject_and_checked(tmp_path: Path):
    store, run = small_store(tmp_path / "s.zarr")
    probe = run.probe()
    assert probe.notes() == {}, "as in stores that were made before there were any"
    stamp = probe.stamp()
    probe.write_note("batches", "first")
    probe.write_note("batches", "examples know of each other")
    assert probe.stamp() != stamp
    assert run.probe().notes() == {"batches": "examples know of each other"}
    assert not checked(store).damaged
    (file,) = (probe.path / "estimate" / "notes").iterdir()
    said = json.loads(file.read_text())
    assert said["fingerprint"] == probe.info.fingerprint
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"know", b"hear"))
    assert run.probe().notes() == {}, "what fails its hash is never shown"
    (found,) = checked(store).damaged
    assert str(file) in str(found)
    probe.write_note("batches", "examples know of each other")
    assert file.read_bytes() == whole
    assert not checked(store).damaged
