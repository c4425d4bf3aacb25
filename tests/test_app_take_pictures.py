"""The dialog that writes files, as it looks: every picture was looked at before it was accepted."""

from pathlib import Path

import pytest
from driving import app, pressing, settle
from textual.pilot import Pilot

SIZES = [(50, 24), (80, 24), (120, 36), (200, 50)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize(
    "keys", [("w",), ("w", "tab", "right", "right", "right"), ("w", "enter")], ids=["first", "svg", "there"]
)
def test_picture_of_the_dialog(own, snap_compare, size: tuple[int, int], keys: tuple[str, ...]):
    Path("fcn-again-error.csv").write_text("precious")

    assert snap_compare(app(own, "fcn-again"), terminal_size=size, run_before=pressing(*keys))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_picture_of_the_note_after_a_copy(shown, snap_compare, size: tuple[int, int]):
    async def press(pilot: Pilot) -> None:
        await settle(pilot)
        await pilot.press("Y")
        await settle(pilot)

    assert snap_compare(app(shown, "fcn-again"), terminal_size=size, run_before=press)
