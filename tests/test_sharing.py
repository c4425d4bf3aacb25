"""Several processes: the same numbers as one, cut by cost, and what ends one of them ends all."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lyrx.engine.batch import run_probe
from lyrx.engine.errors import RunFailedError
from lyrx.engine.sharing import Alone, Part, Shared, Unit, cut
from lyrx.engine.team import Board, Colleagues, OtherFailedError
from lyrx.store import Cell, LyrxError, Run, Store
from lyrx.store.check import Report, check_store
from running import batch, command, environment, lyrx
from simulated_team import Costs, SimulatedTeam, efficiency, simulate
from torch.distributed import TCPStore

NETWORK = {"name": "networks_for_sharing:Watched"}
TRAINING = {"epochs": 3, "checkpoints": [0, 1, 2, 3]}
AT = "random,0,1,zero,noise:0.1,path:0.5"


# Cutting -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_units_hold_every_example_of_every_cell_exactly_once(seed: int):
    generator = np.random.default_rng(seed)
    processes, cells = int(generator.integers(2, 17)), int(generator.integers(1, 300))
    start, length, step = (int(generator.integers(*bounds)) for bounds in ((0, 900), (1, 900), (1, 200)))
    costs = (10.0 ** generator.uniform(-6, 1, cells)).tolist()
    spans = [(first, min(first + step, start + length)) for first in range(start, start + length, step)]
    units = cut(spans, costs, processes)
    seen = np.zeros((cells, length), dtype=int)
    for unit in units:
        assert (unit.start, unit.stop) in spans  # a batch is never cut: its numbers are those of one process
        assert unit.cells == tuple(range(unit.cells[0], unit.cells[-1] + 1))  # neighbours in depth share a recording
        assert unit.cost == pytest.approx(sum(costs[cell] for cell in unit.cells) * (unit.stop - unit.start))
        seen[list(unit.cells), unit.start - start : unit.stop - start] += 1
    assert (seen == 1).all()
    assert [unit.cost for unit in units] == sorted((unit.cost for unit in units), reverse=True)


def test_units_are_no_larger_than_balance_allows():
    costs = np.linspace(1, 0.05, 200).tolist()
    units = cut([(64 * i, 64 * i + 64) for i in range(40)], costs, 8)
    each = sum(costs) * 64 * 40 / 8
    assert units[-1].cost < each / 30
    assert units[0].cost == pytest.approx(sum(costs) * 64)  # whole batches first: they are recorded once
    # A single small batch is dealt out too.
    first = cut([(0, 64)], costs, 8)
    assert len(first) >= 16
    assert first[0].cost < 1.3 * first[-1].cost


@pytest.mark.parametrize("costs", [[1.0, 2.0], [0.0, 0.0]])
def test_what_cannot_be_cut_is_left_whole(costs: list[float]):
    spans = [(0, 3), (3, 5)]
    whole = [((0, 3), (0, 1)), ((3, 5), (0, 1))]
    assert sorted(((u.start, u.stop), u.cells) for u in cut(spans, costs, 1)) == whole
    if not sum(costs):
        assert sorted(((u.start, u.stop), u.cells) for u in cut(spans, costs, 4)) == whole
    assert cut([], costs, 4) == []


# On paper ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speeds", "least"), [([1.0] * 8, 0.95), ([0.5] + [1.0] * 7, 0.95), ([1.0] * 2, 0.98)])
def test_processes_on_paper_waste_little(speeds: list[float], least: float):
    """Measured costs of a ResNet-18, an exact run of 10,000 examples: looks and units are those of a real run."""
    share, team = efficiency(Costs.read(), 10_000, speeds)
    assert share >= least
    assert team.looks[0][:2] == (0, 64)
    assert team.looks[-1][1] == 10_000
    assert team.units[0] == min(team.units) if speeds[0] < 1 else min(team.units) > 0.7 * max(team.units)


def test_one_process_on_paper_takes_what_its_pieces_take():
    costs = Costs.read()
    team = simulate(costs, 640, SimulatedTeam(costs, 640, [1.0]))
    each = 12 * sum(row.replay for row in costs.rows) + 9 * costs.forward
    recorded = max(row.record for row in costs.rows)
    # The picture of all cells is recorded once; cells that are undecided and the others later again, each.
    assert 640 * (each + recorded) <= team.now <= 640 * (each + 2.5 * recorded)
    assert sum(row.replay for row in costs.rows) > 0


# In threads, with a real board ---------------------------------------------------------------------------------------


@pytest.fixture
def colleagues(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[Colleagues]]]:
    """Makes processes that are threads."""
    keeper = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(keeper.port))
    monkeypatch.setattr("lyrx.engine.team._SPEAKING", 0.05)
    yield lambda size: [Colleagues(rank, size, Board("test")) for rank in range(size)]
    del keeper


def together(members: list[Colleagues], work: Callable[[Colleagues], Any]) -> list[Any]:
    """What `work` returns, or raises, in each; none may hang."""
    found: list[Any] = [None] * len(members)

    def run(member: Colleagues) -> None:
        try:
            with member.ending_together():
                found[member.rank] = work(member)
        except BaseException as error:
            found[member.rank] = error

    threads = [threading.Thread(target=run, args=(member,), daemon=True) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    return found


def test_all_learn_what_each_computes_and_the_slow_one_computes_less(colleagues):
    spans, costs = [(i, i + 5) for i in range(0, 100, 5)], [3.0, 2.0, 1.0]
    computed = Counter()

    def work(member: Colleagues) -> dict[Unit, Part]:
        def compute(unit: Unit):
            time.sleep(0.02 if member.rank == 1 else 0.002)
            computed[member.rank] += 1
            rows = np.array([[unit.start, cell, member.rank] for cell in unit.cells], dtype=float)
            return rows, {"loss": float("nan"), "who": "ö"}

        mine = costs if member.rank == 0 else [1.0, 1.0, 1.0]  # the first one's times count
        sharing = Shared(member)
        two = [list(sharing.parts(spans, mine, compute)) for _ in range(2)]
        assert {part.unit for part in two[0]} == {part.unit for part in two[1]}
        return {part.unit: part for part in two[0]}

    found = together(colleagues(3), work)
    units = cut(spans, costs, 3)
    for parts in found:
        assert set(parts) == set(units)
        for unit, part in parts.items():
            assert part.rows[:, :2].tolist() == [[unit.start, cell] for cell in unit.cells]
            assert np.array_equal(part.rows, found[0][unit].rows)
            assert part.news["who"] == "ö"
            assert np.isnan(part.news["loss"])
    assert sum(computed.values()) == 2 * len(units)  # each once
    assert 0 < computed[1] < computed[0] / 2


def test_an_error_in_one_reaches_all(colleagues):
    class Damaged(LyrxError):
        exit_code = 1

    def work(member: Colleagues) -> None:
        def compute(unit: Unit):
            if member.rank == 1:
                raise Damaged("what it needs is gone")
            time.sleep(0.01)
            return np.zeros((len(unit.cells), 1)), {}

        for _ in Shared(member).parts([(i, i + 1) for i in range(400)], [1.0], compute):
            pass

    first, second, third = together(colleagues(3), work)
    assert isinstance(second, Damaged)
    assert not getattr(second, "unheard", True)  # the first process says it
    for error in (first, third):
        assert isinstance(error, OtherFailedError)
        assert str(error) == "process 1: what it needs is gone"
        assert error.exit_code == 1


def test_an_error_that_nobody_hears_is_told_by_whom_it_befell(colleagues, monkeypatch):
    monkeypatch.setattr("lyrx.engine.team._HEARING", 0.3)

    def work(member: Colleagues) -> None:
        if member.rank == 1:
            raise ValueError("alone")
        time.sleep(1)  # far away in a computation
        member.wait()

    first, second = together(colleagues(2), work)
    assert isinstance(second, ValueError)
    assert second.unheard  # type: ignore[attr-defined]
    assert str(first) == "process 1: ValueError: alone"


def test_the_same_error_in_all_stays_what_it_is(colleagues):
    def work(member: Colleagues) -> None:
        raise RunFailedError("the data have changed")

    for error in together(colleagues(3), work):
        assert type(error) is RunFailedError
        assert not getattr(error, "unheard", False)


def test_an_interrupt_of_one_interrupts_all(colleagues):
    def work(member: Colleagues) -> None:
        if member.rank == 1:
            raise KeyboardInterrupt
        member.wait()

    assert [type(error) for error in together(colleagues(3), work)] == [KeyboardInterrupt] * 3


def test_who_is_ended_by_the_launcher_says_why(colleagues):
    """The launcher ends the others when one has gone; the reason is the first error."""

    def work(member: Colleagues) -> None:
        if member.rank == 0:
            while not member.board.has("failed"):
                time.sleep(0.01)
            raise KeyboardInterrupt
        raise OSError(28, "No space left on device")

    first, second = together(colleagues(2), work)
    assert isinstance(first, OtherFailedError)
    assert "process 1: OSError" in str(first)
    assert isinstance(second, OSError)


def test_different_conclusions_end_all(colleagues):
    def work(member: Colleagues) -> None:
        spans = [(0, 4)] if member.rank else [(0, 5)]
        list(Shared(member).parts(spans, [1.0], lambda unit: (np.zeros((1, 1)), {})))
        member.wait()  # as at the end of every probe

    for error in together(colleagues(2), work):
        assert "different conclusions" in str(error)


def test_what_the_first_decides_all_learn(colleagues):
    def work(member: Colleagues) -> Any:
        led = member.lead(lambda: f"only in {member.rank}")
        return led, member.tell({Cell(0, 1, 0): member.rank}), member.collect(member.rank * 10)

    first, *others = together(colleagues(3), work)
    assert first == ("only in 0", {Cell(0, 1, 0): 0}, [0, 10, 20])
    assert others == [(None, {Cell(0, 1, 0): 0}, [0, 10, 20])] * 2


def test_one_alone_computes_all_in_order():
    alone = Alone()
    parts = list(alone.parts([(0, 2), (2, 3)], [1.0, 1.0], lambda unit: (np.full((2, 1), unit.start), {})))
    assert [(part.unit.start, part.unit.stop, part.unit.cells) for part in parts] == [(0, 2, (0, 1)), (2, 3, (0, 1))]
    assert alone.tell(3) == 3
    assert alone.collect(3) == [3]


# Real processes ------------------------------------------------------------------------------------------------------


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
    """The probe in this process."""
    run_probe(store, "r", said(**settings), observer=lambda event: None)
    return Store.open(store).run("r")


def said(exact: bool = False) -> dict[str, Any]:
    return {"probe.at": AT.split(","), "probe.layers": [], "probe.exact": exact}


def launched(store: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The probe in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launcher += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m"]
    call = command("probe", "r", "--store", store, "--at", AT, "--set", "probe.layers=[]", *arguments)[2:]
    return subprocess.Popen(
        [*launcher, *call],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(OMP_NUM_THREADS="1", **variables),
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("it hangs")
    return process.returncode, out, err


def same(one: Run, two: Run) -> None:
    """The same estimates; the same counts behind them; losses to the last digits of a sum."""
    ours, theirs = one.probe().results(), two.probe().results()
    assert not theirs.damaged
    assert ours.estimates.keys() == theirs.estimates.keys()
    for cell, estimate in ours.estimates.items():
        other = theirs.estimates[cell]
        assert (other.n, other.total, other.error) == (estimate.n, estimate.total, estimate.error), cell
        assert (other.low, other.high, other.agreement) == (estimate.low, estimate.high, estimate.agreement), cell
        assert other.loss == pytest.approx(estimate.loss, rel=1e-9), cell
        record, found = ours.records[cell], theirs.records[cell]
        for key in ("wrong", "worse", "better", "agreeing", "evaluator", "full", "seed"):
            assert record.get(key) == found.get(key), (cell, key)


def forwards(folder: Path) -> list[int]:
    return [(folder / str(rank)).stat().st_size for rank in range(2)]


def test_two_processes_give_the_numbers_of_one_first_roughly_then_exactly(trained: Path, store: Path, tmp_path: Path):
    one = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr")))
    code, out, err = ended(launched(store, SHARING_LOG=str(tmp_path)))
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
    code, out, err = ended(launched(store, "--exact", "--json", SHARING_LOG=str(log)))
    assert code == 0, err
    assert json.loads(out)  # one object: the other process prints nothing
    same(alone(tmp_path / "one.zarr", exact=True), two)
    assert two.probe().progress().exact == two.probe().progress().total
    assert sum(forwards(log)) < sum(forwards(tmp_path)) + sum(360 - n for n in rough.values())
    report = Report()
    list(check_store(Store.open(store), report))
    assert not report.damaged


def test_an_error_in_one_process_ends_both_with_its_message(store: Path):
    began = time.monotonic()
    code, _, err = ended(launched(store, "--exact", SHARING_RAISE="1:90"))
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
    code, _, err = ended(launched(store))
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
    for attempt, place in enumerate(("1:150", "0:150")):
        code, _, _ = ended(launched(store, "--exact", SHARING_KILL=place))
        assert code != 0
        assert lyrx("check", store).returncode == 0
        run = Store.open(store).run("r")
        known = run.probe().results().estimates
        assert len(known) > 10 * (attempt + 1) or attempt
        assert any(not estimate.exact for estimate in known.values())
    before = sum(estimate.n for estimate in known.values())
    assert before > 0
    done = lyrx("probe", "r", "--store", store, "--at", AT, "--set", "probe.layers=[]", "--exact")
    assert done.returncode == 0, done.stderr
    same(one, Store.open(store).run("r"))


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_keeps_what_was_finished(trained: Path, store: Path, tmp_path: Path, which: signal.Signals):
    one = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr")), exact=True)
    process = launched(store, "--exact", SHARING_SLOW="1:0.02")
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
    assert ended(launched(store, "--exact"))[0] == 0
    same(one, Store.open(store).run("r"))


@pytest.mark.slow
def test_a_slow_process_takes_less_and_holds_nobody(store: Path, tmp_path: Path):
    code, _, err = ended(launched(store, "--exact", SHARING_SLOW="1:0.03", SHARING_LOG=str(tmp_path)))
    assert code == 0, err
    fast, slow = forwards(tmp_path)
    assert slow < 0.5 * fast
    ranks = Counter(record.get("rank") for record in Store.open(store).run("r").probe().results().records.values())
    assert ranks[1] > 3  # it commits its share all the same


@pytest.mark.slow
def test_scarce_memory_in_one_process_makes_the_batches_of_all_smaller(trained: Path, store: Path, tmp_path: Path):
    one = alone(Path(shutil.copytree(trained, tmp_path / "one.zarr")), exact=True)
    code, _, err = ended(launched(store, "--exact", SHARING_MEMORY="1:150"))
    assert code == 0, err
    same(one, Store.open(store).run("r"))


@pytest.mark.slow
def test_an_error_in_one_process_while_it_trains_ends_both(tmp_path: Path):
    from running import write_spec

    spec = write_spec(tmp_path / "spec.toml", model=NETWORK, train=TRAINING)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launcher += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m"]
    call = [*launcher, *command("batch", spec, "--store", tmp_path / "s.zarr")[2:]]
    done = subprocess.run(
        call,
        capture_output=True,
        text=True,
        env=environment(OMP_NUM_THREADS="1", SHARING_RAISE="1:4"),
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert "no more of this" in done.stderr
