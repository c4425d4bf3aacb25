"""Driving the comparison of runs in tests."""

from lyrx.explorer.app import LyrxApp
from lyrx.explorer.screens.compare import CompareScreen
from lyrx.explorer.widgets.scenemap import SceneMap
from screenshot import settle
from textual.pilot import Pilot


def screen(pilot: Pilot) -> CompareScreen:
    assert isinstance(pilot.app.screen, CompareScreen)
    return pilot.app.screen


def maps(pilot: Pilot) -> list[SceneMap]:
    return [pane.map for pane in screen(pilot).panes()]


async def opened(pilot: Pilot, *runs: str) -> CompareScreen:
    assert isinstance(pilot.app, LyrxApp)
    pilot.app.compare(runs)
    await settle(pilot)
    return screen(pilot)


def keys(shown: SceneMap) -> list[str]:
    """Keys of the rows of a heatmap."""
    assert shown.scene is not None
    return [row.key for row in shown.scene.rows]
