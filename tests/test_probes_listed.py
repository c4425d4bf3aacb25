"""The probes of a run as lines to choose from."""

import pytest
from lyrx.explorer.core.probes import ProbeRow, chooser_lines
from lyrx.store import Progress

ROWS = [
    ProbeRow("block", "block-b10cb10c", 4, ("random", "0", "100"), Progress(27, 27, 27, None), 1.76e9),
    ProbeRow("layer", "layer-5eed5eed", 10, ("random", "0"), Progress(1063, 1063, 53, None), 1.75e9, companions=2),
    ProbeRow("module"),
]


@pytest.mark.parametrize("width", [20, 24, 31, 40, 52, 60, 72, 79, 80, 95, 109, 110, 129])
def test_lines_fit_and_what_is_alike_stands_below_each_other(width: int):
    first, second, third = (line.plain for line in chooser_lines(ROWS, width, "layer-5eed5eed"))
    assert max(map(len, (first, second, third))) <= width
    assert (first[0], second[0], third[0]) == (" ", "●", " ")
    assert third.split()[0] == "module"
    assert "Enter makes it"[: width - 12] in third
    for one, other in (
        ("27/27", "1,063/1,063"),
        ("4 rows", "10 + 2 joint"),
        ("2025-10", "2025-06"),
        ("block-", "layer-"),
    ):
        assert (one in first) == (other in second)
        if one in first:
            assert first.index(one) == second.index(other)
    if width >= 110:
        assert first.endswith("random 0 100")
        assert second.endswith("random 0")


def test_a_run_without_a_probe():
    assert [line.plain.split()[0] for line in chooser_lines(ROWS[2:], 60, "")] == ["module"]
    assert chooser_lines([], 60, "") == []
