"""What went wrong with measuring, in words: each says where, and what to do."""

import pytest
from lyrx.explorer.core.troubles import of_damage, of_death, of_message, of_store

KEY = ("fcn", "layer-1")


@pytest.mark.parametrize(
    ("message", "title", "todo"),
    [
        ("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "out of memory", "probe.memory"),
        ("RuntimeError: [enforce fail] can't allocate memory", "out of memory", "probe.memory"),
        ("OSError: [Errno 28] No space left on device", "no room on the disk", "Make room"),
        ("run 'fcn' is being written by process 7 (batch).", "measuring was refused", "wait until that is done"),
        ("there is no store at /data/lyrx.zarr.", "the store is not there", "mounted"),
        ("OSError: [Errno 116] Stale file handle", "the store is not there", "mounted"),
        ("OSError: [Errno 30] Read-only file system: 'x'", "the store cannot be written", "right to write"),
        ("the store has no run 'fcn'", "the run is not there", "table of runs"),
        ("NetworkFailedError: the network fails with fc1", "measuring failed", "other cells"),
    ],
)
def test_a_message_becomes_what_where_and_what_to_do(message: str, title: str, todo: str):
    trouble = of_message(message, KEY, "fc1 at checkpoint 8")
    assert trouble.title == title
    assert trouble.what == f"fc1 at checkpoint 8, run 'fcn': {message}"
    assert todo in trouble.todo


def test_a_death_says_what_it_was_at_and_what_becomes_of_the_rest():
    next_ = " Another one takes over."
    killed = of_death("killed by SIGKILL", "", True, "fc1 at checkpoint 8, run 'fcn'", "/log", next_)
    assert killed.title == "the worker was killed"
    assert killed.what == (
        "the worker died while it measured fc1 at checkpoint 8, run 'fcn': killed by SIGKILL. Another one takes over."
    )
    assert "dmesg" in killed.todo
    full = of_death("exit code 1", "torch.OutOfMemoryError: CUDA out of memory", True, "", "", "")
    assert full.title == "out of memory"
    unborn = of_death("cannot be started: No such file: ssh", "", False, "", "", "")
    assert (unborn.title, "--worker" in unborn.todo) == ("the worker cannot be started", True)


@pytest.mark.parametrize(
    ("message", "title", "todo"),
    [
        ("the store lyrx.zarr was removed.", "the store is not there", "mounted"),
        ("there is no store at lyrx.zarr. `lyrx batch` makes one", "the store is not there", "mounted"),
        ("the store cannot be read: Stale file handle (zarr.json).", "the store is not there", "mounted"),
        ("the run 'fcn' was removed.", "the run is not there", "still shown"),
        ("/data/zarr.json is damaged: it lacks a schema.", "damaged: it is not what was committed", "lyrx check /data"),
        ("no answer from the store for 10 s", "the store cannot be read", "again and again"),
    ],
)
def test_trouble_with_the_store_says_what_to_do(message: str, title: str, todo: str):
    trouble = of_store(message, "/data")
    assert (trouble.title, todo in trouble.todo) == (title, True)


def test_much_damage_is_told_in_few_lines():
    told = of_damage([f"cell {number} is damaged\x1b[31m" for number in range(30)], "/data").what.splitlines()
    assert told[0] == "cell 0 is damaged\\x1b[31m"
    assert (len(told), told[-1]) == (9, "and 22 more")
