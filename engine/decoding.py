"""Image files decoded by worker processes, in an order that is known beforehand.

Torch's DataLoader brings the processes, the shared memory and the prefetching; every random number was drawn before, so
that the result does not depend on how many workers there are.
"""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .augment import plain
from .data.base import Augment, Keeping
from .data.files import ImageFiles
from .data.statistics import levels_of
from .errors import DataError, RunFailedError
from .memory import free_memory

_PART_BYTES = 2**24
"""Decoded pixels that a worker hands over at once, where nothing else decides."""

_WORTH_A_WORKER = 256
"""Images: for fewer a process is not worth its start."""

_AHEAD = 2
"""Jobs that each worker has before it."""


HOST = torch.device("cpu")

SHARE = 0.4
"""Of the memory that is free, for one half of a data set: one after the other they leave a third to the network."""


@dataclass(frozen=True, eq=False)
class Job:
    """Images that are decoded together."""

    indices: np.ndarray
    drawn: np.ndarray | None = None
    """int64[k, 3] of :func:`.augment.draw`; None: the middle part."""


@dataclass(frozen=True)
class _Broken:
    """What was wrong with an image. A value, since an exception would arrive wrapped in a worker's traceback."""

    message: str


class _Decoding(Dataset[Any]):
    """What a worker does with a job."""

    def __init__(self, files: ImageFiles, augment: Augment, count: bool):
        self._files, self._augment, self._count = files, augment, count
        self._shape = augment.shape(files.shape[1:])

    def __getitem__(self, job: Job) -> "Tensor | _Broken":
        from .data.decode import varied_one

        try:
            out = torch.empty((len(job.indices), *self._shape), dtype=torch.uint8)
            for place, index in enumerate(job.indices):
                image = self._files.decode(int(index))
                if job.drawn is None:
                    out[place] = plain(image, self._augment)
                else:
                    top, left, flip = map(int, job.drawn[place])
                    out[place] = varied_one(image, (top, left, flip), self._augment)
        except DataError as error:
            return _Broken(str(error))
        return torch.from_numpy(levels_of(out.numpy())) if self._count else out


def _end_with_parent(worker: int) -> None:
    """Let a worker end when the process it decodes for has gone, however that went.

    Torch's workers watch the process that they were forked from, which here is a server that lives as long as they do.
    """
    del worker
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class _Jobs:
    """The jobs that a loader is to go through now."""

    def __init__(self) -> None:
        self.now: Sequence[Job] = ()

    def __iter__(self) -> Iterator[Job]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


class Decoder:
    """Decodes jobs in order, some of them ahead. Its workers stay until it is closed or dropped."""

    def __init__(
        self, files: ImageFiles, augment: Augment, keeping: Keeping, *, pin: bool = False, count: bool = False
    ):
        """`pin`: into memory that a GPU copies from. `count`: no pixels but int64[256], how often each value occurs."""
        self._decoding, self._pin = _Decoding(files, augment, count), pin
        self._workers = workers_for(files, keeping)
        self._jobs = _Jobs()
        self._loader: DataLoader[Any] | None = None
        self._running: Iterator[Any] | None = None

    def run(self, jobs: Sequence[Job]) -> Iterator[Tensor]:
        """uint8[k, channels, height, width] of each job, in their order; one run at a time.

        Raises DataError for an image that cannot be decoded, RunFailedError when a worker has died.
        """
        self._jobs.now = jobs
        self._loader = self._loader or self._start()
        self._running = iter(self._loader)
        for _ in jobs:
            try:
                done = next(self._running)
            except (RuntimeError, OSError, EOFError) as error:
                # A broken connection: it died while it handed something over.
                if not self._workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
                    raise
                raise RunFailedError(
                    f"a process that decodes images has died ({str(error).rstrip('.')}). Memory may have been short, "
                    "or shared memory (/dev/shm). Try fewer with --set data.workers=1, or none with 0."
                ) from error
            if isinstance(done, _Broken):
                self.close()
                raise DataError(done.message)
            yield done

    def close(self) -> None:
        """End the workers now. Left to the garbage collector, they are waited for in vain; a later run starts anew."""
        self._running = self._loader = None

    def _start(self) -> DataLoader[Any]:
        # Not forks of this process: they would hold the lock on its run for a while if it were killed, and a process
        # that has threads or a GPU must not fork.
        context = multiprocessing.get_context("forkserver") if self._workers else None
        if context is not None:
            context.set_forkserver_preload([__name__, f"{__package__}.data.decode"])  # imported once
        return DataLoader(
            self._decoding,
            sampler=self._jobs,
            batch_size=None,
            num_workers=self._workers,
            multiprocessing_context=context,
            worker_init_fn=_end_with_parent if self._workers else None,
            prefetch_factor=_AHEAD if self._workers else None,
            persistent_workers=self._workers > 0,
            pin_memory=self._pin,
            generator=torch.Generator(),  # the seed that it hands to its workers is not drawn from the run's numbers
        )


def workers_for(files: ImageFiles, keeping: Keeping) -> int:
    """How many processes decode `files`: those asked for, else one for each core that this process may use."""
    if keeping.workers is not None:
        return keeping.workers
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), len(files) // _WORTH_A_WORKER)


def spans(start: int, stop: int, shape: tuple[int, ...]) -> list[Job]:
    """Jobs for the images `start` to `stop` of this shape, of a size that suits a worker."""
    size = part_size(shape)
    return [Job(np.arange(first, min(first + size, stop))) for first in range(start, stop, size)]


def part_size(shape: tuple[int, ...]) -> int:
    """Images of this shape that a worker decodes at once."""
    return max(1, min(_WORTH_A_WORKER, _PART_BYTES // max(1, int(np.prod(shape)))))


def read(files: ImageFiles, keeping: Keeping) -> np.ndarray:
    """All of `files`, uint8[n, channels, height, width]; kept as `files.array`. Raises DataError."""
    if files.array is None:
        out = np.empty(files.shape, dtype=np.uint8)
        done = 0
        for part in _pass(files, keeping):
            out[done : done + len(part)] = part.numpy()
            done += len(part)
        files.array = out
    return files.array


def fits(files: ImageFiles, keeping: Keeping) -> bool:
    """Whether all of `files` may be decoded into the host's memory, or are there already."""
    budget = int(SHARE * free_memory(HOST)) if keeping.memory is None else keeping.memory
    return files.array is not None or files.nbytes <= budget


def grey_levels(files: ImageFiles, keeping: Keeping) -> np.ndarray:
    """int64[256]: how many of all pixels have each value. Keeps what it decodes where that fits. Raises DataError."""
    if fits(files, keeping):
        return levels_of(read(files, keeping))
    return sum((part.numpy() for part in _pass(files, keeping, count=True)), np.zeros(256, dtype=np.int64))


def _pass(files: ImageFiles, keeping: Keeping, *, count: bool = False) -> Iterator[Tensor]:
    """Once through all of `files`, in order."""
    decoder = Decoder(files, Augment(), keeping, count=count)
    try:
        yield from decoder.run(spans(0, len(files), files.shape[1:]))
    finally:
        decoder.close()
