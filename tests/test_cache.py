"""What is kept for later: whole, or found out again."""

import json
from pathlib import Path

import pytest
from lyrx.engine.cache import cache_folder, kept


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Finder:
    def __init__(self, value: float):
        self.value, self.calls = value, 0

    def __call__(self) -> dict[str, float]:
        self.calls += 1
        return {"mean": self.value}


def test_it_is_found_out_once(folder: Path):
    first, second = Finder(1 / 3), Finder(5.0)
    assert kept("a", first, {"mean"}) == {"mean": 1 / 3}
    assert kept("a", second, {"mean"}) == {"mean": 1 / 3}
    assert (first.calls, second.calls) == (1, 0)
    assert kept("b", second, {"mean"}) == {"mean": 5.0}
    assert not [path for path in folder.iterdir() if path.name.endswith(".partial")]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-3],
        lambda text: text.replace("0.3", "0.4"),
        lambda text: "[]",
        lambda text: json.dumps({"values": {"mean": 1.0}}),
        lambda text: "\x00" * 100,
        lambda text: text.replace("mean", "meen"),
    ],
)
def test_what_is_damaged_is_found_out_again_and_mended(folder: Path, spoil):
    kept("a", Finder(1 / 3), {"mean"})
    path = folder / "a.json"
    path.write_text(spoil(path.read_text()))
    again = Finder(1 / 3)
    assert kept("a", again, {"mean"}) == {"mean": 1 / 3}
    assert again.calls == 1
    assert kept("a", again, {"mean"}) == {"mean": 1 / 3}
    assert again.calls == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LYRX_CACHE", str(tmp_path / "file"))
    find = Finder(2.0)
    assert kept("a", find, {"mean"}) == {"mean": 2.0}
    assert kept("a", find, {"mean"}) == {"mean": 2.0}
    assert find.calls == 2


def test_an_error_keeps_nothing(folder: Path):
    def fail() -> dict[str, float]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept("a", fail, {"mean"})
    assert kept("a", Finder(1.0), {"mean"}) == {"mean": 1.0}


def test_where_it_is(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("LYRX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "lyrx"
