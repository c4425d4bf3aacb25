"""The colours: the same on every terminal, ordered by luminance, readable."""

import io
import itertools
import math

import fakes
import pytest
from lyrx.explorer.core import ramp
from lyrx.explorer.core.picture import take_picture
from lyrx.store import Cell, Estimate, Store
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.text import Text


def test_levels_are_distinct_colours_of_the_xterm_cube():
    assert len(set(ramp.XTERM)) == ramp.LEVELS == 16
    assert all(16 <= number <= 231 for number in ramp.XTERM)


@pytest.mark.parametrize(("colour", "number"), list(zip(ramp.COLOURS, ramp.XTERM, strict=True)))
def test_a_terminal_with_256_colours_shows_the_very_same_colour(colour: str, number: int):
    downgraded = Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT)
    assert downgraded.number == number
    assert downgraded.get_truecolor() == Color.parse(colour).get_truecolor()


def test_luminance_grows_with_every_level():
    values = [ramp.luminance(rgb) for rgb in ramp.RGB]
    assert all(low < high for low, high in itertools.pairwise(values))


def test_luminance_by_hand():
    assert ramp.luminance((255, 255, 255)) == pytest.approx(1.0)
    assert ramp.luminance((0, 0, 0)) == 0
    assert ramp.luminance((0, 0, 255)) == pytest.approx(0.0722)


@pytest.mark.parametrize("number", range(ramp.LEVELS))
def test_digits_can_be_read_on_every_level(number: int):
    back = ramp.luminance(ramp.RGB[number])
    fore = 1.0 if ramp.FOREGROUNDS[number] == "#ffffff" else 0.0
    contrast = (max(back, fore) + 0.05) / (min(back, fore) + 0.05)
    assert contrast >= 4.5  # WCAG 2.2, level AA


@pytest.mark.parametrize(
    ("fraction", "level"), [(0, 0), (0.0624, 0), (0.0626, 1), (0.999, 15), (1, 15), (-1, 0), (2, 15)]
)
def test_level(fraction: float, level: int):
    assert ramp.level(fraction) == level


def test_scales(tmp_path):
    store = Store.open_or_create(tmp_path / "s.zarr")
    run = fakes.complete_run(store)
    picture = take_picture(run)
    error, agreement = ramp.scale(picture, "error"), ramp.scale(picture, "agreement")
    assert (error.low, error.high) == (agreement.low, agreement.high) == (0, 1)
    assert error.level(0.0) == 0
    assert error.level(0.9) == 14
    assert agreement.level(1.0) == 0, "a network that agrees is cool"
    assert agreement.level(0.0) == 15
    assert error.ends() == ("0", "100")
    assert agreement.ends() == ("100", "0")
    assert ramp.scale(picture, "l2").high == max(max(l2) for l2, _ in picture.distances.values())
    assert ramp.scale(picture, "linf").high == max(max(linf) for _, linf in picture.distances.values())


def test_the_loss_goes_up_to_the_greatest_finite_one_but_at_least_to_chance(tmp_path):
    store = Store.open_or_create(tmp_path / "s.zarr")
    run = fakes.training_run(store)
    probe = run.probe()
    probe.write(Cell(0, 1), Estimate(0.1, 0.1, 0.1, 0.5, 0.9, 10, 10))
    assert ramp.scale(take_picture(run), "loss").high == pytest.approx(math.log(10))
    probe.write(Cell(0, 2), Estimate(0.1, 0.1, 0.1, 7.5, 0.9, 10, 10))
    probe.write(Cell(0, 3), Estimate(0.1, 0.1, 0.1, math.inf, 0.9, 10, 10))
    scale = ramp.scale(take_picture(run), "loss")
    assert scale.high == 7.5
    assert scale.level(math.inf) is None
    assert scale.level(math.nan) is None
    assert scale.level(None) is None


def test_the_ramp_printed_with_256_colours_uses_its_own_numbers():
    stream = io.StringIO()
    console = Console(file=stream, color_system="256", force_terminal=True, width=80)
    text = Text()
    for colour in ramp.COLOURS:
        text.append(" ", f"on {colour}")
    console.print(text)
    for number in ramp.XTERM:
        assert f"48;5;{number}m" in stream.getvalue()
