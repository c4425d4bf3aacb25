"""A run whose checkpoints come from files: `train.imported`, and which cells it cannot have.

Nothing is trained then: the spec names the files, :mod:`.importing` reads them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from ..store import REINITIALISE, Column, Layer, did_you_mean, inert
from .data.base import full_path

FINAL = "final"
_STILL_MEANT = {"imported", "epochs", "checkpoints", "batch_size"}
"""Keys of `train` that have a meaning without training: norms are re-estimated on batches of train.batch_size."""


def without_training(section: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """The `train` section of an imported run with its `epochs` and `checkpoints`, which follow from the files.

    Raises ValueError for names that are no checkpoints, when the trained network is missing, and for keys that say how
    to train.
    """
    files = numbered(section["imported"])
    epochs = list(map(int, files))
    given = {"epochs": epochs[-1], "checkpoints": epochs}
    for key, value in section.items():
        wrong = value != given[key] if key in given else key not in _STILL_MEANT and value != _default(fields, key)
        if key in fields and wrong:
            raise ValueError(f"{key}: says how to train; with train.imported nothing is trained. Leave it out")
    return {**section, **given, "imported": files}


def numbered(files: Any) -> dict[str, str]:
    """Absolute paths by the checkpoints' numbers, ascending; 'final' is the number after the highest."""
    if not isinstance(files, Mapping) or not all(isinstance(path, str) and path for path in files.values()):
        raise ValueError('imported: is written { 0 = "FILE", final = "FILE" }, a file for each checkpoint')
    numbers: dict[int, str] = {}
    for name, path in files.items():
        if name == FINAL:
            continue
        if not (str(name).isascii() and str(name).isdigit() and len(str(name)) < 7):
            hint = did_you_mean(str(name), [FINAL])
            raise ValueError(f"imported: '{inert(str(name))}' is no checkpoint, an epoch's number or 'final'.{hint}")
        if int(name) in numbers:
            raise ValueError(f"imported: there are two files for checkpoint {int(name)}")
        numbers[int(name)] = path
    if FINAL in files:
        numbers[max(numbers, default=0) + 1] = files[FINAL]
    if max(numbers) == 0:
        raise ValueError('imported: has no trained network; name its file: final = "FILE"')
    return {str(number): full_path(path) for number, path in sorted(numbers.items())}


def unavailable(
    layers: Sequence[Layer], columns: Sequence[Column], origins: Mapping[str, Any]
) -> dict[tuple[int | None, int], str]:
    """Places without a cell, each with the reason; `origins` are a run's (:attr:`lyrx.store.RunInfo.origins`)."""
    found: dict[tuple[int | None, int], str] = {}
    for index, column in enumerate(columns):
        if column.checkpoint is None:
            continue
        absent = origins.get(str(column.checkpoint), {}).get("absent", {})
        for place, layer in enumerate(layers):
            lacking = [name for name in layer.tensors if name in absent]
            if lacking:
                found[place, index] = _reason(lacking, absent, column.checkpoint)
        if absent and column.kind == REINITIALISE:
            found[None, index] = _reason(list(absent), absent, column.checkpoint)
    return found


def _reason(lacking: Sequence[str], absent: Mapping[str, str], checkpoint: int) -> str:
    more = f" (nor {'has' if len(lacking) == 2 else 'have'} {', '.join(lacking[1:4])})" if len(lacking) > 1 else ""
    more = more.replace(")", f", and {len(lacking) - 4} more)") if len(lacking) > 4 else more
    return f"{lacking[0]} has no checkpoint {checkpoint}{more}: {absent[lacking[0]]}"


def _default(fields: Mapping[str, FieldInfo], key: str) -> Any:
    return fields[key].get_default(call_default_factory=True) if key in fields else None
