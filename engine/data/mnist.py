"""MNIST and Fashion-MNIST, read (and on demand downloaded) by torchvision."""

import contextlib
import io
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ..errors import DataError, DataNotFoundError
from .base import DataSet, DataSpec, checked, full_path

_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class MnistSpec(DataSpec):
    """60,000 training and 10,000 test images, uint8[n, 1, 28, 28], 0..255."""

    name: Literal["mnist"] = "mnist"
    root: str = Field("data", description="folder that holds MNIST/raw (not identity)")
    download: bool = Field(False, description="fetch it if it is not there (not identity)")

    @field_validator("root")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return full_path(value)

    def _reader(self) -> Any:
        from torchvision.datasets import MNIST

        return MNIST

    def load(self) -> DataSet:
        reader = self._reader()
        raw = Path(self.root) / reader.__name__ / "raw"
        missing = [name for name in _FILES if not (raw / name).is_file()]
        if missing and not self.download:
            raise DataNotFoundError(
                f"data '{self.name}': looked in {raw}, {missing[0]} is not there. Put the four files "
                f"{', '.join(_FILES)} there (unpacked), name another folder with --set data.root=FOLDER, "
                "or have it downloaded with --set data.download=true."
            )
        made = [folder for folder in (raw, raw.parent, Path(self.root)) if not folder.exists()]
        try:
            # What torchvision says of every mirror that failed stands in its error, too.
            with contextlib.redirect_stdout(io.StringIO()):
                halves = [reader(self.root, train=train, download=bool(missing)) for train in (True, False)]
        except (ValueError, AssertionError, EOFError) as error:
            raise DataError(f"data '{self.name}': a file in {raw} is damaged: {error}") from error
        except (RuntimeError, OSError) as error:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # only if it is empty
            raise DataNotFoundError(
                f"data '{self.name}': could not be read from or downloaded to {raw}. Put the files "
                f"{', '.join(_FILES)} there by hand. ({' '.join(str(error).split())})"
            ) from error
        arrays = []
        for half, where in zip(halves, ("training files", "test files"), strict=True):
            inputs, targets = half.data.numpy(), half.targets.numpy()
            targets = checked(self.name, f"{where} in {raw}", inputs, targets, 10)
            arrays += [inputs[:, None], targets]
        return DataSet(*arrays, classes=10)


class FashionMnistSpec(MnistSpec):
    """Fashion-MNIST: as MNIST, of clothes."""

    name: Literal["fashion-mnist"] = "fashion-mnist"

    def _reader(self) -> Any:
        from torchvision.datasets import FashionMNIST

        return FashionMNIST
