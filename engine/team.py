"""The processes that work on a run together: one, or several under `accelerate launch` or `torchrun`.

Only the first one writes.  What it decides, all learn; what it raises, all raise, so that no process waits for another
that has given up.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object

from ..store import LyrxError
from .device import choose_device

T = TypeVar("T")

# The others wait while the first one probes; that may take as long as it takes.
_PATIENCE = timedelta(days=7)


class Team:
    """This process among those that work together."""

    def __init__(self, device: str = "auto"):
        on_cpu = choose_device(device).type == "cpu"
        self.accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])
        self.rank: int = self.accelerator.process_index
        self.size: int = self.accelerator.num_processes
        self.device: torch.device = self.accelerator.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def lead(self, action: Callable[[], T]) -> T | None:
        """Do something in the first process only; an error there is raised in every process.

        Returns its result in the first process, None in the others.
        """
        if self.size == 1:
            return action()
        result, error = None, None
        if self.first:
            try:
                result = action()
            except LyrxError as caught:
                error = caught
            self._share(error and (str(error), error.exit_code))
            if error is not None:
                raise error
            return result
        told = self._share(None)
        if told is not None:
            message, exit_code = told
            shared = LyrxError(message)
            shared.exit_code = exit_code
            raise shared
        return None

    def tell(self, value: Any) -> Any:
        """The first process's `value`, in every process."""
        return value if self.size == 1 else self._share(value)

    def _share(self, value: Any) -> Any:
        box = [value]
        broadcast_object_list(box, from_process=0)
        return box[0]

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of float64[...] over all processes, in each of them."""
        if self.size == 1:
            return numbers
        summed = torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.float64)).to(self.device)
        torch.distributed.all_reduce(summed)
        return summed.cpu().numpy()

    def collect(self, value: T) -> list[T]:
        """Every process's `value`, in each of them, by rank."""
        return [value] if self.size == 1 else gather_object([value])

    @property
    def host(self) -> str:
        """Where the first process can be reached."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    def wait(self) -> None:
        """Until all processes are here."""
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """End the process group, if there is one."""
        self.accelerator.end_training()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def processes() -> int:
    """How many processes the launcher started, as far as the environment says."""
    return int(os.environ.get("WORLD_SIZE", "1"))
