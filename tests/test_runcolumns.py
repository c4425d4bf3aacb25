"""The columns of the table of runs: which are there, how wide, and what stands in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lyrx.explorer.core.runcolumns import (
    COLUMNS,
    GUTTER,
    IMPORTANCE,
    column_at,
    facts,
    fit,
    head,
    line,
    middle,
    natural,
)
from rich.cells import cell_len
from test_query import NOW, ROWS


@given(st.integers(10, 260))
def test_lines_fit_and_the_columns_that_matter_most_stay(width: int):
    shown = fit(natural(ROWS, NOW), width)
    assert shown
    named = [column.spec.id for column in shown]
    assert set(named) == set(IMPORTANCE[: len(named)])
    assert named == [spec.id for spec in COLUMNS if spec.id in named]
    assert shown[-1].x + shown[-1].width <= max(width, GUTTER + 8)
    lengths = {GUTTER + line(row, shown, NOW).cell_len for row in ROWS} | {GUTTER + head(shown, "error", True).cell_len}
    assert lengths == {shown[-1].x + shown[-1].width}
    for column in shown:
        assert column_at(shown, column.x) == column.spec.id
    assert column_at(shown, 0) is None


@pytest.mark.parametrize(("width", "count"), [(46, 3), (60, 4), (78, 6), (118, 9), (198, 9)])
def test_how_many_columns_there_are(width: int, count: int):
    assert len(fit(natural(ROWS, NOW), width)) == count


def widths_in(width: int, **wanted: int) -> dict[str, int]:
    return {column.spec.id: column.width for column in fit({**natural(ROWS, NOW), **wanted}, width)}


def test_names_come_before_model_and_data_and_the_age_goes_last():
    # On 80 columns a name of 28 letters is whole; what is left is the model's, which is cut before the name is.
    found = widths_in(80, run=28, model=11)
    assert (found["run"], found["error"], found["age"]) == (28, 7, 6)
    assert found["model"] == 80 - GUTTER - sum((28, found["state"], 7, 6)) - 2 * 4 < 11
    assert "data" not in found
    # Before a name is cut the state says its word only; then names are cut down to 20 letters before the age goes.
    assert widths_in(66, run=28) == {"run": 28, "state": 15, "error": 7, "age": 6}
    assert widths_in(56, run=28) == {"run": 20, "state": 13, "error": 7, "age": 6}
    assert widths_in(55, run=28) == {"run": 27, "state": 13, "error": 7}
    assert widths_in(50, run=28) == {"run": 22, "state": 13, "error": 7}
    assert widths_in(44, run=28) == {"run": 20, "state": 9, "error": 7}
    assert widths_in(200, run=28)["run"] == 28


def test_what_a_line_says():
    texts = [line(row, fit(natural(ROWS, NOW), 200), NOW).plain for row in ROWS]
    for row, words in zip(texts[:4], [
        ["resnet18-seed1", "● complete", "ResNet-18", "CIFAR-10", " 20 ", " 9 ", " 100 ", "4.80 %", "24 h"],
        ["◐ training epoch 12/100, 12 %", "12/100", "31.00 %", "10 min"],
        ["◑ probing 47 %", "ViT-B/16", "ImageNet"],
        ["✗ failed CUDA out of memory", "–/100", "  –  "],
    ], strict=True):  # fmt: skip
        for word in words:
            assert word in row


def test_the_sorted_column_has_an_arrow():
    shown = fit(natural(ROWS, NOW), 120)
    assert "▲ error" in head(shown, "error", False).plain
    assert "run ▼" in head(shown, "run", True).plain
    assert "▲" not in head(shown, "", False).plain


@given(st.text(max_size=30), st.integers(1, 20))
def test_names_are_cut_in_the_middle(name: str, width: int):
    cut = middle(name, width)
    assert cell_len(cut) <= width
    assert cut == middle(name, 10_000) or "…" in cut


def test_series_keep_what_tells_them_apart():
    assert middle("resnet18-cifar10-seed3", 14) == "resnet1…-seed3"


def test_facts_name_the_reason_and_the_writer():
    assert "CUDA out of memory" in facts(ROWS[3], NOW)[1].plain
    from dataclasses import replace

    assert "by process 7" in facts(replace(ROWS[1], writer="process 7 (batch)"), NOW)[1].plain
    assert facts(ROWS[0], NOW)[2].plain == "ResNet-18 on CIFAR-10, 20 layers, 9 of 9 checkpoints"
