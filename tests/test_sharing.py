"""Several processes: work that is cut by cost, little of it wasted, and what ends one of them ends all."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from lyrx.engine.errors import RunFailedError
from lyrx.engine.sharing import Alone, Part, Shared, Unit, cut
from lyrx.engine.team import Board, Colleagues, OtherFailedError
from lyrx.store import Cell, LyrxError
from simulated_team import Costs, SimulatedTeam, efficiency, simulate
from torch.distributed import TCPStore

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
    class DamagedError(LyrxError):
        exit_code = 1

    def work(member: Colleagues) -> None:
        def compute(unit: Unit):
            if member.rank == 1:
                raise DamagedError("what it needs is gone")
            time.sleep(0.01)
            return np.zeros((len(unit.cells), 1)), {}

        for _ in Shared(member).parts([(i, i + 1) for i in range(400)], [1.0], compute):
            pass

    first, second, third = together(colleagues(3), work)
    assert isinstance(second, DamagedError)
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
