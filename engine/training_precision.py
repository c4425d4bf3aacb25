"""Mixed precision in training: which arithmetic a forward uses, and how gradients that would vanish are scaled."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingPrecision:
    """`name` is "no" (everything in fp32), "bf16" or "fp16" (Micikevicius et al., ICLR 2018: with scaled losses)."""

    def __init__(self, name: str, device: torch.device):
        self._dtype, self._device = _TYPES.get(name), device
        self._scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None

    def active(self) -> AbstractContextManager[Any]:
        """Inside, forwards and losses are computed in it."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, optimiser: torch.optim.Optimizer, model: nn.Module, clip: float | None) -> None:
        """One step with gradients of norm `clip` at most. In fp16 it is left out where they overflow."""
        if self._scaler is None:
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimiser.step()
            return
        if clip is not None:
            self._scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        self._scaler.step(optimiser)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to go on: plain JSON values."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state` returned."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(dict(state))
