"""Trainings that outlive who started them, and what is said of them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lyrx.explorer import specfiles, trainings
from lyrx.explorer.core import speclist
from lyrx.explorer.core.logtext import LogText, last_words, layout, styled, wrapped
from lyrx.explorer.core.training import Seen, bar, duration, how, note, seconds_left, share, state_line
from lyrx.explorer.detached import exit_path
from lyrx.explorer.logfile import LogFile
from lyrx.explorer.paths import trainings_folder
from lyrx.explorer.watching import TrainingFeed
from lyrx.store import Store
from running import write_spec

FAKE = (sys.executable, str(Path(__file__).with_name("fake_training.py")))


def wait(condition: Callable[[], object]) -> None:
    """For what another process brings about."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def begun(tmp_path, state):
    """Start a fake training of a run of some name; all are ended with the test."""
    started: list[trainings.Training] = []

    def begin(name: str = "r") -> trainings.Training:
        spec = write_spec(tmp_path / f"{len(started)}.toml", run={"name": name})
        store = tmp_path / "s.zarr"
        started.append(trainings.start([*FAKE, "batch", str(spec)], run=name, store=store, spec=spec))
        return started[-1]

    yield begin
    for training in started:
        if training.alive():
            training.kill()
            wait(lambda training=training: not training.alive())


def test_it_has_a_session_of_its_own_and_is_found_again(begun, tmp_path):
    training = begun()
    assert training.pid
    assert os.getsid(training.pid) not in (os.getsid(0), training.pid), "that of the process that keeps its exit status"
    assert Path(f"/proc/{training.pid}/fd/0").resolve() == Path(os.devnull)
    assert training.alive()
    assert training.ending() is None
    assert trainings.newest("r", tmp_path / "s.zarr") == training
    assert trainings.newest("r", tmp_path / "other.zarr") is None
    assert trainings.newest("q", tmp_path / "s.zarr") is None
    wait(lambda: "new, 9 epochs" in training.log.read_text())
    assert training.log.name.startswith("r-20")


def test_it_outlives_who_started_it(tmp_path, state):
    spec = write_spec(tmp_path / "spec.toml")
    code = (
        "from pathlib import Path; from lyrx.explorer import trainings as t; import os\n"
        f"t.start({[*FAKE, 'batch', str(spec)]!r}, run='r', store=Path('s.zarr'), spec=Path('spec.toml'))\n"
        "os.kill(os.getpid(), 9)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True)
    assert process.wait(30) == -9
    training = trainings.newest("r", tmp_path / "s.zarr")
    assert training is not None
    assert training.alive()
    wait(lambda: "new, 9 epochs" in training.log.read_text())
    training.stop()
    wait(lambda: not training.alive())
    ending = training.ending()
    assert ending is not None
    assert ending.code == 130


def test_stopping_ends_it_with_interrupted(begun):
    training = begun()
    wait(lambda: "new, 9 epochs" in training.log.read_text())
    training.stop()
    wait(training.ending)
    assert training.ending().code == 130
    assert "interrupted" in training.log.read_text()
    with pytest.raises(trainings.TrainingError, match="not under way"):
        training.stop()
    again = trainings.read(training.path)
    assert again is not None
    assert again.asked_to_stop is not None


def test_one_that_does_not_end_is_killed(begun):
    training = begun("stubborn")
    wait(lambda: "new, 9 epochs" in training.log.read_text())
    training.stop()
    assert training.alive()
    training.kill()
    wait(training.ending)
    assert training.ending().code == -9


def test_one_that_dies_at_once_leaves_its_words(begun, tmp_path):
    training = begun("dies")
    wait(training.ending)
    assert training.ending().code == 2
    seen = TrainingFeed(tmp_path / "s.zarr", "dies").poll()
    assert seen.phase == "failed"
    assert note(seen) == ("s starts it again  ·  there is no data set here. Put it there.", True)


def test_two_of_one_run_are_refused_and_another_store_is_another_run(begun, tmp_path):
    training = begun()
    with pytest.raises(trainings.TrainingError, match=f"being trained already, by process {training.pid}"):
        begun()
    other = trainings.start(training.command, run="r", store=tmp_path / "t.zarr", spec=training.spec)
    other.kill()
    wait(other.ending)


def test_it_is_started_again_by_the_same_command(begun):
    first = begun()
    first.stop()
    wait(first.ending)
    second = trainings.again(first)
    try:
        assert second.command == first.command
        assert second.path != first.path
        assert second.alive()
    finally:
        second.kill()
        wait(second.ending)


def test_a_command_that_is_not_there_leaves_nothing_behind(tmp_path, state):
    with pytest.raises(trainings.TrainingError, match=r"No such file.*nowhere.*Nothing was started"):
        trainings.start([str(tmp_path / "nowhere")], run="r", store=tmp_path / "s.zarr", spec=tmp_path)
    assert list(trainings_folder().iterdir()) == []


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(trainings.TrainingError, match=r"cannot be kept in .*XDG_STATE_HOME.*Nothing was started"):
        trainings.start(["true"], run="r", store=tmp_path / "s.zarr", spec=tmp_path)


def test_the_number_of_a_dead_process_is_not_believed(begun):
    training = begun()
    training.kill()
    wait(training.ending)
    exit_path(training.path).unlink()
    # Another process has got the number: this one.
    reused = replace(training, pid=os.getpid(), keeper=(os.getpid(), training.keeper[1]))
    assert reused.alive() is False
    assert reused.ending() == trainings.Ending(None, training.log.stat().st_mtime), "nobody saw its end"
    with pytest.raises(trainings.TrainingError):
        reused.stop()


def test_of_another_machine_nothing_is_claimed(begun):
    training = replace(begun(), host="elsewhere")
    assert training.alive() is None
    assert training.ending() is None
    with pytest.raises(trainings.TrainingError, match="started on elsewhere: stop it there"):
        training.kill()


def test_records_that_are_damaged_are_passed_over(begun, tmp_path):
    training = begun()
    for number, text in enumerate(("", "[]", "{}", '{"run": 3}', "\x00")):
        (training.path.parent / f"r-{number}.json").write_text(text)
    assert trainings.known(tmp_path / "s.zarr") == [training]
    training.kill()
    wait(training.ending)  # or nobody would know any more that it is to be ended
    exit_path(training.path).write_text("{")
    assert training.ending() is not None, "an exit status that cannot be read is none, and the end unseen"


def test_old_files_are_swept(begun):
    training = begun()
    training.kill()
    wait(training.ending)
    old = time.time() - 100 * 24 * 3600
    os.utime(exit_path(training.path), (old, old))
    begun("q")
    assert not training.path.exists()
    assert not training.log.exists()


def test_names_of_runs_become_names_of_files(begun):
    assert begun("a/../b \x1b[31m").log.name.startswith("a-..-b-31m-")
    assert begun("..").log.name.startswith("run-")


def test_the_commands():
    spec, store = Path("/s.toml"), Path("/s.zarr")
    plain = trainings.batch_command(spec, store, ["--set", "train.epochs=3"])
    assert plain[1:] == ("-m", "lyrx.explorer.cli", "batch", "/s.toml", "--store", "/s.zarr", "--set", "train.epochs=3")
    assert trainings.shown_command(plain) == "lyrx batch /s.toml --store /s.zarr --set train.epochs=3"
    cpus = trainings.shown_command(trainings.batch_command(spec, store, [], 2))
    assert cpus == (
        "python -m torch.distributed.run --rdzv_backend c10d --rdzv_endpoint localhost:0 --nproc_per_node 2 "
        "-m lyrx.explorer.cli batch /s.toml --store /s.zarr"
    )
    gpus = trainings.shown_command(trainings.batch_command(spec, store, [], 2, gpus=2))
    assert gpus == (
        "python -m accelerate.commands.launch --multi_gpu --num_processes 2 "
        "-m lyrx.explorer.cli batch /s.toml --store /s.zarr"
    )


def test_gpus_are_counted_without_torch(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert trainings.gpu_count() == 2
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert trainings.gpu_count() == 0


# The log


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"a\nb", ("a", "b")),
        (b"a\r\nb\n", ("a", "b")),
        (b" 10 %\r100 %\n", ("100 %",)),
        (b"longer\rab", ("abnger",)),
        (b"longer\r\x1b[Kab", ("ab",)),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07end", ("red end",)),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", ("link",)),
        (b"bell\x07 \x9b31m", ("bell\\x07 \ufffd31m",)),
        ("\u202egnp".encode(), ("\\u202egnp",)),
        (b"ab\x08c", ("ac",)),
        (b"a\tb", ("a       b",)),
        (b"\xff\xfe", ("\ufffd\ufffd",)),
        (b"\x1b", ()),
    ],
)
def test_a_log_is_read_as_a_terminal_would_have_left_it(written: bytes, lines: tuple[str, ...]):
    whole, bitwise = LogText(), LogText()
    whole.feed(written)
    for number in range(len(written)):
        bitwise.feed(written[number : number + 1])
    assert whole.lines == bitwise.lines == lines


def test_only_the_last_lines_are_kept_and_no_endless_one():
    log = LogText(most=10)
    log.feed(b"".join(b"%d\n" % number for number in range(1000)))
    assert log.lines == tuple(map(str, range(990, 1000)))
    log.feed(b"x" * 1_000_000 + b"\n")
    assert len(log.lines[-1]) == 4_000


def test_long_lines_are_wrapped_and_nothing_is_lost():
    line = "2026-01-01 00:00:00 r: " + "word " * 30 + "x" * 50 + " 世界" * 9
    for width in (8, 20, 33, 80):
        pieces = wrapped(line, width)
        assert "".join(pieces).replace(" ", "") == line.replace(" ", "")
        assert all(len(piece) <= width for piece in pieces)
    assert layout(["", "a" * 9], 8) == [(0, ""), (1, "a" * 8), (1, "a")]
    assert wrapped("", 10) == ("",)


def test_what_went_wrong_stands_out():
    assert styled("lyrx: no", "lyrx: no").style == "alarm"
    assert styled("lyrx: interrupted.", "lyrx: interrupted.").style == ""
    assert styled("ValueError: x", "ValueError: x").style == "alarm"
    stamp = styled("2026-01-01 00:00:00 r: x", "2026-01-01 00:00:00 r: x")
    assert [(span.start, span.end, span.style) for span in stamp.spans] == [(0, 20, "muted")]
    assert last_words(("lyrx: said", "more", "")) == "said"
    assert last_words(("a", "b ", "")) == "b"
    assert last_words(()) == ""


def test_a_growing_file_is_followed_and_a_new_one_noticed(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    log = LogFile(path)
    assert log.poll() == ("one", "tw")
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert log.poll() == ("one", "two", "three")
    path.write_bytes(b"anew\n")
    assert log.poll() == ("anew",)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        log.poll()


def test_of_a_long_file_only_the_end_is_read(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 99 + b"\n" + (b"y" * 99 + b"\n") * 20_000)
    log = LogFile(path)
    assert len(log.poll()) == 2_000
    assert set(log.poll()) == {"y" * 99}


# What is said


def seen(**changes) -> Seen:
    base = Seen("r", ours=True, alive=True, writer="process 1", pid=1, command="lyrx batch", log="l", started=100.0)
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("changes", "phase", "words"),
    [
        ({}, "working", "◐ training"),
        ({"writer": ""}, "starting", "◌ starting"),
        ({"asked_to_stop": 1.0}, "stopping", "◌ stopping"),
        ({"alive": False, "writer": "", "code": 0}, "done", "● complete"),
        ({"alive": False, "writer": "", "code": 130}, "interrupted", "○ interrupted"),
        ({"alive": False, "writer": "", "code": 1, "asked_to_stop": 1.0}, "interrupted", "○ interrupted, as asked"),
        ({"alive": False, "writer": "", "code": -9, "asked_to_stop": 1.0}, "interrupted", "○ killed, as asked"),
        ({"alive": False, "writer": "", "code": 2}, "failed", "× failed: refused (exit code 2)"),
        ({"alive": False, "writer": "", "code": -9}, "failed", "× failed: killed by SIGKILL, perhaps out of memory"),
        ({"alive": False, "writer": ""}, "unseen", "○ ended, unseen"),
        ({"alive": False, "code": 1}, "elsewhere", "◐ training, not from here"),
        ({"alive": None, "writer": "", "host": "box"}, "idle", "○ nothing is under way"),
        ({"ours": False, "alive": None, "writer": ""}, "idle", "○ nothing is under way"),
        ({"ours": False, "alive": None}, "elsewhere", "◐ training, not from here"),
    ],
)
def test_how_it_goes_in_words(changes, phase, words):
    one = seen(**changes)
    assert one.phase == phase
    assert state_line(one, 200.0, 100).plain.startswith(words)
    assert note(one)[0] or phase in ("working", "done")
    assert one.stoppable == (phase in ("starting", "working", "stopping"))
    if phase == "elsewhere":
        assert note(one)[0].startswith("stop it "), "why there is no key"


def test_progress_and_time_left(filled):
    feed = TrainingFeed(filled, "resnet18")
    picture = feed.poll().picture
    assert picture is not None
    assert seconds_left(picture) == pytest.approx(58 * 1.4)
    one = seen(picture=picture)
    assert share(one) == 0.42
    line = state_line(one, 160.0, 100).plain
    for words in ("epoch 42 of 100", "━━", "42 %", "1:00 min so far", "about 1:21 min left"):
        assert words in line
    assert len(state_line(one, 160.0, 40).plain) <= 44, "what does not fit is left out"
    complete = TrainingFeed(filled, "fcn-3x256").poll()
    assert complete.phase == "done"
    assert complete.picture is not None
    assert seconds_left(complete.picture) is None


def test_small_words():
    assert [duration(s) for s in (0, 59.4, 60, 754, 3600 * 3 + 300, 100_000)] == [
        "0 s", "59 s", "1:00 min", "12:34 min", "3:05 h", "1 d 3 h",
    ]  # fmt: skip
    assert bar(0.5, 10).plain == "━━━━━╌╌╌╌╌"
    assert bar(2, 4).plain == "━━━━"
    assert how(-15) == "killed by SIGTERM"
    assert how(-99) == "killed by signal 99"


def test_a_run_that_nobody_knows(tmp_path, state):
    Store.open_or_create(tmp_path / "s.zarr")
    assert TrainingFeed(tmp_path / "s.zarr", "r").poll().problem.endswith("has no run 'r'.")


# Spec files


def test_specs_are_found_and_other_files_are_not(tmp_path):
    write_spec(tmp_path / "mine.toml")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "examples" / "paper").mkdir(parents=True)
    write_spec(tmp_path / "examples" / "paper" / "deep.toml", train={"epochs": 7, "checkpoints": []})
    (tmp_path / "examples" / "broken.toml").write_text("[run\n")
    (tmp_path / "examples" / ".hidden").mkdir()
    write_spec(tmp_path / "examples" / ".hidden" / "no.toml")
    found = specfiles.find_specs(tmp_path)
    assert [(one.group, one.name, one.broken) for one in found] == [
        (".", "mine.toml", False),
        ("examples", "broken.toml", True),
        ("examples/paper", "deep.toml", False),
    ]
    assert found[2].about == ("fcn", "digits", "7 epochs")
    assert [one.name for one in speclist.matching(found, "paper 7")] == ["deep.toml"]
    assert speclist.matching(found, "nothing") == []


def test_every_example_is_found():
    root = Path(__file__).parent.parent
    found = {one.path for one in specfiles.find_specs(root)}
    assert found == set((root / "examples").rglob("*.toml"))


def test_paths_are_completed(tmp_path):
    (tmp_path / "specs").mkdir()
    write_spec(tmp_path / "specs" / "one.toml")
    write_spec(tmp_path / "specs" / "once.toml")
    (tmp_path / "specs" / "note.txt").touch()
    assert specfiles.completed("./sp", tmp_path) == "./specs/"
    assert specfiles.completed("./specs/o", tmp_path) == "./specs/on"
    assert specfiles.completed("./specs/n", tmp_path) is None
    assert [one.name for one in specfiles.completions("./specs/on", tmp_path)] == ["once.toml", "one.toml"]
    assert [one.name for one in specfiles.completions("specs/", tmp_path)] == ["once.toml", "one.toml"]
    (nothing,) = specfiles.completions("specs/x.toml", tmp_path)
    assert nothing.broken
    assert nothing.path == tmp_path / "specs" / "x.toml"
    assert [speclist.is_path(typed) for typed in ("a/b", "~", "./x", "x.toml", "resnet 18")] == [True] * 4 + [False]


def test_options_are_split_where_a_person_means_it():
    assert speclist.split_options('train.epochs=3  --set probe.at=[0, "1 2"] --exact') == [
        "--set", "train.epochs=3", "--set", 'probe.at=[0, "1 2"]', "--exact",
    ]  # fmt: skip
    assert speclist.split_options("") == []
    for wrong, said in [("epochs", "section.key=value"), ("a.b=[1", "bracket"), ("a.b='x", "quotation")]:
        with pytest.raises(ValueError, match=said):
            speclist.split_options(wrong)


def test_a_spec_is_coloured_as_data():
    text = speclist.highlighted('# note\n[run]\nname = "x" # y\nseed = 3\nevil = "\x1b[31m[red]"\n')
    assert "\x1b" not in text.plain
    assert "[red]" in text.plain
    tones = {text.plain[span.start : span.end]: span.style for span in text.spans}
    assert tones["# note"] == "muted"
    assert tones["[run]"] == "accent bold"
    assert tones["name"] == "info"
    assert tones['"x"'] == "good"
    assert tones["3"] == "working"


def test_a_record_is_plain_json(begun):
    facts = json.loads(begun().path.read_text())
    assert {"run", "store", "spec", "command", "cwd", "started", "host", "pid", "created"} <= facts.keys()
