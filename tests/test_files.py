"""Files are replaced whole, or not at all."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lyrx.explorer.core.export import NotWrittenError
from lyrx.explorer.exporting import write_file
from lyrx.store.files import replace_files


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
