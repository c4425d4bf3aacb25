"""Columns: how interventions are written, read and stored."""

import pytest
from lyrx.store import (
    NOISE,
    PATH,
    REINITIALISE,
    RERANDOMISE,
    SHUFFLE,
    ZERO,
    Cell,
    Column,
    ColumnError,
    Layer,
    ProbeInfo,
)

EVERY = [
    ("random", Column(RERANDOMISE, draws=2), {"kind": "rerandomise", "draws": 2}),
    ("8", Column(REINITIALISE, 8), {"kind": "reinitialise", "checkpoint": 8}),
    ("zero", Column(ZERO), {"kind": "zero"}),
    ("noise:0.1", Column(NOISE, draws=2, scale=0.1), {"kind": "noise", "scale": 0.1, "draws": 2}),
    ("path:0.5", Column(PATH, 0, alpha=0.5), {"kind": "path", "checkpoint": 0, "alpha": 0.5}),
    ("path:8:0.25", Column(PATH, 8, alpha=0.25), {"kind": "path", "checkpoint": 8, "alpha": 0.25}),
    ("path:0", Column(PATH, 0, alpha=0.0), {"kind": "path", "checkpoint": 0, "alpha": 0.0}),
    ("shuffle", Column(SHUFFLE, draws=2), {"kind": "shuffle", "draws": 2}),
]


@pytest.mark.parametrize(("text", "column", "stored"), EVERY)
def test_text_label_and_json_are_the_same_column(text: str, column: Column, stored: dict):
    assert Column.parse(text, draws=2) == column
    assert column.label == text
    assert column.to_json() == stored
    assert Column.from_json(stored) == column


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" noise:.10 ", "noise:0.1"),
        ("noise:2.", "noise:2"),
        ("noise:1E-3", "noise:0.001"),
        ("path:0:0.5", "path:0.5"),
        ("path:1.0", "path:1"),
        ("08", "8"),
    ],
)
def test_the_same_column_written_otherwise(text: str, label: str):
    assert Column.parse(text).label == label
    assert Column.parse(text) == Column.parse(label)


def test_columns_of_different_numbers_never_have_one_label():
    near = (Column(NOISE, scale=0.1), Column(NOISE, scale=0.1 + 1e-16), Column(NOISE, scale=0.10000001))
    assert len({column.label for column in near}) == 3


def test_final_is_the_last_checkpoint():
    assert Column.parse("final", final=90) == Column(REINITIALISE, 90)
    with pytest.raises(ColumnError):
        Column.parse("final")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nosie:0.1", "Did you mean 'noise'?"),
        ("Zero", "Did you mean 'zero'?"),
        ("-1", "no column"),
        ("1.5", "no column"),
        ("٣", "no column"),
        ("9" * 5000, "no column"),
        ("", "no column"),
        ("random:3", "no column"),
        ("zero:1", "no column"),
        ("noise", "no column"),
        ("noise:", "SCALE must be a finite number above 0"),
        ("noise:0", "SCALE"),
        ("noise:-1", "SCALE"),
        ("noise:nan", "SCALE"),
        ("noise:1e999", "SCALE"),
        ("noise:1_0", "SCALE"),
        ("path", "no column"),
        ("path:1.01", "ALPHA must be a number from 0 to 1"),
        ("path:x", "ALPHA"),
        ("path:x:0.5", "no column"),
        ("path:1:2:3", "no column"),
        ("\x1b[31m", r"\x1b[31m"),
    ],
)
def test_what_names_no_column_is_refused_with_what_is_allowed(text: str, said: str):
    with pytest.raises(ColumnError) as caught:
        Column.parse(text)
    assert said in str(caught.value)
    assert "noise:SCALE" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_what_old_stores_hold_is_read():
    assert Column.from_json({"kind": "rerandomise", "draws": 3}) == Column(RERANDOMISE, draws=3)
    assert Column.from_json({"kind": "reinitialise", "checkpoint": 0}) == Column(REINITIALISE, 0)
    old = {"name": "fc1", "tensors": ["fc1.weight"], "parameters": 4}
    assert Layer.from_json(old) == Layer("fc1", ("fc1.weight",), 4)
    assert Layer("fc1", ("fc1.weight",), 4).to_json() == old
    joint = Layer("a+b", ("a.weight", "b.weight"), 8, ("a", "b"))
    assert joint.to_json()["joint"] == ["a", "b"]
    assert Layer.from_json(joint.to_json()) == joint
    with pytest.raises(ValueError, match="unknown kind of column 'flip'"):
        Column.from_json({"kind": "flip"})


def test_cells_of_drawn_columns_and_of_the_whole_network():
    columns = tuple(column for _, column, _ in EVERY)
    info = ProbeInfo("layer", (Layer("a", ("a",), 1),), columns, (8,), "f" * 64)
    drawn = [0, 3, 7]
    assert [cell for cell in info.cells() if cell.draw] == [Cell(0, column, 1) for column in drawn]
    assert len(info.cells()) == len(columns) + len(drawn)
    assert info.network_cells() == [Cell(None, 1)]  # only a checkpoint is a whole network
    assert ProbeInfo.from_json(info.to_json()) == info
