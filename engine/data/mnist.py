"""MNIST and Fashion-MNIST, read (and on demand downloaded) by torchvision."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from .base import FullPath
from .downloads import DownloadSpec

_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class MnistSpec(DownloadSpec):
    """60,000 training and 10,000 test images, uint8[n, 1, 28, 28], 0..255."""

    name: Literal["mnist"] = "mnist"
    root: FullPath = Field("data", description="folder that holds MNIST/raw (not identity)")

    def reader(self) -> Any:
        from torchvision.datasets import MNIST

        return MNIST

    def files(self, reader: Any) -> tuple[Path, Sequence[str]]:
        return Path(self.root) / reader.__name__ / "raw", _FILES

    def fault(self, reader: Any, path: Path) -> str:
        # Two zero bytes, 8 for bytes without a sign, the number of axes, their lengths, and the bytes themselves.
        axes, content = 3 if "images" in path.name else 1, path.read_bytes()
        header = 4 + 4 * axes
        if len(content) < header or content[:4] != bytes((0, 0, 8, axes)):
            return "it does not begin as such a file does (it must be unpacked)"
        whole = header + math.prod(struct.unpack_from(f">{axes}I", content, 4))
        return "" if len(content) == whole else f"it has {len(content):,} bytes, not the {whole:,} that it should have"

    def arrays(self, half: Any) -> tuple[np.ndarray, np.ndarray]:
        return half.data.numpy()[:, None], half.targets.numpy()


class FashionMnistSpec(MnistSpec):
    """Fashion-MNIST: as MNIST, of clothes."""

    name: Literal["fashion-mnist"] = "fashion-mnist"  # type: ignore[assignment]

    def reader(self) -> Any:
        from torchvision.datasets import FashionMNIST

        return FashionMNIST
