"""The heatmap's strips: on terminals of every kind, and what they cost."""

import io
import itertools
import math
from dataclasses import replace

import pytest
from lyrx.explorer.core import ramp
from lyrx.explorer.core.compare import signed
from lyrx.explorer.core.grid import HEAD, Grid
from lyrx.explorer.core.marks import MARKS, Place, State
from lyrx.explorer.core.paint import by_colour
from lyrx.explorer.core.picture import METRICS
from lyrx.explorer.core.scene import NETWORK, NETWORK_KEY, Look, Row, Scene
from lyrx.explorer.core.tones import tones
from lyrx.explorer.widgets.painter import Painter, tone_styles
from lyrx.store import REINITIALISE, Column
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from textual.strip import Strip

SCALES = [*ramp.RAMPS.values(), ramp.DIVERGING]
SYSTEMS = ("truecolor", "256", "standard", None)


def drawn(value: float, row: int, column: int) -> float:
    """An error that falls with depth and over checkpoints, as that of a real network."""
    return value * math.exp(-row / 12) * math.exp(-column / 9)


def made(rows: int, columns: int, *, digits=False, overview=False, scale=ramp.HOT, look=None) -> Scene:
    """A scene of `rows` layers and the whole network."""
    levels = ramp.Scale("error", 0.0, 1.0, ramp=scale)

    def usual(row: int, column: int) -> Look:
        value = drawn(0.95, row, column)
        return Look(Place(State.DONE, value), levels.level(value))

    return Scene(
        columns=tuple(Column(REINITIALISE, epoch) for epoch in range(columns)),
        rows=(*(Row(f"layer{i}", f"layer{i}", (i,)) for i in range(rows)), Row(NETWORK_KEY, NETWORK)),
        looks=tuple(tuple((look or usual)(row, column) for column in range(columns)) for row in range(rows + 1)),
        scale=levels,
        metric=METRICS["error"],
        digits=digits,
        overview=overview,
    )


def lines(scene: Scene, width: int, height: int, system: str | None = "truecolor", dark=True) -> list[Strip]:
    """The lines of a viewport that holds all of it."""
    grid = Grid.fit(scene, width, height, shaded=system is None, halves=by_colour(system))
    painter = Painter(scene, grid, width, system, tone_styles(tones(dark), system is not None))
    columns = range(len(scene.columns))
    found = [painter.heads(line, columns, None) for line in range(HEAD)]
    found += [painter.row(line, part, columns, None) for line in range(grid.lines) for part in range(grid.cell_height)]
    found += [painter.row(grid.lines, part, columns, None) for part in range(grid.network_height)]
    return [Strip(Segment.simplify(parts)) for parts in found]


def cost(strips: list[Strip], system: str | None) -> int:
    """Bytes of a terminal of this kind, with a move of the cursor for each line."""
    return sum(len(f"\x1b[{y};1H{rendered(strip, system)}".encode()) for y, strip in enumerate(strips))


def rendered(strip: Strip, system: str | None) -> str:
    """What such a terminal is sent for a line, the screen's background behind all of it."""
    console = Console(file=io.StringIO(), color_system=system, force_terminal=True, legacy_windows=False)
    # Made anew: a style remembers how it was rendered first, whatever the terminal was.
    fresh = [Segment(text, _fresh(style or Style())) for text, style, _ in strip]
    return Strip(Segment.simplify(fresh)).render(console)


def _fresh(style: Style) -> Style:
    back = style.bgcolor or Color.parse("#121212")
    return Style(color=style.color, bgcolor=back, bold=style.bold, italic=style.italic)


def as_trained(row: int, column: int) -> Look:
    """Errors as those of a trained network: lower layers critical, upper ones robust, settled after some epochs."""
    value = 0.0152 + 0.9 * math.exp(-4 * row / 40) * math.exp(-column / 3)
    return Look(Place(State.DONE, value), ramp.level(value))


@pytest.mark.parametrize("system", ["truecolor", "256", "standard", None])
@pytest.mark.parametrize("size", [(50, 40), (50, 24), (80, 24)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("digits", [False, True], ids=["plain", "digits"])
def test_a_frame_of_50_columns_and_40_lines_costs_at_most_10_kb(system, size: tuple[int, int], digits: bool):
    width, height = size
    count = (width - 17) // (6 if digits else 3)
    strips = lines(made(height - 4, count, digits=digits), width, height, system)
    assert len(strips) >= height - 1
    # Shades take three bytes a character where there are sixteen colours.
    assert cost(strips, system) <= (13 if system == "standard" else 10) * 1024


@pytest.mark.parametrize("overview", [False, True], ids=["plain", "overview"])
def test_40_layers_at_50_checkpoints_cost_little_more_than_their_blanks(overview: bool):
    strips = lines(made(40, 50, overview=overview, look=as_trained), 170, 46)
    blanks = sum(strip.cell_length for strip in strips)
    assert cost(strips, "256") <= blanks + 6 * 1024


def test_neighbours_of_one_level_are_one_segment():
    look = Look(Place(State.DONE, 0.5), 8)
    strips = lines(made(3, 20, look=lambda row, column: look), 100, 8)
    for strip in strips[HEAD:5]:
        assert sum(1 for segment in strip if segment.style and segment.style.bgcolor) == 1


def mixed(text: str, style: Style, theme=DEFAULT_TERMINAL_THEME) -> float:
    """The luminance of a shaded character in 16 colours."""

    def of(colour: Color | None) -> float:
        assert colour is not None
        return ramp.luminance(tuple(colour.downgrade(ColorSystem.STANDARD).get_truecolor(theme)))

    back = of(style.bgcolor)
    share = ramp.SHADES.index(text) / 4
    return back if not share else back + (of(style.color) - back) * share


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
@pytest.mark.parametrize("system", SYSTEMS)
def test_levels_stay_distinct_and_ordered_on_every_terminal(scale: ramp.Ramp, system):
    count = len(scale)
    scene = made(1, count, scale=scale, look=lambda row, column: Look(Place(State.DONE, column / count), column))
    (strip,) = lines(scene, 120, 5, system)[HEAD : HEAD + 1]
    grid = Grid.fit(scene, 120, 5, shaded=system is None)
    cells = [strip.crop(grid.x(column), grid.x(column) + grid.cell_width) for column in range(count)]
    assert len({rendered(cell, system) for cell in cells}) == count
    first = [next(iter(cell)) for cell in cells]
    if system is None:
        assert not any(segment.style for cell in cells for segment in cell)
        if scale.diverging:
            return  # both ends are full of ink: the sign tells them apart
        values = [float(sum(map(ramp.SHADES.index, cell.text))) for cell in cells]
        strictly = True
    elif system == "standard":
        values = [mixed(segment.text[0], segment.style) for segment in first]
        strictly = True
    else:
        depth = ColorSystem.TRUECOLOR if system == "truecolor" else ColorSystem.EIGHT_BIT
        values = [ramp.luminance(tuple(s.style.bgcolor.downgrade(depth).get_truecolor())) for s in first]
        strictly = True
    middle = count // 2 if scale.diverging else 0
    for part in (values[middle:], values[: middle + 1][::-1] if middle else []):
        for low, high in itertools.pairwise(part):
            assert low < high if strictly else low <= high


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
@pytest.mark.parametrize("system", SYSTEMS)
def test_levels_stay_distinct_in_the_overview(scale: ramp.Ramp, system):
    count = len(scale)
    scene = made(2, count, scale=scale, overview=True,
                 look=lambda row, column: Look(Place(State.DONE, 0.5), column if row == 0 else 5))  # fmt: skip
    grid = Grid.fit(scene, 160, 20, shaded=system is None, halves=by_colour(system))
    first = lines(scene, 160, 20, system)[HEAD]
    cells = [first.crop(grid.x(column), grid.x(column) + grid.cell_width) for column in range(count)]
    assert len({rendered(cell, system) for cell in cells}) == count
    assert grid.per_line == (2 if system in ("truecolor", "256") else 1)


@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
def test_scales_are_exact_in_256_colours_and_digits_can_be_read(scale: ramp.Ramp):
    for colour, number, rgb, fore in zip(scale.colours, scale.xterm, scale.rgb, scale.foregrounds, strict=True):
        shown = Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT)
        assert shown.number == number
        assert max(abs(a - b) for a, b in zip(shown.get_truecolor(), rgb, strict=True)) <= 7
        back, text = ramp.luminance(rgb), 1.0 if fore == "#ffffff" else 0.0
        assert (max(back, text) + 0.05) / (min(back, text) + 0.05) >= 4.5  # WCAG 2.2, level AA
    assert scale.not_finite not in scale.colours


@pytest.mark.parametrize("colours", ["truecolor", "standard", None])
@pytest.mark.parametrize("dark", [True, False], ids=["dark", "light"])
def test_every_state_has_a_mark_of_its_own(colours, dark: bool):
    states = [State.MISSING, State.UNAVAILABLE, State.QUEUED, State.RUNNING, State.FAILED, State.DAMAGED]
    for known in (None, 0.5):
        level = None if known is None else 8
        scene = made(1, 6, look=lambda row, column, level=level: Look(Place(states[column]), level))
        strip = lines(scene, 60, 5, colours, dark)[HEAD]
        grid = Grid.fit(scene, 60, 5, shaded=colours is None)
        for column, state in enumerate(states):
            assert MARKS[state] in strip.crop(grid.x(column), grid.x(column) + grid.cell_width).text
    estimate = made(1, 3, digits=True, look=lambda row, column: Look(Place(State.ESTIMATE, 0.25), 4))
    assert "~25.0" in lines(estimate, 60, 5, colours, dark)[HEAD].text


def test_the_overview_holds_two_layers_a_line():
    scene = made(5, 4, overview=True)
    strips = lines(scene, 60, 20)
    grid = Grid.fit(scene, 60, 20)
    assert grid.lines == 3
    assert [tuple(grid.rows_of(line)) for line in range(3)] == [(0, 1), (2, 3), (4,)]
    first = strips[HEAD].crop(grid.x(0), grid.x(0) + 1)
    (segment,) = first
    assert segment.text == "▀"
    assert segment.style is not None
    assert segment.style.color == Color.from_ansi(ramp.XTERM[scene.looks[0][0].level or 0])
    assert segment.style.bgcolor == Color.from_ansi(ramp.XTERM[scene.looks[1][0].level or 0])
    (last,) = strips[HEAD + 2].crop(grid.x(0), grid.x(0) + 1)
    assert last.style is not None
    assert (last.text, last.style.bgcolor) == ("▀", None), "half a line"


def test_marks_show_in_the_overview():
    def look(row: int, column: int) -> Look:
        return Look(Place(State.FAILED), 3) if (row, column) == (1, 2) else Look(Place(State.DONE, 0.5), 8)

    strip = lines(made(4, 4, overview=True, look=look), 60, 20)[HEAD]
    assert "!" in strip.text
    nothing = made(4, 4, overview=True, look=lambda row, column: Look(Place(State.MISSING)))
    assert "·" in lines(nothing, 60, 20)[HEAD].text


def test_a_number_that_is_none_has_a_colour_of_its_own():
    scene = made(1, 2, digits=True, look=lambda row, column: Look(Place(State.DONE, math.inf)))
    strip = lines(scene, 60, 5)[HEAD]
    (segment,) = [segment for segment in strip if "inf" in segment.text]
    assert segment.style is not None
    assert segment.style.bgcolor == Color.parse(ramp.NOT_FINITE)


@pytest.mark.parametrize("metric", ["verdict", "shift"])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("width", [50, 80, 200])
def test_verdicts_are_letters_below_each_other_whether_they_are_estimates_or_not(metric: str, system, width: int):
    told = METRICS["verdict"] if metric == "verdict" else signed(METRICS["verdict"])
    letters = {0.0: "R", 0.5: "?", 1.0: "C"} if metric == "verdict" else {-1.0: "−", 0.0: "=", 1.0: "+"}
    values = list(letters)
    states = (State.DONE, State.ESTIMATE, State.DONE, State.ESTIMATE)

    def look(row: int, column: int) -> Look:
        return Look(Place(states[row], values[column]), (1, 7, 14)[column])

    scene = replace(made(3, 3, digits=True, look=look), metric=told)
    grid = Grid.fit(scene, width, 24, shaded=system is None)
    strips = lines(scene, width, 24, system)
    middle = (grid.cell_height - 1) // 2
    shown = [strips[HEAD + row * grid.cell_height + middle] for row in range(3)]
    for column, letter in enumerate(letters.values()):
        start = grid.x(column)
        cells = [strip.crop(start, start + grid.cell_width).text for strip in shown]
        assert [cell.strip(" ░▒▓█_=≡┼╪╬" if letter not in "=" else " ░▒▓█_≡┼╪╬").strip() for cell in cells] == [
            letter, f"~{letter}", letter,
        ]  # fmt: skip
        assert len({cell.rindex(letter) for cell in cells}) == 1, "below each other"


def test_a_verdict_is_a_word_or_a_letter_by_the_room_there_is_and_not_by_its_mark():
    for width in range(1, 14):
        found = [Place(state, 1.0).text("verdict", width) for state in (State.DONE, State.ESTIMATE)]
        assert found in (["C", "~C"], ["critical", "~critical"])
        assert len(found[1]) <= max(2, width)


@pytest.mark.parametrize("digits", [False, True])
@pytest.mark.parametrize("width", [50, 80, 120, 200])
def test_a_head_stays_where_it_is_when_the_cursor_comes(width: int, digits: bool):
    scene = made(3, 3, digits=digits)
    grid = Grid.fit(scene, width, 24)
    painter = Painter(scene, grid, width, "truecolor", tone_styles(tones(True), True))
    found = {"".join(part.text for part in painter.heads(1, range(3), cursor)).rstrip() for cursor in (None, 0, 1, 2)}
    assert len(found) == 1
    assert found.pop().split() == ["0", "1", "2"]


def test_a_name_gives_up_what_stands_behind_it_before_its_beginning():
    row = Row("skip", "skip (only B)", (0,), short="skip")
    assert [row.name_in(room) for room in (13, 12)] == ["skip (only B)", "skip"]
    assert Row("fc1", "fc1", (0,)).name_in(2) == "fc1"
