"""From a run's picture to the scene of its heatmap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .marks import Place, State, place
from .picture import METRICS, Picture
from .ramp import Scale, ramp_named, scale
from .rows import rows
from .scene import Look, Row, Scene
from .view import HeatView

Spot = tuple[int | None, int]
"""(row of the picture or None for the whole network, column)."""


@dataclass(frozen=True)
class Survey:
    """Every place as the store knows it, for one metric: what all scenes of a picture share.

    Made off the event loop where the picture is large.
    """

    picture: Picture
    scale: Scale
    looks: Mapping[int | None, tuple[Look, ...]]
    """By layer, one for each column."""


def survey(picture: Picture, metric: str, ramp: str = "") -> Survey:
    """Look at every place of `picture`."""
    spread = scale(picture, metric, ramp_named(ramp))
    columns = range(len(picture.columns))
    found: dict[int | None, tuple[Look, ...]] = {}
    for layer in (*range(len(picture.probe.layers)), None):
        places = [place(picture, metric, layer, column) for column in columns]
        found[layer] = tuple(Look(one, spread.level(one.value)) for one in places)
    return Survey(picture, spread, found)


def scene(known: Survey, view: HeatView, over: Mapping[Spot, Place] | None = None) -> Scene:
    """The heatmap of a run as `view` wants it; `over` is what is going on besides what the store knows."""
    picture = known.picture
    own = picture.probe.id
    busy: dict[int | None, dict[int, Place]] = {}
    for (layer, column), found in (over or {}).items():
        busy.setdefault(layer, {})[column] = found
    lines = rows(picture, view)
    looks = tuple(_looks(known, row, busy) for row in lines)
    return Scene(
        picture.columns,
        lines,
        looks,
        known.scale,
        METRICS[known.scale.metric],
        view.digits,
        view.overview,
        f"{picture.run.name}/{picture.run.created}/{own}",
        frozenset(look.place.state for line in looks for look in line),
    )


def _looks(known: Survey, row: Row, busy: Mapping[int | None, Mapping[int, Place]]) -> tuple[Look, ...]:
    """The looks of a row: the survey's own, unless something is going on in it or several layers share it."""
    parts = []
    for layer in row.places:
        looks = known.looks[layer]
        marks = busy.get(layer)
        if marks:
            looks = tuple(_over(look, marks.get(column)) for column, look in enumerate(looks))
        parts.append(looks)
    return joined(parts, known.scale)


def joined(parts: Sequence[tuple[Look, ...]], spread: Scale) -> tuple[Look, ...]:
    """Several layers as one row: at each column the worst of them; one layer as it is."""
    return parts[0] if len(parts) == 1 else tuple(_worst(places, spread) for places in zip(*parts, strict=True))


def _over(look: Look, mark: Place | None) -> Look:
    """What is known stays visible behind what is going on."""
    return look if mark is None else Look(mark, look.level)


_BUSY = (State.RUNNING, State.QUEUED, State.FAILED)


def _worst(looks: tuple[Look, ...], spread: Scale) -> Look:
    """Several layers as one place: the number of the worst, told to be an estimate while any of them is missing."""
    valued = [look for look in looks if look.place.value is not None]
    busy = next((look.place for state in _BUSY for look in looks if look.place.state is state), None)
    worst = max(valued, key=lambda look: spread.weight(look.place.value), default=None)
    if busy is not None:
        return Look(busy, worst.level if worst else None)
    if worst is None:
        # What could be there comes before what cannot be.
        order = [State.DAMAGED, State.MISSING]
        return next((look for state in order for look in looks if look.place.state is state), looks[0])
    done = all(look.place.state in (State.DONE, State.UNAVAILABLE) for look in looks)
    return Look(Place(State.DONE if done else State.ESTIMATE, worst.place.value), worst.level)
