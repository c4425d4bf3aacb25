"""Lines of UTF-8 text out of many files, checked while they are read."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...store import inert
from ..errors import DataError


class Lines(Iterable[str]):
    """The lines of `files`, one file after the other, without their ends; `start` to `stop` of them where it is cut.

    Reading raises DataError naming the file and line that is no UTF-8 text, and where there is no text at all.
    """

    def __init__(self, files: Sequence[Path], start: int = 0, stop: int | None = None):
        self.files, self.start, self.stop = tuple(files), start, stop

    def __iter__(self) -> Iterator[str]:
        number = 0
        for path in self.files:
            for line in _read(path):
                if self.stop is not None and number >= self.stop:
                    return
                if number >= self.start:
                    yield line
                number += 1


def split_lines(files: Sequence[Path], share: float) -> tuple[Lines, Lines]:
    """All lines but the last `share` of them, and these. Raises DataError where one part would be empty."""
    count = sum(1 for _ in Lines(files))
    test = max(1, round(share * count))
    if test >= count:
        raise DataError(f"{inert(str(files[0]))}: {count} lines cannot be split into training and test text.")
    return Lines(files, 0, count - test), Lines(files, count - test, count)


def found_files(root: Path, patterns: Sequence[str]) -> list[Path]:
    """The files below `root` that fit one of `patterns`, by name; hidden ones are left out."""
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def _read(path: Path) -> Iterator[str]:
    shown = inert(str(path))
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{shown}, line {number}: byte {error.start + 1} (0x{raw[error.start]:02x}) is no UTF-8 text. "
                        "Convert the file (iconv -f ENCODING -t UTF-8), or leave it out."
                    ) from error
                if "\0" in line:
                    raise DataError(f"{shown}, line {number}: holds a zero byte: it is no text file. Leave it out.")
                yield line.rstrip("\r\n")
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror}.") from error
