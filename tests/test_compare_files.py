"""The difference of two runs as a file: CSV, JSON, SVG, PNG and text, against numbers worked out from the estimates."""

import csv
import io
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import replace

import fakes
import pytest
from compared import END, FIRST, RANDOM, STAGES_A, STAGES_B, known, picture
from lyrx.explorer.core import ramp
from lyrx.explorer.core.compare_files import (
    DIFFERENCE_FORMATS,
    RUNS_FORMATS,
    TABLE,
    difference_csv,
    difference_name,
    difference_table,
    encode_difference,
    encode_runs,
)
from lyrx.explorer.core.picture import Picture
from lyrx.explorer.core.view import HeatView
from lyrx.explorer.jsonout import picture_json
from lyrx.store import REINITIALISE, Column, Estimate
from PIL import Image

SVG = "{http://www.w3.org/2000/svg}"
COLUMNS = (RANDOM, FIRST, END)
FORM = {form.name: form for form in DIFFERENCE_FORMATS}
NETWORK = [None, known(0.9), known(0.02)]
CELLS_A = {
    "fc1": [known(0.9), known(0.8), known(0.02)],
    "fc2": [known(0.7), known(0.3, 200, half=0.06), known(0.02)],
    "fc3": [known(0.5), known(0.04), known(0.02)],
    "old": [known(0.5), known(0.04), known(0.02)],
}
CELLS_B = {
    "fc1": [known(0.91), known(0.725), known(0.02)],
    "fc2": [known(0.7), known(0.5, 400, half=0.04), known(0.03, 900, half=0.015)],
    "fc3": [known(0.5), None, known(0.02)],
    "new": [known(0.5), known(0.04), known(0.02)],
}


def of(name: str, estimates: Mapping[str, Sequence[Estimate | None]], columns: Sequence[Column] = COLUMNS) -> Picture:
    return picture(
        name, {layer: [*row] for layer, row in estimates.items()}, tuple(columns),
        network=(0.9, 0.02), checkpoints=(0, 100),
    )  # fmt: skip


A, B = of("first", CELLS_A), of("second", CELLS_B)


def made(name: str, view: HeatView | None = None, a: Picture = A, b: Picture = B, **keys) -> bytes:
    return encode_difference(a, b, view or HeatView(), FORM[name], **keys)


def independent(layer: str, column: int) -> tuple[float, float, float, float] | None:
    """(difference, low, high, level) from the estimates themselves, by the definition in `core/compare.py`."""
    network = layer == "whole network"
    a, b = (NETWORK[column] if network else cells[layer][column] for cells in (CELLS_A, CELLS_B))
    if a is None or b is None:
        return None
    open_ends = (a.n < a.total) + (b.n < b.total)
    return b.error - a.error, b.low - a.high, b.high - a.low, (1.0, 0.95, 0.9)[open_ends]


# CSV


def lines_of(text: str) -> dict[tuple[str, str], dict[str, str]]:
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    return {(line["layer"], line["column"]): line for line in found}


def test_a_line_for_each_place_with_the_numbers_of_both_and_the_difference():
    found = lines_of(made("csv").decode())
    common = [(layer, column.label) for layer in ("fc1", "fc2", "fc3") for column in COLUMNS]
    assert list(found) == [*common, ("whole network", "0"), ("whole network", "100")]
    for (layer, label), line in found.items():
        column = [head.label for head in COLUMNS].index(label)
        assert (line["run_a"], line["run_b"], line["metric"]) == ("first", "second", "error")
        assert (line["probe_a"], line["probe_b"]) == (A.probe.id, B.probe.id)
        for side, cells in (("a", CELLS_A), ("b", CELLS_B)):
            one = NETWORK[column] if layer == "whole network" else cells[layer][column]
            if one is None:
                assert line[f"state_{side}"] == "not measured"
                assert [line[f"{key}_{side}"] for key in ("value", "low", "high", "n", "total")] == [""] * 5
                continue
            assert line[f"state_{side}"] == ("exact" if one.n == one.total else "estimate")
            told = [float(line[f"{key}_{side}"]) for key in ("value", "low", "high", "n", "total")]
            assert told == [one.error, one.low, one.high, one.n, one.total]
        expected = independent(layer, column)
        told = [line[key] for key in ("difference", "difference_low", "difference_high", "difference_level")]
        assert told == ([""] * 4 if expected is None else [repr(number) for number in expected]), (layer, label)


def test_the_table_read_by_hand():
    found = lines_of(made("csv").decode())
    line = found["fc2", "0"]
    assert (float(line["difference"]), line["difference_level"], line["sign"]) == (pytest.approx(0.2), "0.9", "higher")
    assert float(line["difference_low"]) == pytest.approx(0.46 - 0.36)
    assert float(line["difference_high"]) == pytest.approx(0.54 - 0.24)
    assert (line["verdict_a"], line["verdict_b"]) == ("critical", "critical")
    line = found["fc2", "100"]
    assert (line["difference_level"], line["sign"]) == ("0.95", "open")
    assert (found["fc1", "0"]["sign"], found["fc1", "100"]["sign"]) == ("lower", "equal")
    assert found["fc3", "0"]["sign"] == ""
    assert found["whole network", "0"]["verdict_a"] == ""


def test_csv_is_rfc_4180_and_harmless():
    evil = replace(A, run=replace(A.run, name=f'{fakes.EVIL},"x"'))
    text = difference_csv(evil, B, "error")
    assert "\x1b" not in text
    assert text.endswith("\r\n")
    assert {len(line) for line in csv.reader(io.StringIO(text, newline=""))} == {len(TABLE)}


def test_other_metrics_have_no_interval():
    loss = dict(zip(TABLE, difference_table(A, B, "loss")[2], strict=True))
    assert (loss["layer"], loss["column"]) == ("fc1", "0")
    assert loss["difference"] == pytest.approx(2 * (0.725 - 0.8))
    assert (loss["low_a"], loss["high_b"], loss["difference_level"]) == (None, None, 1.0)
    rough = dict(zip(TABLE, difference_table(A, B, "loss")[5], strict=True))
    assert (rough["layer"], rough["difference_low"], rough["sign"]) == ("fc2", None, "open")
    distances = {0: ((0.0,) * 4, (0.0,) * 4), 100: ((0.25,) * 4, (0.5,) * 4)}
    far = difference_table(replace(A, distances=distances), replace(B, distances=distances), "l2")
    told = [dict(zip(TABLE, line, strict=True)) for line in far[1:]]
    assert [(line["layer"], line["column"]) for line in told] == [
        (f"fc{n}", at) for n in (1, 2, 3) for at in ("0", "100")
    ]
    assert {(line["difference"], line["n_a"], line["state_a"]) for line in told} == {(0.0, None, "exact")}


# JSON


def test_json_has_the_same_numbers_both_runs_and_what_sets_them_apart():
    found = json.loads(made("json"))
    assert (found["metric"], found["layers"]) == ("error", ["fc1", "fc2", "fc3"])
    assert [Column.from_json(column) for column in found["columns"]] == list(COLUMNS)
    assert (found["only_a"], found["only_b"], found["columns_left_out"]) == (["old"], ["new"], [])
    assert (found["a"]["run"], found["b"]["run"], found["a"]["probe"]) == ("first", "second", A.probe.id)
    assert found["a"]["baseline"] == {"error": 0.02, "n": 1000}
    assert len(found["places"]) == 3 * 3 + 2
    for place in found["places"]:
        name = "whole network" if place["layer"] is None else found["layers"][place["layer"]]
        expected = independent(name, place["column"])
        told = tuple(place[key] for key in ("difference", "low", "high", "level"))
        assert told == ((None,) * 4 if expected is None else expected), place
    first = next(place for place in found["places"] if (place["layer"], place["column"]) == (1, 1))
    assert first["a"] == {
        "state": "estimate", "value": 0.3, "low": 0.24, "high": 0.36, "n": 200, "total": 1000, "verdict": "critical"
    }  # fmt: skip
    finite = [independent(layer, column) for layer in found["layers"] for column in range(3)]
    sizes = [abs(one[0]) for one in finite if one is not None]
    assert found["summary"]["places"] == len(sizes) == 8
    assert found["summary"]["mean"] == pytest.approx(sum(sizes) / 8)
    assert found["summary"]["where"] == ["fc2", "0"]
    assert found["summary"]["changes"] == []


def test_json_has_no_nan_and_no_escape_sequence():
    lost = Estimate(0.8, 0.8, 0.8, math.inf, 0.2, 1000, 1000)
    a = of(fakes.EVIL, {**CELLS_A, "fc1": [CELLS_A["fc1"][0], lost, CELLS_A["fc1"][2]]})
    text = made("json", HeatView(metric="loss"), a=a).decode()
    assert "\x1b" not in text
    assert "NaN" not in text
    assert "Infinity" not in text
    place = next(one for one in json.loads(text)["places"] if (one["layer"], one["column"]) == (0, 1))
    assert (place["a"]["value"], place["difference"], place["sign"]) == (None, None, "open")


# Pictures


def svg(*args, **keys) -> ElementTree.Element:
    return ElementTree.fromstring(made("svg", *args, **keys))


def texts(root: ElementTree.Element) -> list[str]:
    return [str(text.text) for text in root.iter(f"{SVG}text")]


def places(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    told = {rect: rect.find(f"{SVG}title") for rect in root.iter(f"{SVG}rect")}
    return {str(title.text): rect for rect, title in told.items() if title is not None}


def test_the_picture_has_every_difference_in_its_colour_and_in_digits():
    root = svg()
    found, said = places(root), texts(root)
    # The largest difference is 20 points: seven levels on each side, and no difference has one of its own.
    scale = ramp.Scale("error", -0.2, 0.2, ramp=ramp.DIVERGING)
    seen = 0
    for layer in ("fc1", "fc2", "fc3"):
        for column, start in enumerate(("re-randomised", "at checkpoint 0", "at checkpoint 100")):
            expected = independent(layer, column)
            (rect,) = [rect for told, rect in found.items() if told.startswith(f"{layer} {start}:")]
            if expected is None:
                assert rect.get("fill") == "#ffffff"
                continue
            level = scale.level(expected[0])
            assert level is not None
            assert rect.get("fill") == ramp.DIVERGING.colours[level], (layer, start)
            seen += 1
    assert seen == 8
    for word in ("−7.5", "~+20.0", "+1.0", "−20", "+20", "old (only A)", "new (only B)", "whole network", "·", "–"):
        assert word in said, word
    assert "B − A: second − first" in said
    assert any(line.startswith("difference of the test error, points") for line in said)
    for start in ("A: first (FCN 3 x 256 on MNIST), probe ", "B: second (FCN 3 x 256 on MNIST), probe "):
        assert any(line.startswith(start) for line in said)
    assert "with at least 90 % where neither did" in " ".join(said)
    told = next(told for told in found if told.startswith("fc2 at checkpoint 0"))
    assert told == "fc2 at checkpoint 0: B ~50.00 %, A ~30.00 %; B − A +20.00, +10.00 to +30.00"
    told = next(told for told in found if told.startswith("old at checkpoint 0"))
    assert told == "old at checkpoint 0: B no such place, A 4.00 %"


def test_the_picture_is_folded_sorted_and_without_digits_as_the_view_is():
    view = HeatView(folded=frozenset({"one.0", "one.1"}), order="criticality", digits=False)
    root = svg(view, a=STAGES_A, b=STAGES_B)
    said = texts(root)
    names = [line for line in said if line.startswith(("one", "two", "stem", "head", "tail"))]
    assert names[:3] == ["one.0 (2)", "one.1 (3)", "stem"]
    assert not any(line.startswith("one.0.conv") for line in said)
    assert "+25.0" not in said
    assert "+25.0" in texts(svg(view.with_(digits=True), a=STAGES_A, b=STAGES_B))


def test_the_picture_as_pixels():
    image = Image.open(io.BytesIO(made("png"))).convert("RGB")
    colours = {colour for _, colour in image.getcolors(10_000_000) or ()}
    scale = ramp.Scale("error", -0.2, 0.2, ramp=ramp.DIVERGING)
    for difference in (0.2, -0.075, 0.0):
        assert ramp.DIVERGING.rgb[scale.level(difference) or 0] in colours


def test_columns_that_one_run_lacks_are_drawn_where_they_are_shown():
    short = of("short", {"fc1": [known(0.7), known(0.02)]}, (FIRST, END))
    assert "random" not in texts(svg(b=short))
    assert "random" in texts(svg(b=short, every_column=True))


def test_hostile_names_stay_text():
    evil = replace(A, run=replace(A.run, name="</text><script>alert(1)</script>\x1b[31m"))
    data = made("svg", a=evil)
    assert b"\x1b" not in data
    assert not list(ElementTree.fromstring(data).iter(f"{SVG}script"))


# Text


def test_the_text_has_the_map_in_digits_and_the_runs_as_a_whole():
    lines = made("txt").decode().splitlines()
    table = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("fc1", "fc2", "fc3"))}
    assert table["fc1"] == ["+1.0", "−7.5", "0.0"]
    assert table["fc2"] == ["0.0", "~+20.0", "~+1.0"]
    assert table["fc3"] == ["0.0", "·", "0.0"]
    text = "\n".join(lines)
    for words in ("B − A: second − first", "random", "whole network", "· not measured", "over 8 places",
                  "20.00 points at fc2, 0", "A: first", "old (only A)"):  # fmt: skip
        assert words in text, words
    assert max(map(len, lines)) <= 120
    assert "\x1b" not in made("txt", a=replace(A, run=replace(A.run, name=fakes.EVIL))).decode()


def test_many_columns_follow_one_another():
    columns = tuple(Column(REINITIALISE, epoch) for epoch in range(40))
    wide = of("wide", {"fc1": [known(0.01 * at) for at in range(40)]}, columns)
    lines = made("txt", a=wide, b=wide).decode().splitlines()
    rows = [line for line in lines if line.startswith("fc1 ")]
    assert len(rows) > 1
    assert sum(len(row.split()) - 1 for row in rows) == 40
    assert all(len(row) <= 120 for row in rows)


# All runs


def test_all_runs_are_one_table():
    csv_form, json_form = RUNS_FORMATS
    lines = list(csv.DictReader(io.StringIO(encode_runs((A, B), csv_form).decode(), newline="")))
    assert [line["run"] for line in lines] == ["first"] * 14 + ["second"] * 14
    assert next(line for line in lines if (line["run"], line["layer"], line["column"]) == ("second", "fc1", "0"))[
        "error"
    ] == repr(0.725)
    assert json.loads(encode_runs((A, B), json_form)) == [picture_json(A), picture_json(B)]


def test_the_name_says_what_is_taken_from_what():
    assert difference_name(A, B, "error") == "second-minus-first-error"
