"""Runs that are compared: each may show another of its probes."""

from pathlib import Path

import comparable
import fakes
import pytest
from comparing import keys, maps, opened, screen
from driving import app, line, screen_text, settle, until
from lyrx.explorer.comparing import SidesFeed
from lyrx.explorer.screens.probes import ProbeChooser
from lyrx.store import Cell, Store
from textual.pilot import Pilot
from textual.widgets import OptionList

ONE, TWO = "res-one", "res-two"
LAYER, BLOCK = "layer-5eed5eed", "block-b10cb10c"
BLOCKS = ["layer1.0", "layer1.1", "layer2.0", "layer2.1", ""]


@pytest.fixture
def store(tmp_path, state) -> Path:
    """Two residual nets; the second has a newer probe by blocks too."""
    path = tmp_path / "lyrx.zarr"
    made = Store.open_or_create(path)
    comparable.staged_run(made, ONE)
    comparable.block_probe(comparable.staged_run(made, TWO))
    return path


def probes(pilot: Pilot) -> list[str]:
    return [picture.probe.id for picture in screen(pilot).shown]


def head(pilot: Pilot, number: int) -> str:
    return line(pilot, f"#pane-{number} .pane-head")


async def choose(pilot: Pilot, *pressed: str) -> None:
    await pilot.press("p")
    await settle(pilot)
    assert isinstance(pilot.app.screen, ProbeChooser)
    await pilot.press(*pressed)
    await settle(pilot)


async def test_the_chosen_runs_probe_is_chosen_and_kept(store):
    async with app(store).run_test(size=(200, 50)) as pilot:
        await opened(pilot, ONE, TWO)
        assert probes(pilot) == [LAYER, LAYER], "the first one's newest, and of the others what is like it"
        assert "probe" not in head(pilot, 0), "it has one only"
        assert f"probe {LAYER}" in head(pilot, 1)
        assert f"B: a newer probe is there: {BLOCK} (p shows it)" in line(pilot, "#note")
        await pilot.press("tab")
        await pilot.press("p")
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        assert f"probes of {TWO}" in text
        assert "Enter makes it" not in text, "nothing is measured here"
        await pilot.press("k", "enter")
        await settle(pilot)
        assert probes(pilot) == [LAYER, BLOCK]
        assert f"probe {LAYER}" in head(pilot, 0), "where they differ it is said of all"
        assert f"probe {BLOCK}" in head(pilot, 1)
        assert "different granularities: A: layer, B: block" in line(pilot, "#note")
        assert f"B: probe {BLOCK}" in line(pilot, "#note")
        # What is read again, and what grows, is of that probe.
        await pilot.press("R")
        await settle(pilot)
        assert probes(pilot) == [LAYER, BLOCK]
        Store.open(store).run(TWO).probe(BLOCK).write(Cell(0, 1, 0), fakes.estimate(0.4321), seconds=0.1)
        screen(pilot).read()
        await until(pilot, lambda: screen(pilot).shown[1].value("error", 0, 1) == 0.4321)
        assert probes(pilot) == [LAYER, BLOCK]
        await choose(pilot, "j", "enter")
        assert probes(pilot) == [LAYER, LAYER], "and back"


async def test_a_probe_is_chosen_by_mouse(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, TWO, ONE)
        assert probes(pilot) == [BLOCK, LAYER], "the newest of the first"
        await pilot.press("p")
        await settle(pilot)
        await pilot.click(OptionList, offset=(8, 1))
        await settle(pilot)
        assert probes(pilot) == [LAYER, LAYER]
        assert keys(maps(pilot)[0]) == keys(maps(pilot)[1])
        await choose(pilot, "escape")
        assert probes(pilot) == [LAYER, LAYER]


async def test_in_the_difference_it_is_said_which_probes_are_subtracted(store):
    made = Store.open(store)
    comparable.block_probe(made.run(ONE))
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, ONE, TWO)
        await pilot.press("D")
        await settle(pilot)
        assert line(pilot, "#pane-difference .pane-head") == f"▸ B {TWO} ({BLOCK}) − A {ONE} ({BLOCK})"
        await choose(pilot, "j", "enter")
        assert probes(pilot) == [LAYER, BLOCK]
        text = " ".join(" ".join(screen_text(pilot)).split())
        assert "no layer in common: layers are compared by name. p chooses another probe of a run." in text
        await choose(pilot, "k", "enter")
        assert probes(pilot) == [BLOCK, BLOCK]
        await pilot.press("D")
        await settle(pilot)
        assert keys(maps(pilot)[0]) == BLOCKS


async def test_of_several_runs_it_is_the_minuends_where_the_chosen_one_is_not_shown(store):
    comparable.block_probe(comparable.staged_run(Store.open(store), "res-three"))
    async with app(store).run_test(size=(200, 50)) as pilot:
        view = await opened(pilot, ONE, TWO, "res-three")
        await pilot.press("D", "tab", "tab")
        await settle(pilot)
        assert view.pair == (1, 2)
        await choose(pilot, "k", "enter")
        assert probes(pilot) == [LAYER, LAYER, BLOCK]


async def test_a_run_without_a_probe_has_none_to_choose(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, ONE, "no-such-run")
        await pilot.press("tab", "p")
        await settle(pilot)
        assert not isinstance(pilot.app.screen, ProbeChooser)
        assert "B has no probe to choose from" in line(pilot, "#note")


def test_the_feed_follows_what_it_was_told_to(store):
    feed = SidesFeed(store, [ONE, TWO])
    sides = feed.poll()
    assert sides is not None
    assert [side.picture.probe.id for side in sides if side.picture] == [LAYER, LAYER]
    assert sides[1].probes == (LAYER, BLOCK)
    assert feed.poll() is None
    feed.follow(1, BLOCK)
    for force in (False, True):
        sides = feed.poll(force)
        assert sides is not None
        assert [side.picture.probe.id for side in sides if side.picture] == [LAYER, BLOCK]
    assert feed.poll() is None
    Store.open(store).delete_run(TWO)
    sides = feed.poll()
    assert sides is not None
    assert "was removed" in sides[1].problem
    assert sides[1].picture is not None
    assert (sides[1].picture.probe.id, sides[1].probes) == (BLOCK, (LAYER, BLOCK))
