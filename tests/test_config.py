"""A person's settings and keys: what is used, and what is said about the rest."""

import tomllib

import pytest
from lyrx.explorer.config import Config, ConfigError, config_path, load, understand
from lyrx.explorer.core.keys import APP, LOOKING, MEASURING, MOVING, Key, checked, fitting, group_of
from lyrx.explorer.keys import all_keys, key_lines, normal_key

THEMES, RAMPS = ("lyrx-dark", "lyrx-light", "nord"), ("fire", "sea")
KNOWN = (
    Key("heatmap.metric", ("m",), "metric"),
    Key("heatmap.digits", ("d",), "digits"),
    Key("heatmap.up", ("up", "k"), "up"),
    Key("runs.mark", ("space",), "mark"),
    Key("app.help", ("question_mark",), "help"),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("LYRX_CONFIG", raising=False)
    (tmp_path / "lyrx").mkdir()
    return tmp_path / "lyrx"


def understood(text: str, tmp_path) -> Config:
    return understand(tomllib.loads(text), tmp_path / "config.toml", THEMES, RAMPS)


def test_all_of_it_is_understood(folder):
    (folder / "config.toml").write_text(
        'theme = "nord"\nramp = "sea"\ndigits = false\npoll_seconds = 5\n[keys]\n"heatmap.metric" = "m,ctrl+n"\n'
    )
    found = load(THEMES, RAMPS)
    assert (found.theme, found.ramp, found.digits, found.poll_seconds) == ("nord", "sea", False, 5.0)
    assert found.keys == {"heatmap.metric": "m,ctrl+n"}
    assert found.problems == ()
    assert found.path == folder / "config.toml"


def test_no_file_is_no_problem(folder):
    assert load(THEMES, RAMPS) == Config()
    assert config_path() == folder / "config.toml"


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ('theme = "nrod"', "theme", "Did you mean 'nord'?"),
        ("theme = 3", "theme", "is 3"),
        ('ramp = "water"', "ramp", "There are fire, sea."),
        ('digits = "yes"', "digits", "Write true or false"),
        ("poll_seconds = 0", "poll_seconds", "from 0.1 to 3600"),
        ("poll_seconds = true", "poll_seconds", "is True"),
        ("poll_seconds = nan", "poll_seconds", "is nan"),
        ('them = "nord"', "them", "Did you mean 'theme'?"),
        ("keys = 1", "keys", "must be a table"),
        ('[keys]\nheatmap.metric = "m"', "keys.heatmap", 'Names have quotes: "heatmap.NAME"'),
        ('[keys]\n"heatmap.metric" = 1', "keys.heatmap.metric", "is 1"),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_is_used(tmp_path, line: str, key: str, words: str):
    rest = 'ramp = "sea"' if line.startswith("theme") else 'theme = "nord"'
    found = understood(f"{rest}\n{line}\n" if not line.startswith("ramp") else f"{line}\n", tmp_path)
    assert [problem.key for problem in found.problems] == [key]
    assert words in f"{found.problems[0].what} {found.problems[0].todo}"
    assert line.startswith("ramp") or "sea" in (found.ramp or "") or found.theme == "nord"


def test_control_characters_of_the_file_do_not_reach_the_terminal(tmp_path):
    found = understood('theme = "\\u001b[31m"\n"\\u001b]0;x" = 1', tmp_path)
    assert "\x1b" not in "".join(f"{one.key}{one.what}{one.todo}" for one in found.problems)
    assert len(found.problems) == 2


def test_a_broken_file_is_a_problem_unless_it_was_asked_for(folder, monkeypatch):
    path = folder / "config.toml"
    path.write_text("theme = \n")
    found = load(THEMES, RAMPS)
    assert "cannot be read" in found.problems[0].what
    assert "line 1" in found.problems[0].what
    monkeypatch.setenv("LYRX_CONFIG", str(path))
    with pytest.raises(ConfigError, match="line 1"):
        load(THEMES, RAMPS)
    monkeypatch.setenv("LYRX_CONFIG", str(folder / "none.toml"))
    with pytest.raises(ConfigError, match="there is no such file"):
        load(THEMES, RAMPS)
    path.write_bytes(b"\xff\xfe")
    monkeypatch.delenv("LYRX_CONFIG")
    assert load(THEMES, RAMPS).problems


def keys_of(**wanted: str) -> tuple[dict[str, str], list]:
    return checked({name.replace("_", "."): keys for name, keys in wanted.items()}, KNOWN, normal_key)


def test_keys_are_taken():
    kept, problems = keys_of(heatmap_metric="n,ctrl+n", app_help="f1,?")
    assert kept == {"heatmap.metric": "n,ctrl+n", "app.help": "f1,question_mark"}
    assert problems == []


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("heatmap.metrik", "n", "'heatmap.metric'"),
        ("nothing", "n", "lyrx keys"),
        ("heatmap.metric", "n,ctrl+i", "terminals send 'ctrl+i' as tab"),
        ("heatmap.metric", "ctrl+h", "as backspace"),
        ("heatmap.metric", "ctrl+j", "as enter"),
        ("heatmap.metric", "Ctrl+M", "as enter"),
        ("heatmap.metric", "bogus", "'bogus' is no key"),
        ("heatmap.metric", "", "a key is missing"),
        ("heatmap.metric", "n,,m", "a key is missing"),
        ("heatmap.metric", "hyped+n", "is no key"),
        ("heatmap.metric", "d", "'d' is the key of 'heatmap.digits'"),
        ("heatmap.metric", "k", "'k' is the key of 'heatmap.up'"),
        ("heatmap.metric", "?", "'question_mark' is the key of 'app.help'"),
        ("app.help", "space", "the key of 'runs.mark'"),
    ],
)
def test_keys_are_refused_in_words(name: str, keys: str, words: str):
    kept, problems = checked({name: keys, "heatmap.up": "f9"} if keys != "k" else {name: keys}, KNOWN, normal_key)
    assert name not in kept
    assert [problem.id for problem in problems] == [name]
    assert words in f"{problems[0].what} {problems[0].todo}"
    assert keys == "k" or kept == {"heatmap.up": "f9"}


def test_keys_may_change_places_and_one_screen_may_use_anothers():
    kept, problems = keys_of(heatmap_metric="d", heatmap_digits="m", runs_mark="k")
    assert len(kept) == 3
    assert problems == []
    kept, problems = keys_of(heatmap_metric="z", heatmap_digits="z")
    assert len(kept) == 1, "of two that want the same key one gets it"
    assert len(problems) == 1


def test_groups():
    found = {name: group_of(name) for name in ("heatmap.up", "heatmap.all", "heatmap.metric-back", "app.help")}
    assert found == {"heatmap.up": MOVING, "heatmap.all": MEASURING, "heatmap.metric-back": LOOKING, "app.help": APP}
    assert group_of("heatmap.copy-row") == "taking away"


def test_the_list_of_keys_is_toml_that_changes_nothing():
    found = tomllib.loads("[keys]\n" + "\n".join(key_lines()))["keys"]
    assert set(found) == {key.id for key in all_keys()}
    assert {"heatmap.metric", "runs.open", "app.palette", "help.close", "errors.copy"} <= set(found)
    kept, problems = checked(found, all_keys(), normal_key)
    assert problems == []
    assert {name: set(keys.split(",")) for name, keys in kept.items()} == {key.id: set(key.keys) for key in all_keys()}


def test_no_key_of_ours_is_rewritten_by_terminals_or_stops_them():
    bad = {"ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "ctrl+s", "ctrl+q"}
    assert [key.id for key in all_keys() if bad & set(key.keys)] == []
    assert [key.id for key in all_keys() if not key.description] == []


def test_as_many_keys_as_fit():
    items, last = [("a", "all cells"), ("m", "metric")], [("?", "help")]
    assert fitting(items, last, 80) == [*items, *last]
    assert fitting(items, last, 27) == [items[0], *last]
    assert fitting(items, last, 9) == last
    assert fitting(items, last, 4) == []
