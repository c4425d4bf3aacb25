"""Stores that the tests of the app share."""

import os
import shutil
from pathlib import Path

# Before torch is imported: several processes that each use all cores take longer than one after the other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import fakes
import pytest

NAME = Path("lyrx.zarr")


@pytest.fixture(scope="session")
def filled(tmp_path_factory) -> Path:
    """A store with one run in every state; nobody changes it."""
    path = tmp_path_factory.mktemp("filled") / NAME
    fakes.fill(path)
    return path


@pytest.fixture
def state(tmp_path, monkeypatch) -> None:
    """Workers' logs, and what the app keeps of tables, do not go into the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def shown(filled: Path, state: None, monkeypatch) -> Path:
    """The same, under a path that is the same on every machine."""
    monkeypatch.chdir(filled.parent)
    return NAME


@pytest.fixture
def own(filled: Path, state: None, tmp_path, monkeypatch) -> Path:
    """A copy to write to: of links, since a store's files are replaced and never changed in place."""
    shutil.copytree(filled, tmp_path / NAME, copy_function=os.link)
    monkeypatch.chdir(tmp_path)
    return NAME


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pictures of the app: those at 80 x 24 are for every day, the other sizes take their time."""
    for item in items:
        if item.path.name.endswith("_pictures.py") and "80x24" not in item.name:
            item.add_marker(pytest.mark.slow)
