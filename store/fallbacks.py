"""Why some layers are measured by full forwards: one small file for each layer and kind of column."""

from dataclasses import dataclass
from pathlib import Path

from .errors import DamagedError
from .files import canonical, sha256
from .sayings import Sayings


@dataclass(frozen=True)
class Fallback:
    """A layer whose cells of one kind cannot be replayed."""

    layer: str
    kind: str
    """Of the columns: 'reinitialise', 'rerandomise', ..."""
    reason: str


class Fallbacks:
    """The fallbacks kept in the folder `path`, which lies inside an array's."""

    def __init__(self, path: Path, fingerprint: str):
        self.path = path
        self._sayings = Sayings(path, fingerprint)

    def write(self, fallback: Fallback) -> None:
        """Keep it, in place of what was said about this layer and kind before."""
        self._sayings.write(_name(fallback.layer, fallback.kind), fallback.__dict__)

    def withdraw(self, layer: str, kind: str) -> None:
        """Take back what is said about a layer and kind, if anything is."""
        self._sayings.withdraw(_name(layer, kind))

    def read(self) -> tuple[list[Fallback], list[DamagedError]]:
        """Those that are whole, and what is damaged."""
        found, damaged = self._sayings.read()
        return [Fallback(said["layer"], said["kind"], said["reason"]) for said in found], damaged


def _name(layer: str, kind: str) -> str:
    return f"{sha256(canonical([layer, kind]))[:16]}.json"
