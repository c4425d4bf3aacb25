"""What is said of a probe beside its numbers: one small file for each subject, sealed by its hash."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DamagedError
from .files import canonical, is_leftover, read_json, sha256, write_json


class Sayings:
    """Those in the folder `path`, which lies inside an array's, as far as they belong to `fingerprint`."""

    def __init__(self, path: Path, fingerprint: str):
        self.path = path
        self._fingerprint = fingerprint

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep `value`, in place of what the file `name` said before."""
        self.path.mkdir(exist_ok=True)
        said = {"fingerprint": self._fingerprint, **value}
        write_json(self.path / name, {**said, "hash": sha256(canonical(said))})

    def withdraw(self, name: str) -> None:
        """Take back what the file `name` says, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def read(self) -> tuple[list[dict[str, Any]], list[DamagedError]]:
        """Those that are whole, in the order of their files' names, and what is damaged."""
        found: list[dict[str, Any]] = []
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
                found.append(said)
        return found, damaged
