"""Files are replaced whole, or not at all; one that may not be read is told of, and hides nothing beside it."""

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lyrx.explorer.cli import app
from lyrx.explorer.core.export import NotWrittenError
from lyrx.explorer.exporting import write_file
from lyrx.store import Store, UnreadableError
from lyrx.store.files import read_json, replace_files
from small import finished_store
from typer.testing import CliRunner


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of this process hold so many bytes at most: as on a disk that is nearly full, a part is written first."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_that_was_written_in_part_takes_no_place(tmp_path: Path, durable: bool):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"as it was")
    with room_for(1_000), pytest.raises(OSError):  # noqa: PT011 - EFBIG here, ENOSPC on a disk
        replace_files([(new, b"short"), (old, bytes(5_000))], durable=durable)
    assert old.read_bytes() == b"as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["old"], "neither the other one nor a temporary file"


def test_an_export_that_does_not_fit_is_not_called_written(tmp_path: Path):
    with room_for(1_000), pytest.raises(NotWrittenError, match="was not written"):
        write_file(tmp_path / "heatmap.png", bytes(5_000))
    assert not [*tmp_path.iterdir()]


def unreadable(path: Path) -> None:
    """The system refuses to read it, whoever asks (who is root may read what has no permissions)."""
    path.unlink()
    path.mkdir()


def test_a_file_that_may_not_be_read_is_named_and_not_called_damaged(tmp_path: Path):
    path = tmp_path / "zarr.json"
    with pytest.raises(FileNotFoundError):
        read_json(path)
    path.write_text("{}")
    with pytest.raises(NotADirectoryError):
        read_json(path / "zarr.json")
    unreadable(path)
    with pytest.raises(UnreadableError, match=r"zarr\.json cannot be read: Is a directory\. Look at its permissions"):
        read_json(path)


@pytest.mark.parametrize("what", ["zarr.json", "probes/*/zarr.json"])
def test_a_run_that_may_not_be_read_hides_no_other(tmp_path: Path, what: str):
    store, one = finished_store(tmp_path / "store.zarr")
    other = one.path.with_name("other")
    shutil.copytree(one.path, other)
    about = json.loads((other / "zarr.json").read_text())
    about["attributes"]["lyrx"]["name"] = "other"
    (other / "zarr.json").write_text(json.dumps(about))
    (path,) = other.glob(what)
    unreadable(path)
    for command in (["ls", "--store", str(store.path)], ["check", str(store.path)]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2
        assert one.name in done.stdout
        assert f"{path} cannot be read: Is a directory" in " ".join(done.output.split())
    shown = CliRunner().invoke(app, ["show", "other", "--store", str(store.path)])
    assert (shown.exit_code, "cannot be read" in shown.output) == (2, True)
    assert Store.open(store.path).run(one.name).name == one.name
