"""Joint rows that were asked for in the app: they are measured in probes beside the one that is shown.

Put together they are one picture, whose last rows belong to other probes (`Picture.homes`).  Whatever reads a picture
(the heatmap, its scenes, the cell's panel, verdicts by the base's baseline) need not know.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from ...store import ProbeInfo
from .picture import Picture


def with_companions(base: Picture, companions: Sequence[Picture]) -> Picture:
    """`base` with the rows of `companions` behind its own, oldest first.

    Rows that are there already are left out, and companions whose columns are others.
    """
    layers, cells, homes = list(base.probe.layers), dict(base.cells), []
    unavailable = dict(base.probe.unavailable)
    fallbacks, problems, notes = list(base.fallbacks), list(base.problems), list(base.notes)
    distances = {epoch: (list(l2), list(linf)) for epoch, (l2, linf) in base.distances.items()}
    for other in companions:
        if other.columns != base.columns or other.probe.companion != base.probe.id:
            continue
        fallbacks += other.fallbacks
        problems += other.problems
        notes += other.notes
        for place, layer in enumerate(other.probe.layers):
            if layer.joint in {known.joint for known in layers}:
                continue
            row = len(layers)
            layers.append(layer)
            homes.append((other.probe.id, place))
            cells |= {(row, column): cell for (at, column), cell in other.cells.items() if at == place}
            found = other.probe.unavailable.items()
            unavailable |= {(row, column): reason for (at, column), reason in found if at == place}
            for epoch, norms in distances.items():
                for norm, values in enumerate(norms):
                    values.append(other.distances[epoch][norm][place] if epoch in other.distances else math.nan)
    if not homes:
        return replace(base, problems=tuple(problems))
    return replace(
        base,
        probe=replace(base.probe, layers=tuple(layers), unavailable=unavailable),
        cells=cells,
        distances={epoch: (tuple(l2), tuple(linf)) for epoch, (l2, linf) in distances.items()},
        problems=tuple(problems),
        fallbacks=tuple(fallbacks),
        notes=tuple(dict.fromkeys(notes)),
        homes=tuple(homes),
    )


def joint_info(base: ProbeInfo, names: Sequence[str]) -> ProbeInfo:
    """How the companion of `base` for these rows will look, as far as words about it need it."""
    members = [layer for layer in base.layers if layer.name in names]
    tensors = tuple(dict.fromkeys(tensor for layer in members for tensor in layer.tensors))
    parts = tuple(layer.name for layer in members)
    row = replace(
        members[0], name="+".join(parts), tensors=tensors, parameters=sum(m.parameters for m in members), joint=parts
    )
    return replace(base, layers=(row,), companion=base.id, unavailable={})
