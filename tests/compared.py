"""Pictures of runs that are compared, without a store, made from errors by hand."""

import fakes
from lyrx.explorer.core.picture import CellSummary, Picture
from lyrx.store import REINITIALISE, RERANDOMISE, Column, Estimate

FIRST, LATER, END = Column(REINITIALISE, 0), Column(REINITIALISE, 8), Column(REINITIALISE, 100)
RANDOM = Column(RERANDOMISE, draws=2)


def known(error: float, n: int = 1000, total: int = 1000, half: float = 0.0) -> Estimate:
    return Estimate(error, error - half, error + half, 2 * error, 1 - error, n, total)


def picture(
    name: str,
    errors: dict[str, list[float | Estimate | None]],
    columns: tuple[Column, ...] = (FIRST, LATER, END),
    *,
    network: tuple[float, ...] = (0.9, 0.5, 0.02),
    checkpoints: tuple[int, ...] = (0, 8, 100),
    **changes,
) -> Picture:
    """A picture with these errors, layer by layer and column by column; None is not measured."""
    info = fakes.probe_info(list(errors), checkpoints=checkpoints, columns=columns)
    cells = {
        (layer, column): CellSummary((one if isinstance(one, Estimate) else known(one),), 1)
        for layer, row in enumerate(errors.values())
        for column, one in enumerate(row)
        if one is not None
    }
    reinitialised = [index for index, column in enumerate(columns) if column.kind == REINITIALISE]
    cells |= {
        (None, column): CellSummary((known(error),), 1) for column, error in zip(reinitialised, network, strict=False)
    }
    return Picture(
        run=fakes.run_info(name, checkpoints=checkpoints),
        probe=info,
        status="complete",
        cells=cells,
        distances={},
        history=(),
        committed=checkpoints,
        **changes,
    )


# Two networks of the same kind, with stages and blocks: the second has layers that the first lacks.
STAGES_A = picture("a", {
    "stem": [0.5, 0.02],
    "one.0.conv1": [0.6, 0.02],
    "one.0.conv2": [0.1, 0.02],
    "one.1.conv1": [0.3, 0.02],
    "one.1.conv2": [0.2, 0.02],
    "two.0.conv1": [0.04, 0.02],
    "two.0.conv2": [None, 0.02],
    "head": [0.02, 0.02],
}, (FIRST, END), network=(0.9, 0.02), checkpoints=(0, 100))  # fmt: skip
STAGES_B = picture("b", {
    "stem": [0.45, 0.02],
    "one.0.conv1": [0.5, 0.02],
    "one.0.conv2": [0.35, 0.02],
    "one.1.conv1": [0.3, 0.02],
    "one.1.conv2": [known(0.1, 200, half=0.05), 0.02],
    "one.1.shortcut": [0.7, 0.02],
    "two.0.conv1": [0.05, 0.02],
    "two.0.conv2": [0.9, 0.02],
    "tail.0.norm": [0.03, 0.02],
    "tail.0.fc": [0.04, 0.02],
    "head": [0.02, 0.02],
}, (FIRST, END), network=(0.9, 0.02), checkpoints=(0, 100))  # fmt: skip
