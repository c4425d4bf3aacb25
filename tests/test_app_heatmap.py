"""The heatmap's screen: its ways of looking, by key, and what is kept of them."""

import fakes
import pytest
from driving import app, heatmap, line, screen_of, screen_text, settle
from lyrx.explorer.core.ramp import RAMPS
from lyrx.explorer.core.view import HeatView
from lyrx.store import Store

RESNET = ("conv1", *(f"layer{s}.{b}.conv{c}" for s in (1, 2) for b in (0, 1) for c in (1, 2)), "fc")


@pytest.fixture
def resnet(tmp_path, state):
    """A small residual net, measured, with stages and blocks."""
    store = Store.open_or_create(tmp_path / "s.zarr")
    run = store.create_run(fakes.run_info("resnet"), fakes.probe_info(list(RESNET)))
    fakes.commit_checkpoints(run, 100)
    fakes.commit_cells(run.probe())
    return tmp_path / "s.zarr"


def shown_keys(pilot) -> list[str]:
    scene = heatmap(pilot).scene
    assert scene is not None
    return [row.key for row in scene.rows]


async def test_folding_one_and_all(resnet):
    async with app(resnet, "resnet").run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await pilot.press("j", "j", "z")
        row = heatmap(pilot).row
        assert row is not None
        assert row.folded
        assert row.layers == (1, 2), "the cursor is on the row that its layer is in now"
        assert any("+layer1.0" in text for text in screen_text(pilot))
        await pilot.press("z")
        assert shown_keys(pilot) == [*RESNET, ""]
        for count in (7, 5, 11):
            await pilot.press("Z")
            assert len(shown_keys(pilot)) == count


async def test_nothing_folds_where_names_have_no_groups(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        before = shown_keys(pilot)
        await pilot.press("Z", "z")
        assert shown_keys(pilot) == before
        assert "fold" in line(pilot, "#note")


async def test_sorting_keeps_the_cursor_on_its_layer(shown):
    async with app(shown, "fcn-3x256").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        before = shown_keys(pilot)
        await pilot.press("j", "j", "s")
        assert heatmap(pilot).row.key == "fc3"
        assert screen_of(pilot).view.order == "criticality"
        await pilot.press("s")
        assert shown_keys(pilot) == before


async def test_overview_digits_and_scales(shown):
    async with app(shown, "vit-b16").run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("o")
        assert "▀" in "".join(screen_text(pilot)), "half blocks"
        await pilot.press("j")
        assert heatmap(pilot).cursor == (1, 1), "each of the two layers in a line can be reached"
        await pilot.press("o", "d")
        assert not heatmap(pilot).scene.digits
        seen = []
        for _ in RAMPS:
            await pilot.press("C")
            seen.append(heatmap(pilot).scene.scale.ramp.name)
        assert sorted(seen) == sorted(RAMPS)


async def test_the_view_is_restored(shown):
    async with app(shown, "vit-b16").run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await pilot.press("m", "d", "s", "Z", "C", "j", "j", "l")
        kept = screen_of(pilot).view
    assert kept.metric == "loss"
    async with app(shown, "vit-b16").run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        screen_of(pilot).restore(HeatView.from_json(kept.to_json()))
        await settle(pilot)
        assert screen_of(pilot).view == kept
        assert heatmap(pilot).row.key == kept.layer


@pytest.mark.parametrize("size", [(50, 24), (80, 24), (200, 50)])
async def test_resizing_keeps_cursor_and_view(shown, size):
    async with app(shown, "vit-b16").run_test(size=(120, 36)) as pilot:
        await settle(pilot)
        await pilot.press("Z", "j", "j", "l", "l")
        before = screen_of(pilot).view
        await pilot.resize_terminal(*size)
        await settle(pilot)
        assert screen_of(pilot).view == before
        assert len([text for text in screen_text(pilot) if "▸" in text]) == 1


@pytest.mark.parametrize("size", [(50, 24), (60, 24), (80, 24), (120, 36)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_row_of_the_whole_network_has_its_name_at_every_width(shown, size: tuple[int, int]):
    async with app(shown, "fcn-3x256").run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("G")
        named = [text.split("▸")[1].split()[:2] for text in screen_text(pilot) if text.lstrip().startswith("▸")]
        assert len(named) == 1
        assert named[0] in (["whole", "network"], ["network", named[0][1]]), named
        assert not any("…ole network" in text for text in screen_text(pilot))


@pytest.mark.parametrize("size", [(40, 12), (80, 12), (80, 14), (120, 13)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_heatmap_has_most_of_the_lines_where_there_are_few(shown, size: tuple[int, int]):
    """In the smallest terminal too: what stands below it takes what is left."""
    async with app(shown, "fcn-3x256").run_test(size=size) as pilot:
        await settle(pilot)
        for layer in ("fc1", "fc2", "fc3", "output"):
            text = screen_text(pilot)
            assert any(line.startswith(f" ▸ {layer}") for line in text), text
            assert any(layer in line and "▸" not in line for line in text), "what stands below tells of it"
            assert any("error" in line and "%" in line for line in text[4:]), text
            await pilot.press("down")


ROOMS = [(120, 50), (120, 36), (80, 24), (121, 36), (50, 24), (117, 33), (200, 50), (120, 36), (64, 20), (118, 37)]


@pytest.mark.parametrize("run", ["fcn-3x256", "vit-b16"])
async def test_scrollbars_are_there_where_something_is_cut_and_nowhere_else(shown, run: str):
    async with app(shown, run).run_test(size=(200, 60)) as pilot:
        await settle(pilot)
        for size in ROOMS:
            await pilot.resize_terminal(*size)
            await settle(pilot)
            widget = heatmap(pilot)
            (width, height), (room_x, room_y) = widget.virtual_size, widget.container_size
            across, down = widget.show_horizontal_scrollbar, widget.show_vertical_scrollbar
            assert across == (width > room_x - down), size
            assert down == (height > room_y - across), size


async def test_a_heatmap_that_fills_the_room_beside_a_bar_that_was_needed_has_none(shown):
    async with app(shown, "fcn-3x256").run_test(size=(120, 50)) as pilot:
        await settle(pilot)
        await pilot.resize_terminal(120, 36)
        await settle(pilot)
        widget = heatmap(pilot)
        assert widget.virtual_size == (widget.container_size.width - 1, widget.container_size.height), "this very case"
        assert not widget.show_vertical_scrollbar


@pytest.mark.parametrize("size", [(50, 24), (120, 36), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("run", ["fcn-3x256", "vit-b16"])
async def test_resized_it_looks_as_if_it_had_been_opened_so(shown, run: str, size: tuple[int, int]):
    async with app(shown, run).run_test(size=size) as pilot:
        await settle(pilot)
        opened = screen_text(pilot)
    async with app(shown, run).run_test(size=(90, 30)) as pilot:
        for through in ((200, 50), (50, 24), size):
            await pilot.resize_terminal(*through)
            await settle(pilot)
        assert screen_text(pilot) == opened
