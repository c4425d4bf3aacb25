"""Charts as text: where values stand, read back from the dots of Braille."""

from itertools import pairwise

import pytest
from lyrx.explorer.core.plot import Plot, Series
from lyrx.explorer.core.tones import DARK
from lyrx.explorer.widgets.chart import _plotted

AXIS = "┤│┼├"
TICKS = [(0, "0"), (50, "50"), (100, "100")]
# Unicode, "Braille patterns": bits 0, 1, 2, 6 are the left column's dots from above, 3, 4, 5, 7 the right one's.
UPWARDS = ((6, 2, 1, 0), (7, 5, 4, 3))


def dots(text: str) -> list[set[int]]:
    """The heights (in dots from the bottom) of each column of dots between the axes."""
    rows = [line for line in text.split("\n") if any(mark in line[:5] for mark in AXIS)]
    left = 1 + min(line.index(mark) for line in rows for mark in AXIS if mark in line[:5])
    found: list[set[int]] = [set() for _ in range(2 * max(len(line) - left for line in rows))]
    for up, line in enumerate(reversed(rows)):
        for across, letter in enumerate(line[left:]):
            code = ord(letter) - 0x2800
            for side, bits in enumerate(UPWARDS):
                found[2 * across + side] |= {
                    4 * up + n for n, bit in enumerate(bits) if 0 < code < 256 and code >> bit & 1
                }
    return found


def heights(value: float, height: int, *, points: bool) -> tuple[set[int], int]:
    """(heights of the dots of a level line, or of a single point, at `value` of 0..100; lines between the axes)."""
    x = [0.5] if points else [0.0, 1.0]
    series = Series("one", "accent", x, [value] * len(x), dots=points, line=not points)
    plot = Plot("", (series,), left=(0, 100), x_ticks=[(0, "0"), (1, "1")], left_ticks=TICKS)
    text = _plotted(plot, 30, height, DARK).plain
    return set().union(*dots(text)), height - 2


@pytest.mark.parametrize("height", [4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("points", [False, True], ids=["line", "point"])
def test_values_are_drawn_to_the_nearest_dot(height: int, points: bool):
    for value in range(0, 101, 4):
        found, rows = heights(value, height, points=points)
        # From the middle of the lowest line of text to the middle of the highest one there are 4 (rows - 1) dots.
        wanted = 1.5 + value / 100 * 4 * (rows - 1)
        assert found, value
        assert max(found) - min(found) == (1 if points else 0), "a point is two dots high, a line is one"
        middle = (max(found) + min(found)) / 2
        assert abs(middle - wanted) <= (1.0 if points else 0.51), (value, sorted(found), wanted)


def test_the_dotted_line_too_and_it_is_no_line():
    series = Series("one", "accent", [0.5], [100.0])
    plot = Plot("", (series,), left=(0, 100), x_ticks=[(0, "0"), (1, "1")], left_ticks=TICKS, level=30)
    columns = dots(_plotted(plot, 30, 7, DARK).plain)
    low = [sorted(height for height in column if height < 15) for column in columns]
    assert {tuple(one) for one in low} == {(), (6,)}, "1.5 + 0.3 * 16 is 6.3"
    assert not any(a and b for a, b in pairwise(low))


@pytest.mark.parametrize("height", [4, 5, 6, 7, 12])
def test_the_axis_names_both_its_ends(height: int):
    plot = Plot("", (Series("one", "accent", [0.0, 1.0], [20.0, 80.0], dots=True),), left=(0, 100),
                x_ticks=[(0, "0"), (1, "1")], left_ticks=TICKS)  # fmt: skip
    rows = _plotted(plot, 30, height, DARK).plain.split("\n")[: height - 2]
    named = {row[:3].strip(): number for number, row in enumerate(rows) if row[:3].strip()}
    assert (named["100"], named["0"]) == (0, len(rows) - 1)
    assert named.get("50") in (None, (len(rows) - 1) / 2, (len(rows) - 1) // 2, len(rows) // 2)
    assert ("50" in named) == (len(rows) >= 5)


@pytest.mark.parametrize("band", [False, True], ids=["no-band", "band"])
def test_where_there_is_room_points_are_marks(band: bool):
    ends = {"low": [15.0, 75.0], "high": [25.0, 85.0]} if band else {}
    plot = Plot("", (Series("one", "accent", [0.0, 1.0], [20.0, 80.0], dots=True, **ends),), left=(0, 100),
                x_ticks=[(0, "0"), (1, "1")], left_ticks=TICKS)  # fmt: skip
    assert _plotted(plot, 30, 12, DARK).plain.count("●") == 2
    assert "●" not in _plotted(plot, 30, 7, DARK).plain
