"""The order in which tasks are taken forward: plain generators, and a clock that only they move."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from lyrx.engine.turns import TURN, Turns


class Bench:
    """Tasks that write down what they do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns = Turns(lambda: self.now)
        self.done: list[str] = []

    def task(
        self,
        name: str,
        steps: int,
        parts: int = 1,
        took: float = 1.0,
        between: Callable[[str], None] = lambda part: None,
    ) -> Iterator[None]:
        """`steps` steps of `parts` parts, each of `took` seconds; after each part it can be interrupted."""
        for step in range(1, steps + 1):
            for part in range(1, parts + 1):
                self.now += took
                self.done.append(f"{name}{step}" + (f".{part}" if parts > 1 else ""))
                between(self.done[-1])
                self.turns.share()
            if step < steps:
                yield

    def finish(self) -> list[str]:
        while self.turns:
            self.turns.step()
        return self.done


def test_each_gets_its_turn():
    bench = Bench()
    for name in "abc":
        bench.turns.begin(bench.task(name, 3, took=0.0))
    assert bench.finish() == ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]


def test_whoever_comes_new_is_seen_to_at_once_and_then_waits_as_the_others_do():
    bench = Bench()
    comes = {"a1.2": "b", "a2.1": "c", "b2": "d"}

    def between(part: str) -> None:
        if part in comes:
            bench.turns.begin(bench.task(comes[part], 3, took=0.0, between=between))

    bench.turns.begin(bench.task("a", 3, parts=3, took=0.0, between=between))
    assert bench.finish() == [
        "a1.1", "a1.2", "b1", "a1.3",
        "b2", "d1",  # b waited for a's look, and d for nobody
        "a2.1", "c1", "a2.2", "a2.3",
        "d2", "b3", "c2", "a3.1", "a3.2", "a3.3", "d3", "c3",
    ]  # fmt: skip


def test_those_who_keep_coming_do_not_put_off_the_first():
    """One comes in each step of a: with the newest always carried out first, all of them would go before a2."""
    bench = Bench()
    count = 0

    def another(part: str) -> None:
        nonlocal count
        if count < 200:
            count += 1
            bench.turns.begin(bench.task(f"n{count}-", 2, took=0.0))

    bench.turns.begin(bench.task("a", 4, took=0.0, between=another))
    done = bench.finish()
    places = [done.index(f"a{step}") for step in range(1, 5)]
    assert max(after - before for before, after in pairwise(places)) <= 4


def test_in_a_long_step_the_others_have_their_turn_now_and_then():
    bench = Bench()
    bench.turns.begin(bench.task("a", 3, took=0.0))
    bench.turns.begin(bench.task("b", 3, took=0.0))
    bench.turns.begin(bench.task("long", 1, parts=8, took=TURN / 2))
    assert bench.finish() == [
        "a1", "b1", "long1.1", "long1.2", "a2", "b2", "long1.3", "long1.4", "a3", "b3",
        "long1.5", "long1.6", "long1.7", "long1.8",
    ]  # fmt: skip


def test_a_step_of_the_others_that_takes_long_gives_the_first_as_long():
    bench = Bench()
    bench.turns.begin(bench.task("slow", 4, took=4 * TURN))
    bench.turns.begin(bench.task("a", 1, parts=12, took=TURN))
    assert bench.finish() == [
        "slow1", "a1.1", "slow2", "a1.2", "a1.3", "a1.4", "a1.5", "slow3",
        "a1.6", "a1.7", "a1.8", "a1.9", "slow4", "a1.10", "a1.11", "a1.12",
    ]  # fmt: skip


def test_a_task_that_has_ended_is_not_asked_again():
    bench = Bench()
    bench.turns.begin(bench.task("a", 1, took=0.0))
    assert not bench.turns
    bench.turns.step()
    assert bench.done == ["a1"]
