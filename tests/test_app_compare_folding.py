"""Runs that are compared: blocks and stages fold in all of them, by key, by mouse and by name."""

import comparable
import pytest
from comparable import STAGES
from comparing import keys, maps, opened, screen
from driving import app, line, screen_text, settle
from lyrx.explorer.core.rows import FOLDED
from lyrx.explorer.screens.compare_pane import Pane
from lyrx.explorer.screens.compare_pick import PickRuns
from lyrx.explorer.widgets.scenemap import SceneMap
from lyrx.store import Store
from textual.pilot import Pilot

WIDE = (200, 50)
BLOCK = f"{FOLDED}layer1.0"
ONE, TWO = "res-one", "res-two"


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """Two residual nets: in the second the second layer of a block matters most, and the other one less."""
    path = tmp_path_factory.mktemp("staged") / "lyrx.zarr"
    store = Store.open_or_create(path)
    comparable.staged_run(store, ONE)
    comparable.staged_run(store, TWO, {"layer1.0.conv1": -0.2, "layer1.0.conv2": 0.3})
    return path


@pytest.fixture
def store(staged, state):
    return staged


def folded(block: str, *, where: tuple[str, ...] = STAGES) -> list[str]:
    """Keys of the rows with this block folded."""
    found = dict.fromkeys(FOLDED + block if name.startswith(f"{block}.") else name for name in where)
    return [*found, ""]


async def click_name(pilot: Pilot, shown: SceneMap, row: int) -> None:
    """Click the name of a row."""
    grid = shown._grid
    assert grid
    top, height = grid.lines_of(grid.line_of(row), round(shown.scroll_y), shown.viewport.height)
    assert height > 0
    await pilot.click(shown, offset=(4, top))
    await settle(pilot)


async def test_a_block_folds_in_all_runs_and_unfolds(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await opened(pilot, ONE, TWO)
        one, two = maps(pilot)
        await pilot.press("down", "down", "z")
        await settle(pilot)
        assert keys(one) == keys(two) == folded("layer1.0")
        assert (one.row_key, two.row_key) == (BLOCK, BLOCK), "the cursor goes along, in both"
        assert "\n".join(screen_text(pilot)).count("+layer1.0 (2)") == 2
        await pilot.press("z")
        await settle(pilot)
        assert keys(one) == keys(two) == [*STAGES, ""]
        assert one.row_key == two.row_key == "layer1.0.conv1"


async def test_all_fold_step_by_step(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await opened(pilot, ONE, TWO)
        await pilot.press("G", "k", "k")
        assert maps(pilot)[0].row_key == "layer2.1.conv2"
        for rows, here in ((7, f"{FOLDED}layer2.1"), (5, f"{FOLDED}layer2"), (11, "layer2.0.conv1")):
            await pilot.press("Z")
            await settle(pilot)
            assert [len(keys(shown)) for shown in maps(pilot)] == [rows, rows]
            assert [shown.row_key for shown in maps(pilot)] == [here, here], "the cursor stays where its layer is"


async def test_folding_by_mouse_in_either_of_them(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await opened(pilot, ONE, TWO)
        one, two = maps(pilot)
        await click_name(pilot, two, 2)
        assert one.row_key == two.row_key == "layer1.0.conv2"
        assert keys(one) == [*STAGES, ""], "the first click goes there"
        await click_name(pilot, two, 2)
        assert keys(one) == keys(two) == folded("layer1.0")
        assert screen(pilot).chosen == 1
        await click_name(pilot, one, 1)
        assert keys(one) == keys(two) == [*STAGES, ""]


async def test_a_folded_row_is_told_by_the_layer_whose_number_it_shows(store):
    async with app(store).run_test(size=WIDE) as pilot:
        await opened(pilot, ONE, TWO)
        await pilot.press("down", "z")
        await settle(pilot)
        panel = line(pilot, "#compare-place")
        assert panel.startswith("layer1.0.conv1 at checkpoint 0  A's worst in layer1.0")
        await pilot.press("tab")
        await settle(pilot)
        panel = line(pilot, "#compare-place")
        assert panel.startswith("layer1.0.conv2 at checkpoint 0  B's worst in layer1.0")
        # 0.9 exp(-0.8) = 0.4044 of the second layer in A, and 0.3 more in B
        assert "+30.00" in panel


async def test_the_difference_folds_too_and_shows_the_largest(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        view = await opened(pilot, ONE, TWO)
        await pilot.press("down", "D", "z")
        await settle(pilot)
        shown = view.query_one("#pane-difference", Pane).map
        assert keys(shown) == folded("layer1.0")
        assert shown.row_key == BLOCK
        assert shown.scene is not None
        place = shown.scene.looks[shown.cursor[0]][shown.cursor[1]].place
        assert place.value == pytest.approx(0.3, abs=2e-4)
        assert "layer1.0.conv2 at checkpoint 0  the largest B − A in layer1.0" in line(pilot, "#compare-place")
        await click_name(pilot, shown, shown.cursor[0])
        assert keys(shown) == [*STAGES, ""], "a click on the name under the cursor unfolds"
        await pilot.press("Z", "D")
        await settle(pilot)
        assert [shown.row_key for shown in maps(pilot)] == [BLOCK, BLOCK], "what is folded stays, and the cursor"


async def test_folding_by_its_name_and_in_the_help(store):
    async with app(store).run_test(size=(120, 36)) as pilot:
        await opened(pilot, ONE, TWO)
        await pilot.press("question_mark")
        await settle(pilot)
        text = "\n".join(screen_text(pilot))
        assert "fold, unfold" in text
        assert "fold all, a step further" in text
        assert "probe of the chosen run" in text
        await pilot.press("escape", "colon", *"fold all", "enter")
        await settle(pilot)
        assert len(keys(maps(pilot)[0])) == 7
        await pilot.press("colon", *"metric loss", "enter")
        await settle(pilot)
        assert screen(pilot).view.metric == "loss"


async def test_where_nothing_folds_it_is_said(shown):
    async with app(shown).run_test(size=(120, 36)) as pilot:
        await opened(pilot, "fcn-3x256", "fcn-again")
        for key in ("z", "Z"):
            before = keys(maps(pilot)[0])
            await pilot.press(key)
            assert keys(maps(pilot)[0]) == before
            assert "fold" in line(pilot, "#note")


async def test_a_heatmap_is_compared_as_it_was_looked_at(store):
    async with app(store, ONE).run_test(size=WIDE) as pilot:
        await settle(pilot)
        await pilot.press("Z", "m", "down", "v")
        await settle(pilot)
        assert isinstance(pilot.app.screen, PickRuns)
        await pilot.press("enter")
        await settle(pilot)
        assert len(keys(maps(pilot)[1])) == 7
        assert screen(pilot).view.metric == "loss"
        assert [shown.row_key for shown in maps(pilot)] == [BLOCK, BLOCK]
