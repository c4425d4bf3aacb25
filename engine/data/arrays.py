"""Your own data as four arrays, in one `.npz` file or one Zarr group."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ...store import inert
from ..errors import DataError, DataNotFoundError
from .base import DataSet, FullPath, checked, checked_augment
from .keys import ImageSpec

KEYS = ("train_inputs", "train_targets", "test_inputs", "test_targets")

_FORM = f"It must hold {', '.join(KEYS)}."


class ArraysSpec(ImageSpec):
    """Inputs uint8 or float[n, ...] (channels first), targets whole numbers[n]."""

    name: Literal["arrays"] = "arrays"
    root: FullPath = Field(description="the .npz file or the folder of a Zarr group (not identity)")
    classes: int | None = Field(None, ge=2, description="number of classes; default: the highest label + 1")

    def load(self) -> DataSet:
        path, shown = Path(self.root), inert(self.root)
        arrays = read_zarr(path) if path.is_dir() else read_npz(path)
        for half in ("train", "test"):
            inputs, targets = f"{half}_inputs", f"{half}_targets"
            where = f"{path}, {half}"
            arrays[targets] = checked(self.name, where, arrays[inputs], arrays[targets], self.classes)
            if arrays[inputs].dtype != np.uint8:
                with np.errstate(over="ignore"):
                    arrays[inputs] = arrays[inputs].astype(np.float32)
                checked(self.name, f"{where} as float32", arrays[inputs], arrays[targets], self.classes)
        if arrays["train_inputs"].shape[1:] != arrays["test_inputs"].shape[1:]:
            raise DataError(
                f"data 'arrays': {shown}: train examples have shape {arrays['train_inputs'].shape[1:]}, "
                f"test examples {arrays['test_inputs'].shape[1:]}."
            )
        if arrays["train_inputs"].dtype != arrays["test_inputs"].dtype:
            raise DataError(f"data 'arrays': {shown}: train inputs are uint8 and test inputs not, or the other way.")
        classes = self.classes or int(max(arrays["train_targets"].max(), arrays["test_targets"].max())) + 1
        if classes < 2:
            raise DataError(f"data 'arrays': {shown}: all labels are 0; at least two classes are needed.")
        augment = checked_augment(self.name, self.root, self.augmentation, arrays["train_inputs"].shape[1:])
        return DataSet(*(arrays[key] for key in KEYS), classes=classes, augment=augment, norms=self.norms)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays KEYS in the file `path`. Raises DataNotFoundError, DataError."""
    shown = inert(str(path))
    try:
        # Never unpickled: an object array in a file may carry code.
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in KEYS if key not in file.files]
            if missing:
                raise DataError(f"data 'arrays': {shown} lacks {', '.join(missing)}. {_FORM}")
            return {key: file[key] for key in KEYS}
    except FileNotFoundError as error:
        raise DataNotFoundError(f"data 'arrays': there is no file {shown} (data.root). {_FORM}") from error
    except DataError:
        raise
    except Exception as error:  # whatever numpy, zip and zlib meet in a file that is something else
        raise DataError(f"data 'arrays': {shown} cannot be read as .npz: {inert(str(error))}. {_FORM}") from error


def read_zarr(path: Path) -> dict[str, np.ndarray]:
    """The arrays KEYS in the Zarr group (format 2 or 3) in the folder `path`. Raises DataError."""
    import zarr

    shown = inert(str(path))
    found: dict[str, np.ndarray] = {}
    try:
        group = zarr.open_group(path, mode="r")
        missing = [key for key in KEYS if not isinstance(group.get(key), zarr.Array)]
        if missing:
            raise DataError(f"data 'arrays': {shown} lacks {', '.join(missing)}. {_FORM}")
        for key in KEYS:
            array: Any = group[key]
            # Objects, which could be pickles that run code, are not even read.
            if array.dtype.kind not in "iuf":
                raise DataError(f"data 'arrays': {shown}, {key}: {array.dtype} values; plain numbers are needed.")
            found[key] = np.asarray(array[...])
    except DataError:
        raise
    except Exception as error:  # whatever zarr and its codecs meet in files that are something else
        why = inert(" ".join(str(error).split()))
        raise DataError(f"data 'arrays': {shown} cannot be read as a Zarr group: {why} {_FORM}") from error
    return found
