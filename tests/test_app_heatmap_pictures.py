"""The heatmap in its ways of looking, at the four sizes: every picture was looked at before it was accepted."""

import pytest
from driving import app, pressing

PICTURES = {
    "folded": ("vit-b16", ("Z", "j")),
    "overview": ("vit-b16", ("o", "j", "l")),
    "verdict": ("fcn-3x256", ("m", "m", "m", "m", "m", "m")),
    "verdict-estimates": ("fcn-again", ("m", "m", "m", "m", "m", "m")),
    "sorted-viridis": ("vit-b16", ("s", "C")),
    "grey-plain": ("fcn-again", ("C", "C", "d")),
}


@pytest.mark.parametrize("size", [(50, 24), (80, 24), (120, 36), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("picture", PICTURES)
def test_picture(shown, snap_compare, picture: str, size: tuple[int, int]):
    run, keys = PICTURES[picture]

    assert snap_compare(app(shown, run), terminal_size=size, run_before=pressing(*keys))
