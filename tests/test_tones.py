"""Colours of words: legible on what is behind them, with however many colours."""

import pytest
from lyrx.explorer.core.tones import (
    DARK,
    DARK_SURFACES,
    LIGHT,
    LIGHT_SURFACES,
    MARKS_CONTRAST,
    WORDS_CONTRAST,
    contrast,
    tones,
)
from lyrx.explorer.themes import OURS, our_themes
from rich.color import Color, ColorSystem

BOTH = [pytest.param(DARK, DARK_SURFACES, id="dark"), pytest.param(LIGHT, LIGHT_SURFACES, id="light")]


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#ffffff") == 1
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the well known grey that just fails


@pytest.mark.parametrize(("known", "surfaces"), BOTH)
def test_words_are_legible_on_every_surface(known: dict[str, str], surfaces: dict[str, str]):
    for name, colours in known.items():
        front, _, behind = colours.partition(" on ")
        asked = MARKS_CONTRAST if name == "faint" else WORDS_CONTRAST
        for surface in [behind] if behind else [surfaces["background"], surfaces["surface"]]:
            assert contrast(front, surface) >= asked, (name, surface)
    for name in ("text", "accent", "alarm", "info"):
        assert contrast(known[name], surfaces["panel"]) >= WORDS_CONTRAST, f"{name} in dialogs"


def with_256(colour: str) -> str:
    number = Color.parse(colour).downgrade(ColorSystem.EIGHT_BIT).number
    assert number is not None
    return Color.from_ansi(number).get_truecolor().hex


@pytest.mark.parametrize(("known", "surfaces"), BOTH)
def test_words_are_legible_with_256_colours(known: dict[str, str], surfaces: dict[str, str]):
    for name, colours in known.items():
        front, _, behind = colours.partition(" on ")
        asked = MARKS_CONTRAST if name == "faint" else WORDS_CONTRAST
        for surface in [behind] if behind else [surfaces["background"], surfaces["surface"]]:
            assert contrast(with_256(front), with_256(surface)) >= asked, (name, surface)


@pytest.mark.parametrize(("known", "surfaces"), BOTH)
def test_words_stand_out_with_16_colours(known: dict[str, str], surfaces: dict[str, str]):
    behind = Color.parse(surfaces["background"]).downgrade(ColorSystem.STANDARD).number
    for name, colours in known.items():
        numbers = [Color.parse(colour).downgrade(ColorSystem.STANDARD).number for colour in colours.split(" on ")]
        assert numbers[0] != (numbers[1] if len(numbers) > 1 else behind), name


def test_the_cursor_stands_out_in_both_themes():
    assert tuple(theme.name for theme in our_themes()) == OURS
    for theme in our_themes():
        front, back = (theme.variables[f"block-cursor-{part}"] for part in ("foreground", "background"))
        assert contrast(front, back) >= WORDS_CONTRAST
        assert theme.background
        for system in (ColorSystem.EIGHT_BIT, ColorSystem.STANDARD):
            shown = [Color.parse(colour).downgrade(system).number for colour in (back, theme.background, front)]
            assert len(set(shown)) == 3, "cursor, screen and words differ"


def test_both_have_the_same_names():
    assert tones(True).keys() == tones(False).keys()
