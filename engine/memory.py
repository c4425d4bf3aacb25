"""How many examples a forward takes."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from .forwards import Forwards, Row

SHARE = 0.5
"""Of the memory that is free, if nothing else is said."""

WORKING_SET = {"cpu": 128 * 2**20, "cuda": 8 * 2**30}
"""Bytes that a forward of one batch touches at its fullest: more examples than this do not make it faster, and a cancel
would wait longer."""

NO_ROOM = "what must be kept of a single example does not fit into memory"

LARGEST = 2048
"""Examples a batch at most, so that a picture of few examples has several looks."""


class BatchSize:
    """Examples a forward: halved when memory does not suffice, and remembered."""

    def __init__(self, size: int):
        self.now = size

    def halve(self, tried: int) -> bool:
        """Make do with half of the `tried` examples; False when there is nothing left to halve."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.now = max(1, min(self.now, tried) // 2)
        return tried > 1


def choose_batch_size(forwards: Forwards, rows: Sequence[Row], device: torch.device, budget: int | None) -> int:
    """A power of two that fits into `budget` bytes (None: a share of what is free) and keeps the device busy.

    `forwards` has been prepared: what one example takes is known from it.  Where the record of a single example does
    not fit, it goes over to full forwards.  Where nothing can be found out, it is what has been tried already.
    """
    peak, kept = forwards.memory(rows)
    if not peak:
        return 2 ** (min(forwards.tried, LARGEST).bit_length() - 1)  # nothing else is known to fit
    budget = budget_of(budget, device)
    fitting = budget // max(1, 2 * peak + kept)  # twice: an allocator does not pack without gaps
    if not fitting and kept:
        forwards.give_up(NO_ROOM)
        fitting = budget // max(1, 2 * peak)
    useful = WORKING_SET.get(device.type, WORKING_SET["cpu"]) // max(1, peak)
    size = max(1, min(fitting, useful, LARGEST))
    return 2 ** (size.bit_length() - 1)


def budget_of(given: int | None, device: torch.device) -> int:
    """Bytes that batches may take: those `given` for a machine's memory, or a share of what is free.

    Of a host's, this process's part of what a launcher's processes there have together.
    """
    if given is None:
        return int(SHARE * free_memory(device))
    return given if device.type == "cuda" else given // _processes()


def free_memory(device: torch.device) -> int:
    """Bytes on a device that nobody uses; of a host's, the share of each process that a launcher started there.

    Of a host's also no more than what its container, or a scheduler's job, may still take.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return min([psutil.virtual_memory().available, *control_group_room()]) // _processes()


def _processes() -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def control_group_room(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Bytes that this process's control group and each of those above it may still take, where they have a limit.

    What the kernel keeps of files that were read is counted as taken, but given back when it is needed.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return []  # not Linux
    found = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if not controllers:
            top, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = top / path.lstrip("/")
        while folder == top or top in folder.parents:
            if (room := _room(folder, *names)) is not None:
                found.append(room)
            folder = folder.parent
    return found


def _room(folder: Path, limit: str, taken: str, reclaimable: str) -> int | None:
    try:
        most = int((folder / limit).read_text())  # 'max' is no limit
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, most - int((folder / taken).read_text()) + int(stat.get(reclaimable, 0)))
    except (OSError, ValueError):
        return None
