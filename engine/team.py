"""The processes that work on a run together: one, or several under `accelerate launch` or `torchrun`.

They speak through a *board*, the key-value store that the launcher keeps for them.  Whoever waits there looks again and
again whether another process has failed: what ends one ends all of them, and one says why.  (A collective operation
would wait for the dead, deaf to signals.)  Only training uses collectives.
"""

import json
import os
import pickle
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from torch import distributed

from ..store import LyrxError
from .device import choose_device
from .errors import RunFailedError

T = TypeVar("T")

# Within training the others wait while the first one writes; that may take as long as it takes.
_PATIENCE = timedelta(days=7)

_NAPS = (0.0005, 0.02)
"""Seconds between two looks at the board: at first, and after a while."""

_HEARING = 5.0
"""Seconds that a process which failed gives the first one to hear of it."""

_SPEAKING = 1.0
"""Seconds that it has then to say why, before the launcher sees a process end and ends all others."""


class OtherFailedError(RunFailedError):
    """Another process of the team has failed; the message is its."""


class Board:
    """Notices that processes leave for each other. Every key is written once."""

    def __init__(self, token: str):
        """`token` tells the boards of several teams apart; all processes of a team give the same."""
        from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

        # Where the processes met when they started; torchrun keeps it in a process of its own, which outlives them.
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._store = PrefixStore(f"lyrx/{token}", TCPStore(host, port, is_master=False, wait_for_workers=False))

    def put(self, key: str, value: bytes) -> None:
        self._store.set(key, value)  # pyright: ignore[reportArgumentType]

    def claim(self, key: str, value: bytes) -> bytes:
        """Put `value` there unless something is there already; returns what is there now."""
        return self._store.compare_set(key, "", value.decode())

    def count(self, key: str, more: int = 1) -> int:
        """Count on; returns how many there are now."""
        return self._store.add(key, more)

    def note(self, key: str, word: str) -> None:
        """Add a word to the list at `key`."""
        self._store.append(key, f"{word} ")  # pyright: ignore[reportAttributeAccessIssue]

    def noted(self, key: str) -> list[str]:
        """The list at `key`."""
        return self._store.get(key).decode().split() if self._store.check([key]) else []

    def get(self, keys: Sequence[str]) -> list[bytes]:
        """What is at `keys`, which are all there."""
        return self._store.multi_get(list(keys)) if keys else []

    def has(self, key: str) -> bool:
        return self._store.check([key])

    def check(self) -> None:
        """Raises OtherFailedError, or KeyboardInterrupt, when a process has failed, or was interrupted."""
        if self.has("failed"):
            raise _error_of(json.loads(self._store.get("failed")))

    def wait(self, ready: Callable[[], bool]) -> None:
        """Until `ready`. Raises what `check` raises."""
        nap, most = _NAPS
        while not ready():
            self.check()
            time.sleep(nap)
            nap = min(most, nap * 1.2)


def _error_of(told: dict[str, Any]) -> BaseException:
    if told["interrupted"]:
        return KeyboardInterrupt()
    error = OtherFailedError(told["message"])
    error.exit_code = told["exit_code"]
    return error


class Colleagues:
    """This process among those that speak with each other."""

    def __init__(self, rank: int, size: int, board: Board | None):
        """`board` may be None where `size` is 1."""
        self.rank, self.size, self._board = rank, size, board
        self._told = self._met = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that decides, and speaks."""
        return self.rank == 0

    @property
    def board(self) -> Board:
        """Where the processes speak with each other; one alone has none."""
        assert self._board is not None
        return self._board

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """An error, or an interrupt, that leaves this block in one process leaves it in all of them.

        The others raise LyrxError with the message and the exit code.  The first process is to tell the user.  Where
        it is too busy to hear of the error, the error's `unheard` is set: then the process that failed is to tell.
        """
        try:
            yield
        except BaseException as error:
            told = None if self._board is None else self._tell_failure(error)
            if told is not None:
                raise told from error
            raise

    def _tell_failure(self, error: BaseException) -> BaseException | None:
        """What is to be raised in place of `error`, if anything is."""
        if isinstance(error, OtherFailedError):
            self._heard()
            return None
        said = str(error) if isinstance(error, LyrxError) else f"{type(error).__name__}: {error}"
        mine = {
            "rank": self.rank,
            "message": said if self.first else f"process {self.rank}: {said}",
            "exit_code": getattr(error, "exit_code", 1),
            "interrupted": isinstance(error, KeyboardInterrupt),
        }
        try:
            told = json.loads(self.board.claim("failed", json.dumps(mine).encode()))
            if told["rank"] != self.rank:
                # The launcher ends the others, and connections break, when one has gone: it is the first that counts.
                self._heard()
                return None if told["message"].endswith(said) else _error_of(told)
            if self.first or told["interrupted"]:
                return None
            until = time.monotonic() + _HEARING
            while not self.board.has("heard") and time.monotonic() < until:
                time.sleep(_NAPS[1])
            error.unheard = not self.board.has("heard")  # type: ignore[attr-defined]
            time.sleep(_SPEAKING)
        except distributed.DistError:
            error.unheard = not self.first  # type: ignore[attr-defined]
        return None

    def _heard(self) -> None:
        if self.first:
            self.board.put("heard", b"yes")
        else:
            time.sleep(_SPEAKING)

    def lead(self, action: Callable[[], T]) -> T | None:
        """Do something in the first process only; the others wait until it is done.

        Returns its result in the first process, None in the others.  See `ending_together` for its errors.
        """
        result = action() if self.first else None
        self.tell(None)
        return result

    def tell(self, value: Any) -> Any:
        """The first process's `value`, in every process."""
        if self.size == 1:
            return value
        self._told += 1
        key = f"told {self._told}"
        if self.first:
            self.board.put(key, pickle.dumps(value))
            return value
        self.board.wait(lambda: self.board.has(key))
        # From a process of this very program, as a collective of torch would bring it.
        return pickle.loads(self.board.get([key])[0])

    def collect(self, value: T) -> list[T]:
        """Every process's `value`, in each of them, by rank."""
        if self.size == 1:
            return [value]
        self._met += 1
        keys = [f"met {self._met} {rank}" for rank in range(self.size)]
        self.board.put(keys[self.rank], pickle.dumps(value))
        self.board.wait(lambda: all(map(self.board.has, keys)))
        return list(map(pickle.loads, self.board.get(keys)))

    def wait(self) -> None:
        """Until all processes are here."""
        self.collect(None)

    def all_done(self) -> bool:
        """Whether all have come to their end without a failure. The first one, which may keep the board, waits."""
        if self._board is None:
            return True
        try:
            self._board.count("done")
            while self.first and self._board.count("done", 0) < self.size and not self._board.has("failed"):
                time.sleep(_NAPS[0])
            return not self._board.has("failed")
        except distributed.DistError:
            return False


class Team(Colleagues):
    """The processes that the launcher started, which may also train together."""

    def __init__(self, device: str = "auto"):
        on_cpu = choose_device(device).type == "cpu"
        # How is computed says the spec, not what `accelerate launch` was given or its configuration file says.
        self.accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="no",
            dynamo_backend="no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
        )
        self.device: torch.device = self.accelerator.device
        rank, size = self.accelerator.process_index, self.accelerator.num_processes
        token = [uuid.uuid4().hex]
        if size > 1:
            broadcast_object_list(token, from_process=0)
        super().__init__(rank, size, Board(token[0]) if size > 1 else None)

    def close(self) -> None:
        """End the process group, if there is one."""
        if not self.all_done():
            return  # the others may be gone: nothing that waits for them
        self.accelerator.end_training()
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def processes() -> int:
    """How many processes the launcher started, as far as the environment says."""
    return int(os.environ.get("WORLD_SIZE", "1"))
