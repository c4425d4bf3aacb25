"""Your own data as four arrays in one `.npz` file."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from ..errors import DataError, DataNotFoundError
from .base import DataSet, DataSpec, checked, full_path

KEYS = ("train_inputs", "train_targets", "test_inputs", "test_targets")


class ArraysSpec(DataSpec):
    """Inputs uint8 or float[n, ...] (channels first), targets whole numbers[n]."""

    name: Literal["arrays"] = "arrays"
    root: str = Field(description="the .npz file (not identity)")
    classes: int | None = Field(None, ge=2, description="number of classes; default: the highest label + 1")

    @field_validator("root")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return full_path(value)

    def load(self) -> DataSet:
        path = Path(self.root)
        form = f"It must hold {', '.join(KEYS)} (numpy.savez)."
        try:
            # Never unpickled: an object array in a file may carry code.
            with np.load(path, allow_pickle=False) as file:
                missing = [key for key in KEYS if key not in file.files]
                if missing:
                    raise DataError(f"data 'arrays': {path} lacks {', '.join(missing)}. {form}")
                arrays = {key: file[key] for key in KEYS}
        except FileNotFoundError as error:
            raise DataNotFoundError(f"data 'arrays': there is no file {path} (data.root). {form}") from error
        except DataError:
            raise
        except Exception as error:  # whatever numpy, zip and zlib meet in a file that is something else
            raise DataError(f"data 'arrays': {path} cannot be read as .npz: {error}. {form}") from error
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
                f"data 'arrays': {path}: train examples have shape {arrays['train_inputs'].shape[1:]}, "
                f"test examples {arrays['test_inputs'].shape[1:]}."
            )
        if arrays["train_inputs"].dtype != arrays["test_inputs"].dtype:
            raise DataError(f"data 'arrays': {path}: train inputs are uint8 and test inputs not, or the other way.")
        classes = self.classes or int(max(arrays["train_targets"].max(), arrays["test_targets"].max())) + 1
        if classes < 2:
            raise DataError(f"data 'arrays': {path}: all labels are 0; at least two classes are needed.")
        return DataSet(*(arrays[key] for key in KEYS), classes=classes)
