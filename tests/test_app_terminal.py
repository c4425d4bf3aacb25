"""The app in a real pseudo-terminal: colours, none of them, its end, sleep, and what it keeps."""

import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
from driving import WORKER
from lyrx.explorer.remembering import Remembering
from terminal import Terminal, explore

SGR = re.compile(rb"\x1b\[([0-9;:]*)m")


@pytest.fixture
def env(tmp_path, monkeypatch) -> dict[str, str]:
    """Of a person at an xterm, with a home of their own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return {
        **kept,
        "TERM": "xterm-256color",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


def numbers(raw: bytes) -> set[tuple[int, ...]]:
    """What the colour and style codes say, one instruction each: (1,) is bold, (38, 5, 17) a colour."""
    found: set[tuple[int, ...]] = set()
    for match in SGR.finditer(raw):
        rest = [int(part or 0) for part in re.split(rb"[;:]", match[1])]
        while rest:
            length = {5: 3, 2: 5}.get(rest[1], 1) if rest[0] in (38, 48) and len(rest) > 1 else 1
            found.add(tuple(rest[:length]))
            rest = rest[length:]
    return found


def coloured(codes: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
    return {code for code in codes if 30 <= code[0] <= 49 or 90 <= code[0] <= 107}


def look_around(terminal: Terminal) -> None:
    """The table, a heatmap, help, commands, errors."""
    terminal.until(lambda: "fcn-3x256" in terminal.text and "complete" in terminal.text)
    terminal.press("G\r")  # the oldest run is the last
    terminal.until(lambda: "baseline 1.52 %" in terminal.text and "77.8" in terminal.text)
    for key, words in (("?", "moving"), (":", "what to do"), ("!", "Nothing has gone wrong")):
        terminal.press(key)
        terminal.until(lambda words=words: words in terminal.text)
        terminal.press("\x1b")
        terminal.until(lambda words=words: words not in terminal.text)


def quit_app(terminal: Terminal) -> None:
    terminal.press("q")
    terminal.until(lambda: "5 runs" in terminal.text)
    terminal.press("q")
    terminal.until(terminal.ended)
    assert terminal.code == 0


def test_no_color_means_none(shown, env):
    with Terminal(explore(str(shown)), {**env, "NO_COLOR": "1", "COLORTERM": "truecolor"}) as terminal:
        look_around(terminal)
        quit_app(terminal)
        codes = numbers(terminal.raw)
    assert coloured(codes) == set()
    assert {(1,), (7,)} <= codes, "what stands out is bold or reversed"


@pytest.mark.parametrize(
    ("colours", "kinds"),
    [
        ({"TERM": "xterm-256color"}, {(38, 5), (48, 5)}),
        ({"TERM": "xterm"}, set()),
        ({"TERM": "xterm", "TEXTUAL_COLOR_SYSTEM": "256"}, {(38, 5), (48, 5)}),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, {(38, 2), (48, 2)}),
    ],
    ids=["256", "16", "256-asked", "truecolor"],
)
def test_only_colours_that_the_terminal_has(shown, env, colours: dict[str, str], kinds: set[tuple[int, int]]):
    with Terminal(explore(str(shown)), {**env, **colours}) as terminal:
        look_around(terminal)
        quit_app(terminal)
        found = coloured(numbers(terminal.raw))
    assert {code[:2] for code in found if len(code) > 1} == kinds
    if not kinds:
        assert len({code for code in found if code[0] in range(40, 48) or code[0] in range(100, 108)}) > 3


def test_where_one_was_is_opened_again(shown, env):
    with Terminal(explore(str(shown)), env) as terminal:
        terminal.until(lambda: "fcn-3x256" in terminal.text and "complete" in terminal.text)
        terminal.press("Gk\r")
        terminal.until(lambda: "fcn-again" in terminal.text and "4,000 of 10,000" in terminal.text)
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.until(terminal.ended)
        assert terminal.code == 128 + signal.SIGTERM
        assert b"\x1b[?1049l" in terminal.raw, "the terminal is as it was"
    with Terminal(explore(str(shown)), env) as terminal:
        terminal.until(lambda: "fcn-again" in terminal.text and "4,000 of 10,000" in terminal.text)
        quit_app(terminal)
    with Terminal(explore(str(shown)), env) as terminal:
        # The table was left last.
        terminal.until(lambda: "complete" in terminal.text and "5 runs" in terminal.text)
        terminal.press("q")
        terminal.until(terminal.ended)


def test_fresh_view_forgets_nothing_and_opens_the_table(shown, env, tmp_path):
    memory = Remembering(Path(shown))
    memory.keep_place(run="fcn-again")
    memory.write()
    with Terminal(explore(str(shown), "--fresh-view"), env) as terminal:
        terminal.until(lambda: "5 runs" in terminal.text)
        terminal.press("q")
        terminal.until(terminal.ended)


def test_a_lost_terminal_ends_the_app_and_its_worker_and_keeps_the_view(shown, env):
    worker = f"{sys.executable} {WORKER} --hold"
    with Terminal(explore(str(shown), "--run", "fcn-again", "--worker", worker), env) as terminal:
        terminal.until(lambda: "4,000 of 10,000" in terminal.text)
        terminal.until(lambda: psutil.Process(terminal.pid).children())
        [child] = psutil.Process(terminal.pid).children()
        terminal.hang_up()
        terminal.until(terminal.ended)
        assert terminal.code == 128 + signal.SIGHUP
        terminal.until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert Remembering(Path(shown)).run == "fcn-again"


def test_sleep_and_back(shown, env):
    with Terminal(explore(str(shown), "--run", "fcn-3x256"), env) as terminal:
        terminal.until(lambda: "77.8" in terminal.text)
        terminal.press("\x1a")
        terminal.until(terminal.stopped)
        terminal.screen.reset()
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.until(lambda: "77.8" in terminal.text)
        quit_app(terminal)


def test_tiny_and_back(shown, env):
    with Terminal(explore(str(shown), "--run", "fcn-3x256"), env) as terminal:
        terminal.until(lambda: "77.8" in terminal.text)
        for size in ((20, 5), (1, 1), (200, 50), (39, 11), (50, 24)):
            terminal.resize(*size)
        # At 50 columns there is no room for "whole network", which the first screen said.
        terminal.until(lambda: "fc1 at checkpoint 0" in terminal.text and "critical" in terminal.text)
        terminal.until(lambda: "  network  " in terminal.text and "whole" not in terminal.text)
        quit_app(terminal)


def test_settings_are_used_and_what_is_wrong_with_them_is_told(shown, env, tmp_path):
    (tmp_path / "lyrx.toml").write_text('thme = "nord"\n[keys]\n"heatmap.metric" = "n"\n"heatmap.metrik" = "N"\n')
    with Terminal(
        explore(str(shown), "--run", "fcn-3x256"), {**env, "LYRX_CONFIG": f"{tmp_path}/lyrx.toml"}
    ) as terminal:
        terminal.until(lambda: "77.8" in terminal.text and "a setting is not used" in terminal.text)
        terminal.press("n")
        terminal.until(lambda: "test loss" in terminal.text)
        terminal.press("!")
        terminal.until(lambda: "'theme'" in terminal.text and "'heatmap.metric'" in terminal.text)
        terminal.press("q")
        terminal.until(lambda: "'theme'" not in terminal.text)
        quit_app(terminal)


def test_settings_that_are_not_there_are_an_error(shown, env, tmp_path):
    with Terminal(explore(str(shown)), {**env, "LYRX_CONFIG": str(tmp_path / "none.toml")}) as terminal:
        terminal.until(terminal.ended)
        terminal.until(lambda: "there is no such file" in " ".join(terminal.text.split()))
        assert terminal.code == 2
