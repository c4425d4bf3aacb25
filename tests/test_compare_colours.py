"""Comparisons on terminals with 256, with 16 and without colours, strip by strip: amounts and signs stay told apart."""

import itertools
from pathlib import Path

import comparable
import pytest
from compared import END, known, picture
from comparing import maps, opened, screen
from driving import app, line, settle
from lyrx.explorer.core import ramp
from lyrx.explorer.core.compare import difference_scene, scenes
from lyrx.explorer.core.compare_heads import about_text, scale_text
from lyrx.explorer.core.grid import HEAD, Grid
from lyrx.explorer.core.marks import MARKS, State
from lyrx.explorer.core.paint import by_colour, paints
from lyrx.explorer.core.scene import Scene
from lyrx.explorer.core.view import HeatView
from lyrx.explorer.screens.compare_pane import Pane
from lyrx.store import REINITIALISE, Column, Store
from PIL import Image, ImageDraw, ImageFont
from rich.color import ColorSystem
from test_heatmap_strips import lines, mixed, rendered
from textual.strip import Strip

LEVELS = len(ramp.DIVERGING)
MIDDLE = LEVELS // 2
COLUMNS = tuple(Column(REINITIALISE, epoch) for epoch in range(LEVELS))
# In the middle of each level of a scale that goes from -0.2 to 0.2.
STEPS = [0.4 * (level + 0.5) / LEVELS - 0.2 for level in range(LEVELS)]
NETWORK = (0.5,) * LEVELS
EPOCHS = tuple(range(LEVELS))
A = picture("a", {"fc1": [0.5] * LEVELS, "fc2": [0.5] * LEVELS, "fc3": [0.5] * LEVELS, "old": [0.5] * LEVELS},
            COLUMNS, network=NETWORK, checkpoints=EPOCHS)  # fmt: skip
B = picture("b", {"fc1": [0.5 + step for step in STEPS],
                  "fc2": [known(0.5 + step, 500, half=0.01) for step in STEPS],
                  "fc3": [None] * LEVELS},
            COLUMNS, network=NETWORK, checkpoints=EPOCHS)  # fmt: skip
ROWS = {"fc1": 0, "fc2": 1, "fc3": 2, "old": 3}
DEPTHS = {"truecolor": ColorSystem.TRUECOLOR, "256": ColorSystem.EIGHT_BIT}

on_every_terminal = pytest.mark.parametrize("system", ["truecolor", "256", "standard", None])
with_and_without_digits = pytest.mark.parametrize("digits", [True, False], ids=["digits", "plain"])
dark_and_light = pytest.mark.parametrize("dark", [True, False], ids=["dark", "light"])


def cells(scene: Scene, system: str | None, row: int, dark: bool = True) -> list[Strip]:
    """The cells of a row, each as it is drawn on such a terminal."""
    width, height = 160, 4 + len(scene.rows)
    strips = lines(scene, width, height, system, dark)
    grid = Grid.fit(scene, width, height, shaded=system is None, halves=by_colour(system))
    top = HEAD + grid.line_of(row) * grid.cell_height
    return [strips[top].crop(grid.x(column), grid.x(column) + grid.cell_width) for column in range(grid.columns)]


def difference(**view) -> Scene:
    return difference_scene(A, B, HeatView(**view))


def test_the_differences_are_all_levels():
    assert [look.level for look in difference().looks[0]] == list(range(LEVELS))
    assert len(set(paints(ramp.DIVERGING, None))) == LEVELS


@dark_and_light
@with_and_without_digits
@on_every_terminal
def test_every_level_looks_otherwise_than_all_others(system, digits: bool, dark: bool):
    for row in ("fc1", "fc2"):
        found = cells(difference(digits=digits), system, ROWS[row], dark)
        assert len({rendered(cell, system) for cell in found}) == LEVELS
        # A cell's colour or shade tells them apart, not its digits alone.
        edges = [rendered(cell.crop(0, 1), system) for cell in found]
        if system is not None:
            assert len(set(edges)) == LEVELS


@on_every_terminal
def test_every_level_is_told_apart_in_the_overview(system):
    found = cells(difference(overview=True), system, ROWS["fc1"])
    assert len({rendered(cell, system) for cell in found}) == LEVELS


@dark_and_light
@with_and_without_digits
@pytest.mark.parametrize("system", ["truecolor", "256", "standard"])
def test_luminance_grows_away_from_the_middle_on_either_side(system: str, digits: bool, dark: bool):
    first = [next(iter(cell)) for cell in cells(difference(digits=digits), system, ROWS["fc1"], dark)]
    values = []
    for segment in first:
        assert segment.style is not None
        assert segment.style.bgcolor is not None
        if system == "standard":
            values.append(mixed(segment.text[0], segment.style))
        else:
            values.append(ramp.luminance(tuple(segment.style.bgcolor.downgrade(DEPTHS[system]).get_truecolor())))
    for side in (values[MIDDLE:], values[: MIDDLE + 1][::-1]):
        assert all(low < high for low, high in itertools.pairwise(side)), side


def inks() -> dict[str, int]:
    """How much of a letter's room is black, of the characters that stand for differences, in a font of one width."""
    letters = sorted({letter for paint in paints(ramp.DIVERGING, None) for letter in paint.fill})
    for name in ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf", "NotoSansMono-Regular.ttf", "Menlo.ttc"):
        try:
            font = ImageFont.truetype(name, 64)
        except OSError:
            continue
        found = {}
        for letter in letters:
            image = Image.new("L", (80, 100))
            ImageDraw.Draw(image).text((10, 10), letter, 255, font)
            found[letter] = sum(image.tobytes()) // 255
        return found
    pytest.skip("no font of one width is here")


def test_without_colours_ink_grows_away_from_the_middle_on_either_side():
    ink = inks()
    amounts = [sum(ink[letter] for letter in paint.fill) for paint in paints(ramp.DIVERGING, None)]
    assert amounts[MIDDLE] == 0, "no difference is no ink"
    for side in (amounts[MIDDLE:], amounts[: MIDDLE + 1][::-1]):
        assert all(low < high for low, high in itertools.pairwise(side)), side


@dark_and_light
def test_signs_are_told_apart_without_colours(dark: bool):
    plain = [cell.text for cell in cells(difference(digits=False), None, ROWS["fc1"], dark)]
    lower = {letter for text in plain[:MIDDLE] for letter in text} - {" "}
    higher = {letter for text in plain[MIDDLE + 1 :] for letter in text} - {" "}
    assert lower
    assert higher
    assert not lower & higher
    assert not (lower | higher) & set("".join(MARKS.values())), "a mark is no shade"
    assert plain[MIDDLE].strip() == ""
    digits = [cell.text for cell in cells(difference(), None, ROWS["fc1"], dark)]
    assert all("−" in text for text in digits[:MIDDLE])
    assert all("+" in text for text in digits[MIDDLE + 1 :])
    assert " 0.0 " in digits[MIDDLE]


@pytest.mark.parametrize("system", ["truecolor", "256", "standard"])
def test_signs_are_told_apart_by_their_colours(system: str):
    for level, cell in enumerate(cells(difference(digits=False), system, ROWS["fc1"])):
        text, style, _ = next(iter(cell))
        assert style is not None
        assert style.bgcolor is not None
        depth = DEPTHS.get(system, ColorSystem.STANDARD)
        # Of the two colours that are mixed with 16 of them, that which is no grey.
        seen = [style.bgcolor, style.color] if text.strip() else [style.bgcolor]
        colours = [one.downgrade(depth).get_truecolor() for one in seen if one is not None]
        red, _, blue = max(colours, key=lambda one: max(one) - min(one))
        assert (blue > red, red > blue) == (level < MIDDLE, level > MIDDLE)


@with_and_without_digits
@on_every_terminal
def test_marks_are_seen_beside_the_amounts(system, digits: bool):
    scene = difference(digits=digits)
    assert all(MARKS[State.ESTIMATE] in cell.text for cell in cells(scene, system, ROWS["fc2"]))
    assert {cell.text.strip() for cell in cells(scene, system, ROWS["fc3"])} == {MARKS[State.MISSING]}
    assert {cell.text.strip() for cell in cells(scene, system, ROWS["old"])} == {MARKS[State.UNAVAILABLE]}
    if system is None and not digits:
        shades = [cell.text.replace(MARKS[State.ESTIMATE], "") for cell in cells(scene, system, ROWS["fc2"])]
        assert not set("".join(shades[:MIDDLE])) & set("".join(shades[MIDDLE + 1 :])) - {" "}


@pytest.mark.parametrize("width", [48, 78, 118, 198])
@on_every_terminal
def test_the_scale_has_every_level_from_the_low_end_to_the_high_one(system, width: int):
    scene = difference()
    text = scale_text([scene], about_text("error", (0, 1), width), "depth", width, system)
    assert text.cell_len <= width
    assert text.plain.index("−20") < text.plain.index("+20")
    drawn = text.plain[text.plain.index("−20") + 4 : text.plain.index("+20") - 1]
    if system is None:
        assert drawn.lstrip()[:2] == "≡≡"
        assert drawn.rstrip()[-2:] == "╬╬"
    else:
        spans = [span for span in text.spans if "on " in str(span.style)]
        shown = [(text.plain[span.start : span.end], str(span.style)) for span in spans]
        assert len(set(shown)) == len(shown) == LEVELS


@pytest.mark.parametrize("width", [48, 78, 118])
@on_every_terminal
def test_verdicts_are_kinds_and_their_differences_an_amount(system, width: int):
    sides = scenes((A, B), HeatView(metric="verdict"))
    said = scale_text(sides, about_text("verdict", None, width), "depth", width, system).plain
    assert all(word in said for word in ("robust", "undecided", "critical"))
    scene = difference(metric="verdict")
    said = scale_text([scene], about_text("verdict", (0, 1), width), "depth", width, system).plain
    assert said.index("− better") < said.index("+ worse")


@on_every_terminal
def test_equal_numbers_look_alike_in_both_runs(system):
    one = picture("one", {"x": [0.1, 0.5], "y": [0.9, 0.3]}, (COLUMNS[0], END), network=(), checkpoints=(0, 100))
    two = picture("two", {"x": [0.5, 0.9], "y": [0.3, 0.1]}, (COLUMNS[0], END), network=(), checkpoints=(0, 100))
    seen: dict[float, set[str]] = {}
    for metric in ("error", "loss"):
        seen.clear()
        for scene in scenes((one, two), HeatView(metric=metric, digits=False)):
            for row in (0, 1):
                for look, cell in zip(scene.looks[row], cells(scene, system, row), strict=True):
                    assert look.place.value is not None
                    seen.setdefault(look.place.value, set()).add(rendered(cell, system))
        assert len(seen) == 4
        assert all(len(looks) == 1 for looks in seen.values())
        assert len(set.union(*seen.values())) == 4


# In the app


@pytest.fixture
def store(tmp_path, state) -> Path:
    path = tmp_path / "lyrx.zarr"
    made = Store.open_or_create(path)
    comparable.staged_run(made, "one")
    comparable.staged_run(made, "two", {"layer1.0.conv1": -0.3, "layer1.0.conv2": 0.3})
    return path


@pytest.mark.parametrize("size", [(50, 24), (80, 24), (120, 36), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_with_no_color_the_app_shows_signs_and_no_colour(store, monkeypatch, size: tuple[int, int]):
    monkeypatch.setenv("NO_COLOR", "1")
    async with app(store).run_test(size=size) as pilot:
        view = await opened(pilot, "one", "two")
        await pilot.press("D", "d")
        await settle(pilot)
        shown = view.query_one("#pane-difference", Pane).map
        grid, scene = shown._grid, shown.scene
        assert grid is not None
        assert scene is not None
        row = {}
        for name in ("layer1.0.conv1", "layer1.0.conv2"):
            at, _ = grid.lines_of(grid.line_of(scene.row_of(name) or 0), 0, shown.viewport.height)
            row[name] = set(shown.render_line(at).text[grid.names :])
        assert row["layer1.0.conv1"] & set("_=≡")
        assert row["layer1.0.conv2"] & set("┼╪╬")
        assert not row["layer1.0.conv1"] & set("┼╪╬")
        assert not row["layer1.0.conv2"] & set("_=≡")
        for strip in screen(pilot)._compositor.render_strips():
            for segment in strip:
                style = segment.style
                assert style is None or (style.color is None and style.bgcolor is None), segment
        assert "≡≡" in line(pilot, "#legend")
        await pilot.press("D")
        await settle(pilot)
        assert any("█" in shown.render_line(y).text for shown in maps(pilot)[:1] for y in range(shown.size.height))
