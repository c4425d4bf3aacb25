"""What was computed once from data and is used again: files in the user's cache folder, or where LYRX_CACHE says."""

import os
from pathlib import Path

import platformdirs

VARIABLE = "LYRX_CACHE"


def cache_folder() -> Path:
    """The folder, which need not exist yet."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_cache_dir("lyrx"))
