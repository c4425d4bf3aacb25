"""Colours of words: legible on what is behind them, with however many colours."""

import pytest
from lyrx.explorer.core.tones import (
    APART,
    DARK,
    DARK_SURFACES,
    LIGHT,
    LIGHT_SURFACES,
    MARKS_CONTRAST,
    PATCHES,
    SHADES,
    WORDS_CONTRAST,
    adapted,
    contrast,
    legible,
    mixed,
    tones,
    with_256,
)
from lyrx.explorer.settings import theme_names
from lyrx.explorer.themes import OURS, colours_of, our_themes
from rich.color import Color, ColorSystem
from textual.color import Color as TextualColor
from textual.theme import BUILTIN_THEMES, Theme

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
        if not behind:
            assert contrast(front, surfaces["panel"]) >= asked, f"{name} in dialogs"


@pytest.mark.parametrize("name", [theme.name for theme in our_themes()])
def test_words_are_legible_on_chosen_lines(name: str):
    theme, colours = THEMES[name], colours_of(THEMES[name])
    assert colours.cursor[1] == theme.variables["block-cursor-background"]
    assert colours.chosen.keys() == colours.tones.keys()
    for tone, front in colours.chosen.items():
        if tone in PATCHES:
            assert front == colours.tones[tone], "it has its own colour behind it"
            continue
        for line in (colours.cursor[1], *colours.lines):
            assert contrast(front, line) >= WORDS_CONTRAST, (tone, line)
            assert contrast(with_256(front), with_256(line)) >= MARKS_CONTRAST, f"{tone} with 256 colours"
            sixteen = [Color.parse(one).downgrade(ColorSystem.STANDARD).number for one in (front, line)]
            assert len(set(sixteen)) == 2, f"{tone} with 16 colours"
    # What tells states apart still does.
    telling = [front for tone, front in colours.chosen.items() if tone not in (*PATCHES, *SHADES)]
    rgb = [Color.parse(colour).get_truecolor() for colour in telling]
    for index, one in enumerate(rgb):
        for other in rgb[:index]:
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 >= 35, colours.chosen


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


# Textual's themes

THEMES = {theme.name: theme for theme in (*our_themes(), *BUILTIN_THEMES.values())}
ASSUMED = {True: "#1a1a1a", False: "#f2f2f2"}
"""What may lie behind where a theme leaves that to the terminal: the grey furthest from what the tones are made for."""


def behind(theme: Theme) -> dict[str, str]:
    """What the theme puts behind words, by name."""
    named = {**theme.to_color_system().generate(), **theme.variables}
    colours = {name: TextualColor.parse(named[name]) for name in ("background", "surface", "panel")}
    if colours["background"].ansi is not None:
        return {"background": ASSUMED[theme.dark]}
    return {name: (colours["background"] + colour).hex6.lower() for name, colour in colours.items()}


def least(name: str) -> float:
    return MARKS_CONTRAST if name == "faint" else WORDS_CONTRAST


def test_these_are_all_themes():
    assert set(THEMES) == set(theme_names())
    assert len(THEMES) > 20


@pytest.mark.parametrize("name", THEMES)
def test_every_tone_is_legible_on_every_theme(name: str):
    theme = THEMES[name]
    for tone, colours in colours_of(theme).tones.items():
        front, _, own = colours.partition(" on ")
        for surface in [own] if own else [behind(theme)["background"], behind(theme).get("surface", "")]:
            if surface:
                assert contrast(front, surface) >= least(tone), (tone, front, surface)
                assert contrast(with_256(front), with_256(surface)) >= MARKS_CONTRAST, f"{tone} with 256 colours"


@pytest.mark.parametrize("name", [name for name in THEMES if name not in OURS])
def test_tones_stand_out_in_dialogs_and_under_the_cursor_of_every_theme(name: str):
    theme, colours = THEMES[name], colours_of(THEMES[name])
    if "ansi" in name:
        assert colours.tones == tones(theme.dark), "of such a theme it is not known how it looks"
        return
    for tone, front in colours.chosen.items():
        if tone not in PATCHES:
            for surface in (*colours.lines, colours.cursor[1]):
                assert contrast(front, surface) >= WORDS_CONTRAST, (tone, front, surface)
    for tone, front in colours.tones.items():
        if tone not in PATCHES:
            for surface in (behind(theme)["panel"], *colours.lines, colours.cursor[1]):
                asked = WORDS_CONTRAST if tone in ("text", "accent") else MARKS_CONTRAST
                assert contrast(front, surface) >= asked, (tone, front, surface)


@pytest.mark.parametrize("name", THEMES)
def test_tones_that_tell_states_differ_on_every_theme(name: str):
    known = colours_of(THEMES[name]).tones
    assert known.keys() == tones(True).keys()
    telling = [colour for tone, colour in known.items() if tone not in (*PATCHES, *SHADES)]
    rgb = [Color.parse(colour).get_truecolor() for colour in telling]
    for index, one in enumerate(rgb):
        for other in rgb[:index]:
            assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 >= 35, known


@pytest.mark.parametrize("name", [name for name in THEMES if "ansi" not in name])
def test_words_stand_out_with_16_colours_on_every_theme(name: str):
    back = Color.parse(behind(THEMES[name])["background"]).downgrade(ColorSystem.STANDARD).number
    for tone, front in colours_of(THEMES[name]).tones.items():
        if tone not in PATCHES:
            assert Color.parse(front).downgrade(ColorSystem.STANDARD).number != back, tone


def test_a_theme_keeps_its_own_colours_where_they_are_legible():
    nord = colours_of(THEMES["nord"])
    assert nord.tones["text"] == "#d8dee9"
    assert colours_of(THEMES["lyrx-dark"]).tones == DARK
    assert colours_of(THEMES["lyrx-light"]).tones == LIGHT


def test_a_theme_of_the_same_name_is_looked_at_anew():
    one = Theme("mine", "#0178d4", background="#000000", foreground="#ffffff")
    other = Theme("mine", "#0178d4", background="#ffffff", foreground="#000000", dark=False)
    assert colours_of(one).tones["text"] == "#ffffff"
    assert colours_of(other).tones["text"] == "#000000"


def test_a_colour_moves_no_further_than_it_must():
    assert legible("#ffffff", {"#000000": 4.5}) == "#ffffff"
    moved = legible("#ff0000", {"#400000": 4.5})
    assert contrast("#ff0000", "#400000") < 4.5 <= contrast(moved, "#400000") < 5.5
    assert legible("#777777", {"#ffffff": 7, "#333333": 7}) == "#000000", "nothing is: the better end"
    assert mixed("#000000", "#ffffff", 0.5) == "#808080"


def test_where_two_tones_would_look_alike_the_next_best_is_taken():
    wanted = {"alarm": ["#ff5555"], "accent": ["#ff5555", "#ffd700"], "good": ["#ff5555"]}
    made = adapted(wanted, ["#000000"], [], dark=True)
    assert (made["alarm"], made["accent"]) == ("#ff5555", "#ffd700")
    assert made["good"] == DARK["good"], "the app's own, where the theme has none"
    assert APART > 0
