"""What goes wrong with the store while the app is open is kept in the panel of errors, with what to do about it."""

import shutil

import fakes
from driving import app, line, screen_of, screen_text, settle
from lyrx.explorer.core.incidents import Incident
from lyrx.store import Cell, Store
from textual.pilot import Pilot

RUN = "fcn-3x256"


def incidents(pilot: Pilot) -> list[Incident]:
    return pilot.app.incidents.all  # type: ignore[attr-defined]


async def read(pilot: Pilot) -> None:
    await pilot.press("R")
    await settle(pilot)


async def test_a_store_that_is_unmounted_and_comes_back(own, tmp_path):
    away = tmp_path / "away"
    async with app(own).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        own.rename(away)
        await read(pilot)
        (found,) = incidents(pilot)
        assert found.title == "the store is not there"
        assert str(own) in found.what
        assert "goes on when it is back" in found.todo
        await pilot.press("exclamation_mark")
        await settle(pilot)
        assert any("the store is not there" in text for text in screen_text(pilot))
        await pilot.press("y", "escape")
        assert "mounted" in pilot.app.clipboard
        away.rename(own)
        await read(pilot)
        assert "no store" not in line(pilot, "#note")
        assert len(incidents(pilot)) == 1


async def test_a_run_that_is_deleted_while_it_is_open(own):
    async with app(own, RUN).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        shutil.rmtree(Store.open(own).run(RUN).path)
        await read(pilot)
        (found,) = incidents(pilot)
        assert (found.title, RUN in found.what) == ("the run is not there", True)
        assert "was removed. What was read before is still shown." in line(pilot, "#note")


async def test_damage_is_told_once_and_again_when_there_is_more(own):
    async with app(own, RUN).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        run = Store.open(own).run(RUN)
        fakes.damage(run, Cell(1, 3))
        await until_damaged(pilot, 1)
        (found,) = incidents(pilot)
        assert "damaged" in found.title
        assert f"lyrx check {own.absolute()}" in found.todo
        await read(pilot)
        assert [one.count for one in incidents(pilot)] == [1], "it is known"
        fakes.damage(run, Cell(2, 4))
        await until_damaged(pilot, 2)
        assert len(incidents(pilot)) == 2
        assert incidents(pilot)[0].what != found.what


async def until_damaged(pilot: Pilot, count: int) -> None:
    """Where a file system's clock is coarse, a change may be seen a moment later only."""
    for _ in range(20):
        await read(pilot)
        if len(screen_of(pilot).picture.problems) == count:  # type: ignore[union-attr]
            return
        await pilot.pause(0.1)
    raise AssertionError("the damage was not seen")
