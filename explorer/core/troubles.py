"""What can go wrong with measuring, in words: what happened, where, and what to do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...store import inert
from .doing import ProbeKey

_NO_MEMORY = re.compile(r"out of memory|OutOfMemory|MemoryError|can.?t allocate memory|cannot allocate memory", re.I)
_NO_ROOM = re.compile(r"no space left|disk quota", re.I)
_NO_WRITING = re.compile(r"read-only|permission denied|cannot be written|not writable", re.I)
_NO_STORE = re.compile(r"there is no store|is no store|stale file handle|transport endpoint|input/output error", re.I)
_NO_RUN = re.compile(r"no run '", re.I)
_REMOVED = re.compile(r"^the (run|store) .* was removed\.", re.I)
_LOCKED = re.compile(r"is being written", re.I)

_LESS_MEMORY = (
    "Give the batches less memory: --set probe.memory=2GiB with `lyrx probe`, or probe.batch_size; or free memory by "
    "ending other programs on the device. What was committed before is kept."
)


@dataclass(frozen=True)
class Trouble:
    """An incident for the app's panel of errors."""

    title: str
    what: str
    todo: str


def of_message(message: str, key: ProbeKey | None, where: str) -> Trouble:
    """What a worker refused or could not carry out. `where`: the cells, in words."""
    place = f"{where}, run '{inert(key[0])}'" if key and where else f"run '{inert(key[0])}'" if key else where
    said = f"{place}: {message}" if place else message
    if _NO_MEMORY.search(message):
        return Trouble("out of memory", said, _LESS_MEMORY)
    if _NO_ROOM.search(message):
        return Trouble("no room on the disk", said, "Make room where the store lies, then ask again.")
    if _LOCKED.search(message):
        todo = "Somebody else writes this run: wait until that is done, or end it, then ask again."
        return Trouble("measuring was refused", said, todo)
    if _NO_STORE.search(message):
        todo = "Is its disk mounted, and the network there? When it is back, ask again; what is shown was read before."
        return Trouble("the store is not there", said, todo)
    if _NO_RUN.search(message):
        return Trouble("the run is not there", said, "Go back to the table of runs: it may have another name by now.")
    if _NO_WRITING.search(message):
        return Trouble("the store cannot be written", said, "Get the right to write to its folder, or work on a copy.")
    return Trouble("measuring failed", said, "Ask again when that is mended; other cells can still be measured.")


def of_store(message: str, store: str) -> Trouble:
    """What following the store at `store` met: it is not there, a run is not, or it cannot be read."""
    removed = _REMOVED.match(message)
    if _NO_STORE.search(message) or (removed and removed[1].lower() == "store"):
        # One thing, in the same words, whichever screen meets it first.
        return Trouble(
            "the store is not there",
            f"there is nothing to be read at {inert(store)}",
            "Is its disk mounted, and the network there? It is looked for again and again, and the app goes on when it "
            "is back; what was read before is still shown.",
        )
    if removed or _NO_RUN.search(message):
        todo = "Another program removed or renamed it. What was read before is still shown, and can be exported."
        return Trouble("the run is not there", message, todo)
    if "damaged" in message:
        return of_damage([message], store)
    return Trouble("the store cannot be read", message, "It is looked at again and again, and the app goes on then.")


_NAMED = 8
"""Damaged places that are named before it says how many more."""


def of_damage(problems: Sequence[str], store: str) -> Trouble:
    """What is committed and is not what was committed."""
    more = len(problems) - _NAMED
    said = [*map(inert, problems[:_NAMED]), *([f"and {more} more"] if more > 0 else [])]
    return Trouble(
        "damaged: it is not what was committed",
        "\n".join(said),
        f"`lyrx check {inert(store)}` verifies all of the store. A cell that is marked × is measured anew by enter; "
        "weights come back from a copy, or by training anew.",
    )


def of_death(reason: str, last_words: str, ready: bool, where: str, log: str, next_: str) -> Trouble:
    """A worker that ended and was not told to.  `where`: what it was at, `next_`: what becomes of the rest."""
    at = f" while it measured {where}" if where else ""
    said = f"the worker died{at}: {reason}{f': {last_words}' if last_words else ''}.{next_}"
    if not ready:
        todo = "Look at its last words above, and at the log"
        if reason.startswith("cannot be started"):
            todo = "Look whether the command given as --worker is right; without it lyrx starts its own"
        return Trouble("the worker cannot be started", said, f"{todo}{_log(log)}. Then ask again.")
    if _NO_MEMORY.search(last_words):
        return Trouble("out of memory", said, _LESS_MEMORY)
    if "SIGKILL" in reason:
        todo = (
            "If nobody killed it, the machine ran out of memory: see `dmesg`. "
            f"Then give the batches less (probe.memory), or free some{_log(log)}. Enter measures the cell again."
        )
        return Trouble("the worker was killed", said, todo)
    return Trouble("the worker died", said, f"Its errors are in the log{_log(log)}. Enter measures the cell again.")


def too_old(lyrx: str) -> str:
    """Why a worker cannot plan."""
    return (
        f"the worker is lyrx {inert(lyrx)}, too old to prepare joint resets and other granularities. "
        "Install a newer lyrx where it runs; `lyrx probe --joint` there does the same."
    )


def _log(path: str) -> str:
    return f" ({inert(path)})" if path else ""
