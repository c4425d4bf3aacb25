"""A run that is opened again is looked at as before, cursor included."""

from driving import WORKER, heatmap, screen_of, settle
from lyrx.explorer.app import LyrxApp
from lyrx.explorer.remembering import Remembering
from textual.pilot import Pilot


def remembering_app(shown, tmp_path, run: str | None = None) -> LyrxApp:
    memory = Remembering(shown, tmp_path / "views")
    return LyrxApp(shown, [str(WORKER)], run, warm_up=False, poll_seconds=3600, remembering=memory)


async def look(pilot: Pilot) -> None:
    await settle(pilot)
    await pilot.press("m", "j", "j", "l", "l")
    await settle(pilot)


async def test_a_run_left_for_the_table_is_opened_as_it_was_left(shown, tmp_path):
    async with remembering_app(shown, tmp_path).run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await pilot.press("G", "enter")  # fcn-3x256
        await look(pilot)
        left, cursor = screen_of(pilot).view, heatmap(pilot).cursor
        assert (left.metric, cursor[0]) == ("loss", 2)
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert screen_of(pilot).view == left, "at once, not after some seconds"
        assert heatmap(pilot).cursor == cursor
        assert not pilot.app.incidents.all  # type: ignore[attr-defined]


async def test_the_next_app_opens_it_so_too(shown, tmp_path):
    async with remembering_app(shown, tmp_path, "fcn-3x256").run_test(size=(100, 40)) as pilot:
        await look(pilot)
        left, cursor = screen_of(pilot).view, heatmap(pilot).cursor
        pilot.app.exit()
    async with remembering_app(shown, tmp_path, "fcn-3x256").run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        assert screen_of(pilot).view == left
        assert heatmap(pilot).cursor == cursor
