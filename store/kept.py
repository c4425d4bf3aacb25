"""Files that a run keeps beside its arrays, such as the tokenizer of its text: written once, with the run."""

from collections.abc import Mapping
from pathlib import Path

from .errors import DamagedError
from .files import flush, sha256

FOLDER = "files"


class KeptFiles(Mapping[str, bytes]):
    """The files of the run at `run`, by name; `hashes` are the SHA-256 of each. Reading raises DamagedError."""

    def __init__(self, run: Path, hashes: Mapping[str, str]):
        self._path, self._hashes = run / FOLDER, hashes

    def __getitem__(self, name: str) -> bytes:
        wanted, path = self._hashes[name], self._path / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path} is missing, or cannot be read: {error}.") from error
        if sha256(content) != wanted:
            raise DamagedError(f"{path} is damaged: its contents are not those that the run was made with.")
        return content

    def __iter__(self):
        return iter(self._hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def verify(self) -> list[DamagedError]:
        """What is damaged."""
        found = []
        for name in self:
            try:
                self[name]
            except DamagedError as error:
                found.append(error)
        return found


def write_files(run: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write `files` into the folder of a run that is being made; returns their hashes. Raises ValueError, OSError."""
    for name, content in files.items():
        if not name or name != Path(name).name or name.startswith("."):
            raise ValueError(f"'{name}' cannot be the name of a file that a run keeps")
        path = run / FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        flush(path)
    return {name: sha256(content) for name, content in files.items()}
