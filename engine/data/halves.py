"""Which files are the training text and which the test text, and how that is told."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .lines import Lines, split_lines

_KINDS = {
    "train": {"train", "training"},
    "test": {"test", "testing"},
    "validation": {"valid", "validation", "val", "dev", "heldout"},
}
"""Words of a file's or folder's name that say what is in it."""

_NAMED = 3  # files named before it says how many more there are


@dataclass(frozen=True)
class Halves:
    """The lines of both, and a sentence on where they come from."""

    train: Lines
    test: Lines
    note: str
    by_name: bool = False
    """Whether the files' own names said which are which."""


def of_files(root: Path, train: Sequence[Path], test: Sequence[Path]) -> Halves:
    """Files below `root` for each."""
    return Halves(Lines(train), Lines(test), f"training text: {_listed(root, train)}; test text: {_listed(root, test)}")


def of_names(root: Path, files: Sequence[Path]) -> Halves | None:
    """`files` below `root` by what their names say, `x.train.txt` and `x.test.txt`; None where they do not say both.

    Where there are none for testing, those for validation are the test text; what is neither is left out.
    """
    parts = [path.relative_to(root).parts for path in files]
    # A folder that all of them lie in (`test-data/`) does not tell them apart.
    shared = next((i for i, one in enumerate(zip(*parts, strict=False)) if len(set(one)) > 1), 0)
    kinds = {path: _kind(names[shared:]) for path, names in zip(files, parts, strict=True)}
    found = {kind: [path for path in files if kinds[path] == kind] for kind in _KINDS}
    train, test = found["train"], found["test"] or found["validation"]
    if not train or not test:
        return None
    halves = of_files(root, train, test)
    rest = [path for path in files if path not in train and path not in test]
    left = f"; left out: {_listed(root, rest)}" if rest else ""
    return Halves(halves.train, halves.test, f"{halves.note}{left} (told apart by their names)", by_name=True)


def of_share(root: Path, files: Sequence[Path], share: float) -> Halves:
    """The last `share` of all lines for testing. Raises DataError where one part would be empty."""
    train, test = split_lines(files, share)
    return Halves(train, test, f"test text: the last {100 * share:g} % of the lines of {_listed(root, files)}")


def _kind(parts: Sequence[str]) -> str:
    """Of a file in folders, the outermost first: the first name that says one kind."""
    for part in parts:
        words = set(re.split(r"[^a-z]+", part.lower()))
        said = [kind for kind, known in _KINDS.items() if words & known]
        if said:
            return said[0] if len(said) == 1 else ""
    return ""


def _listed(root: Path, files: Sequence[Path]) -> str:
    shown = [path.name if path == root else path.relative_to(root).as_posix() for path in files[:_NAMED]]
    return ", ".join(shown) + (f" and {len(files) - _NAMED:,} more" if len(files) > _NAMED else "")
