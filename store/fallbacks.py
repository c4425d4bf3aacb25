"""Why some layers are measured by full forwards: one small file for each layer and kind of column."""

from dataclasses import dataclass
from pathlib import Path

from .errors import DamagedError
from .files import canonical, is_leftover, read_json, sha256, write_json


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
        self._fingerprint = fingerprint

    def write(self, fallback: Fallback) -> None:
        """Keep it, in place of what was said about this layer and kind before."""
        self.path.mkdir(exist_ok=True)
        said = {"fingerprint": self._fingerprint, **fallback.__dict__}
        write_json(self._place(fallback.layer, fallback.kind), {**said, "hash": sha256(canonical(said))})

    def withdraw(self, layer: str, kind: str) -> None:
        """Take back what is said about a layer and kind, if anything is."""
        self._place(layer, kind).unlink(missing_ok=True)

    def _place(self, layer: str, kind: str) -> Path:
        return self.path / f"{sha256(canonical([layer, kind]))[:16]}.json"

    def read(self) -> tuple[list[Fallback], list[DamagedError]]:
        """Those that are whole, and what is damaged."""
        found: list[Fallback] = []
        damaged: list[DamagedError] = []
        for path in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            if is_leftover(path.name):
                continue
            try:
                said = read_json(path)
                if sha256(canonical({key: value for key, value in said.items() if key != "hash"})) != said.get("hash"):
                    raise DamagedError(f"{path} is damaged: it does not say what was committed.")
            except FileNotFoundError:
                continue  # just being replaced on a file system that shows it
            except DamagedError as error:
                damaged.append(error)
                continue
            if said["fingerprint"] == self._fingerprint:
                found.append(Fallback(said["layer"], said["kind"], said["reason"]))
        return found, damaged
