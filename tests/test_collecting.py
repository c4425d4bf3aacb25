"""When a full collection of garbage is made: not while somebody presses keys, and not never."""

import gc

import pytest
from lyrx.explorer.collecting import DUE, OVERDUE, QUIET, Collector, nothing_collected


class World:
    def __init__(self) -> None:
        self.now, self.gathered, self.collected = 100.0, 0, 0

    def collect(self) -> None:
        self.collected += 1
        self.gathered = 0


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def collector(world: World) -> Collector:
    return Collector(lambda: world.gathered, world.collect, lambda: world.now)


def test_it_waits_for_a_pause(world: World, collector: Collector):
    world.gathered = DUE
    for _ in range(20):
        world.now += QUIET / 2
        collector.used()
        collector.look()
    assert world.collected == 0
    world.now += QUIET
    collector.look()
    collector.look()
    assert world.collected == 1


def test_little_garbage_is_left_alone(world: World, collector: Collector):
    world.gathered = DUE - 1
    world.now += 1_000
    collector.look()
    assert world.collected == 0


def test_it_does_not_wait_for_ever(world: World, collector: Collector):
    world.gathered = OVERDUE
    collector.used()
    collector.look()
    assert world.collected == 1


def test_with_it_python_makes_no_full_collection_by_itself_and_it_makes_one():
    class Knot:
        pass

    before = gc.get_threshold()
    full = 0

    def count(phase: str, info: dict[str, int]) -> None:
        nonlocal full
        full += phase == "start" and info["generation"] == 2

    collector = Collector(clock=iter([0.0, QUIET]).__next__)
    gc.callbacks.append(count)
    try:
        collector.take_over()
        gc.collect()
        full = 0
        kept = []
        while gc.get_count()[2] < DUE:
            for _ in range(1_000):
                knot = Knot()
                knot.self = knot  # type: ignore[attr-defined]
                kept.append([knot])
        assert full == 0
        collector.look()
        assert full == 1
        assert gc.get_count()[2] == 0
    finally:
        gc.callbacks.remove(count)
        gc.set_threshold(*before)


def test_nothing_is_collected_while_a_program_starts_and_young_garbage_after_it():
    kept = gc.get_threshold()
    try:
        with nothing_collected():
            assert not gc.isenabled()
            Collector.take_over()
            assert gc.isenabled()
        with pytest.raises(OSError, match="no such screen"), nothing_collected():
            raise OSError("no such screen")
        assert gc.isenabled()
    finally:
        gc.set_threshold(*kept)
        gc.enable()
