"""The dialog that writes files, as tests read it."""

from lyrx.explorer.screens.export import ExportDialog
from lyrx.explorer.widgets.choice import Choice
from textual.pilot import Pilot
from textual.widgets import Input


def dialog(pilot: Pilot) -> ExportDialog:
    assert isinstance(pilot.app.screen, ExportDialog)
    return pilot.app.screen


def choice(pilot: Pilot, name: str) -> str:
    found = dialog(pilot).query_one(f"#{name}", Choice)
    return found.titles[found.chosen]


def path(pilot: Pilot) -> Input:
    return dialog(pilot).query_one("#path", Input)
