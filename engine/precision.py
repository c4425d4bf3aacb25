"""In which arithmetic a probe computes."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from .errors import DeviceError

PrecisionName = Literal["fp32", "tf32", "bf16", "fp16"]

_LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """fp32: every product in full; tf32: products of 10-bit mantissas (GPUs); bf16, fp16: autocast to these types.

    Raises DeviceError where the device cannot do it.
    """

    name: PrecisionName
    device: torch.device

    def __post_init__(self) -> None:
        if self.name == "tf32" and self.device.type != "cuda":
            raise DeviceError("probe.precision is 'tf32', which only CUDA GPUs have. Use fp32 or bf16.")

    @property
    def tolerance(self) -> float:
        """How far replayed outputs may lie from full ones, relative to the largest: both round in the same places."""
        return 1e-4 if self.name in ("fp32", "tf32") else 1e-2

    def rounding(self, model: nn.Module) -> float:
        """How far two ways of computing the same, in another order, may lie apart, relative to the largest output."""
        full = all(tensor.element_size() >= 4 for tensor in model.parameters())
        return 1e-3 if self.name == "fp32" and full else 0.2

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, forwards compute so. Enter it anew for every forward: autocast keeps what it has converted."""
        # Off where it is not asked for: the caller may be inside one of his own.
        lower = _LOWER.get(self.name)
        cast = torch.autocast(self.device.type, dtype=lower, enabled=lower is not None, cache_enabled=False)
        with _tf32(self.name == "tf32") if self.device.type == "cuda" else nullcontext(), cast:
            yield

    def prefers_channels_last(self, model: nn.Module) -> bool:
        """Whether this network's convolutions are faster with channels as the innermost axis."""
        if self.device.type == "cuda" and self.name in ("fp32",):
            return False
        return any(isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1) for module in model.modules())


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """cuDNN's convolutions use TF32 unless told otherwise, which would not be fp32."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    try:
        before = matmul.allow_tf32, cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:
        # The caller has set it by the names that torch has used since 2.9; torch does not let the two be mixed.
        with _fp32_precision("tf32" if allowed else "ieee"):
            yield
        return
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before[:2]
        torch.set_float32_matmul_precision(before[2])  # 'medium' is more than the flag can say


@contextmanager
def _fp32_precision(name: Literal["tf32", "ieee"]) -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = name
        yield
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.fp32_precision = was
