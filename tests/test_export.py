"""A heatmap as a file: CSV, SVG, PNG, text; what is told apart in each; the command line that writes them."""

import csv
import io
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
from lyrx.explorer.cli import app
from lyrx.explorer.core import ramp
from lyrx.explorer.core.csvout import LONG, long_csv, wide_csv
from lyrx.explorer.core.export import (
    FORMATS,
    ExportError,
    as_text,
    drawing_of,
    encode,
    file_name,
    format_of,
    plain_scene,
)
from lyrx.explorer.core.part import Part, whole
from lyrx.explorer.core.picture import Picture, take_picture
from lyrx.explorer.core.png import MOST_PIXELS, to_png
from lyrx.explorer.core.svg import to_svg
from lyrx.explorer.exporting import NotWrittenError, write_file
from lyrx.store import Cell, Estimate, Store
from PIL import Image
from typer.testing import CliRunner

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script>&\x1b[31m\"'\ufffe"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open_or_create(tmp_path / "s.zarr")


@pytest.fixture(scope="session")
def complete(tmp_path_factory) -> Picture:
    return take_picture(fakes.complete_run(Store.open_or_create(tmp_path_factory.mktemp("export") / "s.zarr")))


@pytest.fixture
def mixed(store) -> Picture:
    """Estimates, missing cells, a damaged one, one that is not available, and a loss that is no number."""
    run = fakes.partial_run(store)
    fakes.damage(run, Cell(0, 2))
    run.probe().write(Cell(1, 1), Estimate(0.2, 0.1, 0.3, float("nan"), 0.8, 512, 10_000))
    picture = take_picture(run)
    return replace(picture, probe=replace(picture.probe, unavailable={(3, 5): "no 'output' in start.pt"}))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def place(lines: list[dict[str, str]], layer: str, column: str) -> dict[str, str]:
    (found,) = [line for line in lines if (line["layer"], line["column"]) == (layer, column)]
    return found


# CSV


def test_the_long_form_has_every_number_of_the_picture(complete):
    lines = rows(long_csv(complete))
    assert len(lines) == 4 * 10 + 9, "every layer and column; the whole network at each checkpoint"
    assert tuple(lines[0]) == LONG
    for layer, name in enumerate(complete.layer_names):
        for column, head in enumerate(complete.columns):
            line, cell = place(lines, name, head.label), complete.cell(layer, column)
            assert cell is not None
            for key in ("error", "low", "high", "loss", "agreement", "n", "total"):
                assert float(line[key]) == getattr(cell, key), (name, head.label, key)
            assert line["verdict"] == complete.verdict(layer, column)
            assert line["checkpoint"] == ("" if head.checkpoint is None else str(head.checkpoint))
            assert (line["run"], line["probe"], line["kind"]) == ("fcn-3x256", complete.probe.id, head.kind)
            assert (line["state"], line["exact"], line["draws"]) == ("exact", "true", str(head.draws))


def test_the_long_form_read_by_hand(complete):
    lines = rows(long_csv(complete))
    drawn = place(lines, "fc1", "random")
    assert drawn["error"].startswith("0.89876666666")
    assert drawn["spread"].startswith("0.018")
    assert (drawn["l2"], drawn["linf"], drawn["draws_planned"]) == ("", "", "3")
    zero = place(lines, "fc1", "0")
    assert (zero["error"], zero["low"], zero["high"], zero["spread"], zero["n"]) == ("0.778",) * 3 + ("", "10000")
    assert (zero["l2"], zero["linf"], zero["verdict"]) == ("0.0", "0.0", "critical")
    network = place(lines, "whole network", "0")
    assert (network["error"], network["verdict"], network["l2"]) == ("0.9041", "", "")


def test_places_without_a_number_say_why_and_hold_none(mixed):
    lines = rows(long_csv(mixed))
    empty = ("error", "spread", "low", "high", "n", "total", "loss", "agreement", "verdict", "exact")
    for layer, column, state in (
        ("fc1", "1", "damaged"),
        ("fc3", "0", "not measured"),
        ("output", "8", "not available"),
    ):
        line = place(lines, layer, column)
        assert line["state"] == state
        assert [line[key] for key in empty] == [""] * len(empty)
        assert line["draws"] == "0"
    assert place(lines, "output", "8")["reason"] == "no 'output' in start.pt"
    estimate = place(lines, "fc1", "0")
    assert (estimate["state"], estimate["exact"], estimate["n"], estimate["total"]) == (
        "estimate",
        "false",
        "4000",
        "10000",
    )
    drawn = place(lines, "fc1", "random")
    assert (drawn["state"], drawn["draws"], drawn["draws_planned"], drawn["exact"]) == ("estimate", "1", "3", "false")
    assert place(lines, "fc2", "0")["loss"] == "nan"


def test_the_wide_form_has_the_metric_and_the_states(mixed):
    lines = {line["layer"]: line for line in rows(wide_csv(mixed, "error"))}
    assert list(lines) == ["fc1", "fc2", "fc3", "output", "whole network"]
    assert lines["fc1"]["0"] == "0.778"
    assert (lines["fc1"]["1"], lines["fc1"]["1 state"]) == ("", "damaged")
    assert (lines["fc3"]["0"], lines["fc3"]["0 state"]) == ("", "not measured")
    assert (lines["output"]["8"], lines["output"]["8 state"]) == ("", "not available")
    assert lines["fc1"]["0 state"] == "estimate"
    assert lines["whole network"]["random state"] == "none"
    distances = {line["layer"]: line for line in rows(wide_csv(mixed, "l2"))}
    assert "whole network" not in distances, "it has no distance"
    assert distances["fc1"]["0"] == "0.0"
    assert distances["fc1"]["random state"] == "none"


def test_csv_is_rfc_4180_whatever_names_are(store):
    run = fakes.complete_run(store, 'a,"b"\r\n\x1b[31mü')
    text = long_csv(take_picture(run))
    assert "\x1b" not in text
    lines = text.split("\r\n")
    assert lines.pop() == ""
    assert all("\n" not in line and "\r" not in line for line in lines)
    assert lines[1].startswith('"a,""b""\\x0d\\x0a\\x1b[31mü",')
    assert rows(text)[0]["run"] == 'a,"b"\\x0d\\x0a\\x1b[31mü'


def test_a_part_is_those_rows_and_columns(complete):
    part = Part((1, None), (0, 3))
    lines = rows(long_csv(complete, part))
    assert [(line["layer"], line["column"]) for line in lines] == [
        ("fc2", "random"),
        ("fc2", "2"),
        ("whole network", "2"),
    ]
    shown = as_text(complete, "error", part)
    assert [line.split()[0] for line in shown.splitlines() if line.startswith(("fc1", "fc2", "output"))] == ["fc2"]
    assert "whole network" in shown
    scene = plain_scene(complete, "error", part)
    assert [row.name for row in scene.rows] == ["fc2", "whole network"]
    assert [column.label for column in scene.columns] == ["random", "2"]


def test_a_joint_row_of_another_probe_names_its_probe(complete):
    import json

    joint = replace(complete.probe.layers[3], name="fc1+fc2", joint=("fc1", "fc2"))
    probe = replace(complete.probe, layers=(*complete.probe.layers[:3], joint))
    picture = replace(complete, probe=probe, homes=(("layer-beside", 0),))
    assert place(rows(long_csv(picture)), "fc1+fc2", "0")["probe"] == "layer-beside"
    assert place(rows(long_csv(picture)), "fc1", "0")["probe"] == complete.probe.id
    assert json.loads(encode(picture, "error", FORMATS["json"]))["companions"] == {"fc1+fc2": "layer-beside"}
    assert json.loads(encode(complete, "error", FORMATS["json"]))["companions"] == {}


# SVG


def svg(picture: Picture, metric: str = "error") -> ElementTree.Element:
    return ElementTree.fromstring(encode(picture, metric, FORMATS["svg"]))


def places(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """The rectangles of places, by what is told of them."""
    told = {rect: rect.find(f"{SVG}title") for rect in root.iter(f"{SVG}rect")}
    return {str(title.text): rect for rect, title in told.items() if title is not None}


def texts(root: ElementTree.Element) -> list[str]:
    return [str(text.text) for text in root.iter(f"{SVG}text")]


def test_an_svg_has_a_rectangle_for_every_place_in_the_colour_of_its_level(complete):
    root = svg(complete)
    found = places(root)
    assert len(found) == 4 * 10 + 9
    assert len(list(root.iter(f"{SVG}rect"))) == 1 + len(found) + ramp.LEVELS, "paper, places, scale"
    scale = ramp.scale(complete, "error")
    for layer, name in enumerate(complete.layer_names):
        for column, head in enumerate(complete.columns):
            start = f"{name} re-randomised:" if head.drawn else f"{name} at checkpoint {head.checkpoint}:"
            (rect,) = [rect for told, rect in found.items() if told.startswith(start)]
            level = scale.level(complete.value("error", layer, column))
            assert level is not None
            assert rect.get("fill") == ramp.COLOURS[level]
    said = texts(root)
    for word in ("fc1", "output", "whole network", "77.8", "89.9±1.8", "re-initialised at checkpoint", "random", "100"):
        assert word in said
    assert "fcn-3x256" in said
    assert any("Trained network: test error 1.52 %, n = 10,000" in line for line in said)


def test_an_svg_tells_the_states_apart_and_says_what_the_intervals_are(mixed):
    root = svg(mixed)
    said = texts(root)
    for word in ("~77.8", "×", "·", "–"):
        assert word in said
    marks = next(line for line in said if "not measured" in line and "·" in line)
    for word in ("~ estimate", "× damaged", "– not available"):
        assert word in marks
    assert any("95 % intervals" in line for line in said)
    empty = [rect for told, rect in places(root).items() if "not measured" in told or "damaged" in told]
    assert empty
    assert {rect.get("fill") for rect in empty} == {"#ffffff"}, "no colour of the scale"
    assert "#ffffff" not in ramp.COLOURS
    (nan,) = [rect for told, rect in places(svg(mixed, "loss")).items() if told.startswith("fc2 at checkpoint 0:")]
    assert nan.get("fill") == ramp.NOT_FINITE


def test_it_is_drawn_in_the_colours_that_were_chosen(complete):
    scene = plain_scene(complete, "error", ramp="grey")
    root = ElementTree.fromstring(encode(complete, "error", FORMATS["svg"], scene=scene))
    fills = {rect.get("fill") for rect in places(root).values()}
    assert fills <= set(ramp.GREY.colours)
    assert len(fills) > 4


def test_hostile_names_stay_text(store):
    names = {f"{HOSTILE}{n}": 10 for n in range(2)}
    info = fakes.probe_info(names, checkpoints=(0, 100))
    run = store.create_run(fakes.run_info(HOSTILE, model=HOSTILE, data="]]>"), info)
    fakes.commit_cells(run.probe())
    data = encode(take_picture(run), "error", FORMATS["svg"])
    assert b"\x1b" not in data
    root = ElementTree.fromstring(data)
    assert not list(root.iter(f"{SVG}script"))
    assert b"<script" not in data
    assert not any(key.endswith("href") or key.startswith("on") for element in root.iter() for key in element.attrib)
    assert any("<script>alert(1)</script>" in text for text in texts(root))
    assert "http" not in data.decode().replace("http://www.w3.org/2000/svg", ""), "nothing is fetched"


@pytest.mark.parametrize("metric", ["error", "loss", "agreement", "l2", "linf", "width", "verdict"])
def test_nothing_leaves_the_paper_or_overlaps_its_neighbours(mixed, metric: str):
    drawing = drawing_of(mixed, metric, plain_scene(mixed, metric))
    root = ElementTree.fromstring(to_svg(drawing))
    boxes = []
    for rect in root.iter(f"{SVG}rect"):
        x, y, width, height = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= drawing.width + 0.01
        assert 0 <= y <= y + height <= drawing.height + 0.01
        boxes.append((x, y, x + width, y + height))
    for i, one in enumerate(boxes[1:], 1):
        for other in boxes[i + 1 :]:
            apart = one[2] <= other[0] + 0.02 or other[2] <= one[0] + 0.02
            assert apart or one[3] <= other[1] + 0.02 or other[3] <= one[1] + 0.02
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "")) <= drawing.width
        assert 0 <= float(text.get("y", "")) <= drawing.height


@pytest.mark.slow
def test_a_wide_and_deep_heatmap_is_drawn_and_fits_into_memory(store):
    info = fakes.probe_info([f"stage.{n}.conv" for n in range(500)], draws=1, checkpoints=tuple(range(60)))
    run = store.create_run(fakes.run_info("deep", epochs=59, checkpoints=tuple(range(60))), info)
    fakes.commit_cells(run.probe(), [Cell(layer, 3) for layer in range(500)])
    picture = take_picture(run)
    drawing = drawing_of(picture, "error", plain_scene(picture, "error"))
    image = Image.open(io.BytesIO(to_png(drawing)))
    assert image.width * image.height <= 1.01 * MOST_PIXELS
    assert len(to_svg(drawing)) < 10_000_000


# PNG


def test_a_png_shows_the_same_colours(complete):
    drawing = drawing_of(complete, "error", plain_scene(complete, "error"))
    image = Image.open(io.BytesIO(encode(complete, "error", FORMATS["png"])))
    assert image.format == "PNG"
    assert image.size == (-(-drawing.width * 2 // 1), -(-drawing.height * 2 // 1))
    found = places(svg(complete))
    for start, layer, column in (("fc1 at checkpoint 0:", 0, 1), ("fc2 re-randomised:", 1, 0), ("output at", 3, 1)):
        rect = next(rect for told, rect in found.items() if told.startswith(start))
        level = ramp.scale(complete, "error").level(complete.value("error", layer, column))
        assert level is not None
        corner = (round(2 * float(rect.get("x", ""))) + 2, round(2 * float(rect.get("y", ""))) + 2)
        assert image.getpixel(corner) == ramp.RGB[level]
    assert image.getpixel((1, 1)) == (255, 255, 255)


def test_a_png_without_any_font_installed_has_words_all_the_same(complete, mixed, monkeypatch):
    from lyrx.explorer.core import png

    monkeypatch.setattr(png, "SANS", ())
    monkeypatch.setattr(png, "BOLD", ())
    for picture in (complete, mixed):
        drawing = drawing_of(picture, "error", plain_scene(picture, "error"))
        image = Image.open(io.BytesIO(to_png(drawing)))
        name = image.crop((36, 0, 300, 70)).convert("L")
        assert min(name.tobytes()) < 100, "the title is there"
    font = png._font((), 20.0)
    assert png._drawable("a×b–√ß", font).isascii()


def test_without_pillow_it_says_what_to_do(complete, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    from lyrx.explorer.core.png import NoImagesError

    with pytest.raises(NoImagesError, match=r"pip install pillow.*or write SVG"):
        encode(complete, "error", FORMATS["png"])


# Names and formats


def test_a_suffix_means_a_format_and_a_wrong_one_is_refused_with_words():
    assert format_of(Path("a.CSV")).name == "csv"
    assert format_of(Path("a.b.txt")).name == "txt"
    assert format_of(Path("a"), "csv-wide").name == "csv-wide"
    with pytest.raises(ExportError, match=r"'\.jsno' means no format.*Did you mean '\.json'"):
        format_of(Path("a.jsno"))
    with pytest.raises(ExportError, match=r"no suffix.*--format"):
        format_of(Path("a"))
    with pytest.raises(ExportError, match=r"no format 'sgv'.*Did you mean 'svg'"):
        format_of(Path("a.csv"), "sgv")


def test_names_of_files_are_plain():
    assert file_name("fcn-3x256", "error") == "fcn-3x256-error"
    assert file_name("../../etc/passwd\x1b", "l2") == "etc-passwd-x1b-l2"
    assert file_name("...", "") == "lyrx"
    assert len(file_name("x" * 500)) == 120


def test_a_part_has_only_what_the_probe_has(complete):
    part = whole(complete)
    assert part.layers == (0, 1, 2, 3, None)
    assert len(list(part.places())) == 50


# Files


def test_a_file_is_written_whole_or_stays_what_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    assert write_file(path, b"one") == path
    write_file(path, b"two")
    assert path.read_bytes() == b"two"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NotWrittenError, match=r"a\.csv was not written: No space left on device"):
        write_file(path, b"three")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_a_link_stays_a_link_and_other_things_are_not_replaced(tmp_path):
    (tmp_path / "real.csv").write_bytes(b"old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    write_file(tmp_path / "link.csv", b"new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe.csv")
    for path, why in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.csv", "no plain file"),
        (tmp_path / "no" / "a.csv", "does not exist"),
        (tmp_path / "real.csv" / "a.csv", "cannot be written"),
    ):
        with pytest.raises(NotWrittenError, match=why):
            write_file(path, b"x")
    with pytest.raises(NotWrittenError):
        write_file(tmp_path / ("x" * 300), b"x")
    assert (tmp_path / "pipe.csv").is_fifo()


# The command line


def call(*arguments: str | Path):
    return CliRunner().invoke(app, ["show", *map(str, arguments)])


@pytest.mark.parametrize("suffix", ["csv", "json", "svg", "png", "txt"])
def test_show_writes_each_format(shown, tmp_path, suffix: str):
    out = tmp_path / f"out.{suffix}"
    done = call("fcn-3x256", "--store", shown.absolute(), "--output", out)
    assert done.exit_code == 0, done.output
    assert f"wrote {out}" in done.stdout.replace("\n", "")
    data = out.read_bytes()
    picture = take_picture(Store.open(shown).run("fcn-3x256"))
    assert data == encode(picture, "error", FORMATS[suffix])
    if suffix in ("json", "txt"):
        plain = call("fcn-3x256", "--store", shown.absolute(), *(["--json"] if suffix == "json" else []))
        assert data.decode().split() == plain.stdout.split(), "what lyrx show prints"


def test_show_takes_metric_probe_and_format(shown, tmp_path):
    out = tmp_path / "out.table"
    done = call("vit-b16", "--store", shown.absolute(), "-o", out, "--format", "csv-wide", "--metric", "l2")
    assert done.exit_code == 0, done.output
    assert {line["metric"] for line in rows(out.read_text())} == {"l2"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "a.jsno"], "Did you mean '.json'"),
        (["-o", "a"], "no suffix"),
        (["-o", "a.csv", "--format", "cvs"], "Did you mean 'csv'"),
        (["-o", "no/such/a.csv"], "does not exist"),
        (["-o", "/", "--format", "csv"], "no name of a file"),
        (["-o", ".", "--format", "csv"], "no name of a file"),
        (["--format", "csv"], "--format goes with --output"),
    ],
)
def test_bad_output_is_refused_before_anything_is_read(shown, tmp_path, monkeypatch, arguments: list[str], said: str):
    store = shown.absolute()
    monkeypatch.chdir(tmp_path)
    done = call("fcn-3x256", "--store", store, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr.replace("\n", " ")
    assert done.stderr.startswith("lyrx: ")
    assert not list(tmp_path.iterdir())


def test_damage_is_named_and_what_is_whole_is_written(shown, tmp_path):
    out = tmp_path / "evil.csv"
    done = call(fakes.EVIL, "--store", shown.absolute(), "-o", out)
    assert done.exit_code == 2
    assert "damaged" in done.stderr
    assert "\x1b" not in done.output
    assert [line["state"] for line in rows(out.read_text())].count("damaged") == 1


def test_two_processes_write_the_same_bytes(shown, tmp_path):
    code = """
import sys
from pathlib import Path
from lyrx.explorer.core.export import FORMATS, encode
from lyrx.explorer.core.picture import take_picture
from lyrx.store import Store
picture = take_picture(Store.open(Path(sys.argv[1])).run("fcn-again"))
for form in FORMATS.values():
    Path(sys.argv[2], form.name).write_bytes(encode(picture, "error", form))
"""
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, shown.absolute(), tmp_path / seed], env=environment, check=True)
    for name in FORMATS:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_curves_are_in_a_screenshot_whatever_fonts_there_are():
    """They are made of braille, which DejaVu Sans Mono, the usual font of one width, does not have."""
    from lyrx.explorer.core.png import MONO, _font, screen_png

    pytest.importorskip("PIL")
    from PIL import Image, ImageChops

    if not getattr(_font(MONO, 18.0), "path", None):
        pytest.skip("no font of one width is installed")

    def drawn(text: str):
        return Image.open(io.BytesIO(screen_png([[(text, "#ffffff", "#000000", False)]], 1, "#000000"))).convert("L")

    def weight(image) -> int:
        return sum(value * count for value, count in enumerate(image.histogram()))

    blank, one, all_dots = drawn("\u2800"), drawn("\u2801"), drawn("\u28ff")
    assert weight(blank) == 0
    assert 7 < weight(all_dots) / weight(one) < 9, "eight dots are eight times one"
    x, y = one.getbbox()[:2]
    assert (x < one.width / 2, y < one.height / 4) == (True, True), "the first dot is at the top left"
    low = drawn("\u2880").getbbox()
    assert (low[0] >= one.width / 2, low[1] >= one.height * 3 / 4) == (True, True), "the last one at the bottom right"
    parts = drawn("\u2801")
    for bit in range(1, 8):
        parts = ImageChops.add(parts, drawn(chr(0x2800 + (1 << bit))))
    assert ImageChops.difference(parts, all_dots).getbbox() is None
