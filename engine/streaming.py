"""Images that do not fit into memory: decoded by worker processes, ahead of when they are needed, and forgotten."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .augment import draw
from .data.base import Augment, Keeping
from .data.files import ImageFiles
from .decoding import Decoder, Job, part_size, spans
from .examples import Examples, Normal
from .sizes import shown_size


class Streamed(Examples):
    """Images in files as examples. Only labels stay on the device."""

    def __init__(
        self,
        files: ImageFiles,
        targets: np.ndarray,
        normal: Normal,
        device: torch.device,
        augment: Augment,
        keeping: Keeping,
        which: str,
    ):
        """`which`: 'training' or 'test', for what is said of them."""
        super().__init__(torch.from_numpy(np.array(targets)).to(device), normal, device)
        self._files, self._augment, self._keeping, self._which = files, augment, keeping, which
        again = "in every epoch" if which == "training" else "in every look, once for all cells"
        size = shown_size(files.nbytes)
        self.note = f"the {len(files):,} {which} images take {size}, more than data.memory: they are decoded {again}"
        self._varying: Decoder | None = None
        self._reader: _Reader | None = None

    def only(self, chosen: np.ndarray) -> "Streamed":
        targets = self.targets[torch.from_numpy(chosen).to(self.targets.device)].cpu().numpy()
        return Streamed(
            self._files.only(chosen), targets, self._normal, self._device, self._augment, self._keeping, self._which
        )

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        size = part_size(self._files.shape[1:])
        jobs = [Job(part.numpy()) for part in indices.cpu().split(size)]
        parts = list(self._decoder().run(jobs))
        return self._given(torch.cat(parts)), self._wanted(indices.to(self.targets.device))

    def between(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        if self._reader is None:
            self._reader = _Reader(self._decoder(), len(self), self._files.shape[1:])
        return self._given(self._reader.between(start, stop)), self._wanted(slice(start, stop))

    def epoch(self, parts: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        if not parts:
            return
        if self._varying is None:
            self._varying = self._decoder()
        table = draw(self._augment, len(self), seed, self._files.shape[1:]).numpy()
        order = torch.cat(list(parts))
        sizes = [len(part) for part in parts]
        indices = order.cpu().split(sizes)
        jobs = [Job(part.numpy(), table[part.numpy()]) for part in indices]
        for pixels, places in zip(self._varying.run(jobs), order.to(self.targets.device).split(sizes), strict=True):
            yield self._given(pixels), self._wanted(places)

    def _decoder(self) -> Decoder:
        return Decoder(self._files, self._augment, self._keeping, pin=self._device.type == "cuda")

    def _given(self, pixels: Tensor) -> Tensor:
        return self._normal(pixels.to(self._device, non_blocking=True))


class _Reader:
    """Stretches of images, one after the other: what follows the last one is decoded while that is used."""

    def __init__(self, decoder: Decoder, count: int, shape: tuple[int, ...]):
        self._decoder, self._count, self._shape = decoder, count, shape
        self._parts: Iterator[Tensor] = iter(())
        self._next = -1
        self._left: Tensor | None = None
        self._last: tuple[tuple[int, int], Tensor] | None = None

    def between(self, start: int, stop: int) -> Tensor:
        """uint8[stop - start, channels, height, width]. Raises DataError."""
        stop = min(stop, self._count)
        if self._last is not None and self._last[0] == (start, stop):
            return self._last[1]  # other cells on the same examples
        if start != self._next:
            self._parts, self._left = self._decoder.run(spans(start, self._count, self._shape)), None
        self._next = -1  # until all of it is there
        found: list[Tensor] = []
        missing = stop - start
        while missing > 0:
            part = self._left if self._left is not None else next(self._parts)
            found.append(part[:missing])
            self._left = part[missing:] if len(part) > missing else None
            missing -= len(found[-1])
        self._next = stop
        pixels = torch.cat(found) if len(found) > 1 else found[0]
        self._last = ((start, stop), pixels)
        return pixels
