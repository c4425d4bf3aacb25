"""The line that says what colours and marks mean."""

import fakes
import pytest
from lyrx.explorer.core.legend import legend
from lyrx.explorer.core.paint import paints
from lyrx.explorer.core.picture import METRICS, VERDICTS, Picture, take_picture
from lyrx.explorer.core.ramp import RAMPS
from lyrx.explorer.core.scene import Scene
from lyrx.explorer.core.survey import scene, survey
from lyrx.explorer.core.view import HeatView
from lyrx.store import Store
from rich.color import Color, ColorSystem
from rich.style import Style
from rich.text import Text

WORDS = (("R", "robust"), ("?", "undecided"), ("C", "critical"))


@pytest.fixture
def picture(tmp_path) -> Picture:
    store = Store.open_or_create(tmp_path / "s.zarr")
    return take_picture(fakes.partial_run(store))


def made(picture: Picture, metric: str, ramp: str = "") -> Scene:
    return scene(survey(picture, metric, ramp), HeatView(metric=metric, ramp=ramp))


def looks(text: Text, system: str | None) -> list[tuple[str, object, object]]:
    """Each patch of a verdict's legend: its three characters, and the colours of the first and the middle one."""
    found = []
    for letter, word in WORDS:
        at = text.plain.index(f" {word}") - 3
        assert text.plain[at + 1] == letter
        styles = [style_at(text, place, system) for place in (at, at + 1)]
        found.append((text.plain[at : at + 3], *styles))
    return found


def style_at(text: Text, place: int, system: str | None) -> tuple[object, object]:
    """(colour, background) of one character as such a terminal shows them."""
    style = Style()
    for span in text.spans:
        if span.start <= place < span.end and isinstance(span.style, Style):
            style += span.style
    depth = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT, "standard": ColorSystem.STANDARD}
    return tuple(
        None if colour is None or system is None else Color.parse(colour.name).downgrade(depth[system]).number
        for colour in (style.color, style.bgcolor)
    )


@pytest.mark.parametrize("ramp", RAMPS)
@pytest.mark.parametrize("system", ["truecolor", "256", "standard", None])
@pytest.mark.parametrize("width", [48, 78, 118, 198])
def test_verdicts_are_three_patches_with_their_letters_and_words(picture, width: int, system: str | None, ramp: str):
    shown = made(picture, "verdict", ramp)
    text = legend(shown, width, system)
    assert text.cell_len <= width
    assert text.plain.startswith("verdict")
    found = looks(text, system)
    assert len({(patch[0::2], ground) for patch, ground, _ in found}) == 3, "each has a look of its own"
    levels = paints(shown.scale.ramp, system)
    for (patch, _, _), verdict in zip(found, ("robust", "undecided", "critical"), strict=True):
        paint = levels[shown.scale.level(VERDICTS[verdict])]
        assert patch[0] == patch[2] == paint.fill[0], "that of the cells"
    fills = sum(text.plain.count(shade) for shade in "░▒▓█")
    assert fills <= 6, "and nothing of the levels that no verdict has"


def test_verdicts_without_colours_are_told_by_their_ink(picture):
    text = legend(made(picture, "verdict"), 78, None)
    assert [patch for patch, *_ in looks(text, None)] == [" R ", "▒?▒", "█C█"]


def test_marks_follow_the_patches(picture):
    assert "· not measured" in legend(made(picture, "verdict"), 78, "truecolor").plain


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "verdict"])
def test_amounts_have_a_scale_with_two_ends(picture, metric: str):
    shown = made(picture, metric)
    low, high = shown.scale.ends()
    text = legend(shown, 118, None)
    assert f"  {low} " in text.plain
    assert f" {high} " in f"{text.plain} "
    assert METRICS[metric].kinds == ()
    coloured = legend(shown, 118, "256")
    grounds = {span.style.bgcolor for span in coloured.spans if isinstance(span.style, Style) and span.style.bgcolor}
    assert len(grounds) == 16
