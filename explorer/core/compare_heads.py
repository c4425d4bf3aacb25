"""The lines around runs that are compared: which they are, what each of them shows, and what the colours mean."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from ...store import inert
from .alignment import LETTERS
from .compare_text import Pair, minus
from .legend import kinds_text
from .marks import MARKS, WORDS, State
from .paint import paints
from .picture import METRICS, Picture
from .scene import Scene
from .texts import shorten, state_text


def title_text(names: Sequence[str], width: int) -> Text:
    """Which runs are compared, each with its letter; long names are cut before any is left out."""
    line = Text(no_wrap=True)
    line.append("compare", "accent bold")
    room = max(8, (width - 7) // max(1, len(names)) - 5)
    for letter, name in zip(LETTERS, names, strict=False):
        line.append("  ", "text")
        line.append(f"{letter} ", "accent bold")
        line.append(shorten(name, room), "text")
    line.truncate(width, overflow="ellipsis")
    return line


def side_text(
    letter: str, name: str, picture: Picture | None, width: int, *, chosen: bool, probe: bool = False
) -> Text:
    """The line above a run's heatmap; with `probe`, which of its probes is shown matters more than all but its name."""
    line = Text(no_wrap=True)
    line.append(f"{'▸' if chosen else ' '} {letter} ", "accent bold")
    said = []
    if picture is not None:
        said += [f"probe {inert(picture.probe.id)}"] if probe else []
        said.append(state_text(picture))
        if picture.baseline is not None:
            said.append(f"trained network {100 * picture.baseline.error:.2f} %")
    least = said[:1] if probe else said[-1:]
    for words in ("  ".join(said), *least, ""):
        left = width - line.cell_len - cell_len(words) - (2 if words else 0)
        if left >= min(cell_len(name), 12) or not words:
            line.append(shorten(name, max(4, left)), "bold" if chosen else "text")
            line.append(f"  {words}" if words else "", "muted")
            break
    line.truncate(width, overflow="ellipsis")
    return line


def probes_matter(pictures: Sequence[Picture | None], probes: Sequence[Sequence[str]]) -> list[bool]:
    """Of which runs it must be said which probe is shown: of those that have several, and of all if they differ."""
    grains = {picture.probe.granularity for picture in pictures if picture is not None}
    return [len(grains) > 1 or len(ids) > 1 for ids in probes]


def newer_probes(pictures: Sequence[Picture | None], probes: Sequence[Sequence[str]]) -> list[str]:
    """Of which runs there is a newer probe than the one that is shown; `probes` are all ids of each, oldest first."""
    return [
        f"{letter}: a newer probe is there: {inert(ids[-1])} (p shows it)"
        for letter, picture, ids in zip(LETTERS, pictures, probes, strict=False)
        if picture is not None and ids and ids[-1] != picture.probe.id
    ]


def scale_text(scenes: Sequence[Scene], about: str, order: str, width: int, system: str | None) -> Text:
    """What the colours mean: `about`, the scale with its ends, the order of the rows, and the marks there are.

    All `scenes` have one scale.  `system` says what colours there are, as in :func:`.paint.paints`.
    """
    scene = scenes[0]
    low, high = scene.scale.ends(scene.metric)
    step = 2 if width >= 120 or (system is None and width >= 60) else 1
    room = width - step * len(scene.scale.ramp) - len(low) - len(high) - 4
    line = Text(no_wrap=True)
    line.append(about if cell_len(about) <= room else about.split(",")[0], "bold")
    if scene.metric.kinds:
        line.append_text(kinds_text(scene, system))
    else:
        line.append(f"  {low} ", "muted")
        for paint in paints(scene.scale.ramp, system):
            line.append(paint.fill[:step], paint.style if paint.style != Style.null() else "")
        line.append(f" {high}", "muted")
    parts = [f"sorted by {order}"] if order != "depth" else []
    states = frozenset[State]().union(*(scene.states for scene in scenes))
    parts += [f"{MARKS[state]} {WORDS[state]}" for state in WORDS if state in states]
    for part in parts:
        if line.cell_len + cell_len(part) + 3 <= width:
            line.append(f"   {part}", "muted")
    line.truncate(width, overflow="ellipsis")
    return line


def about_text(metric: str, pair: Pair | None, width: int) -> str:
    """What is shown: the metric, or of which two runs its difference is."""
    title = METRICS[metric].title
    if width < 100:
        title = title.split(",")[0].replace("distance from initialisation", "distance").split(" with ")[0]
        shorter = {"l2": "distance, 2-norm", "linf": "distance, largest", "verdict": "verdict"}
        title = shorter.get(metric, title)
    if pair is None:
        return title + (", %" if METRICS[metric].fraction and "%" not in title and "points" not in title else "")
    unit = ", points" if METRICS[metric].fraction else ""
    return f"{minus(pair)}  {title.removesuffix(', %').removesuffix(', points')}{unit}"
