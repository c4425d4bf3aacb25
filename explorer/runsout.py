"""The table of runs as a file: CSV and JSON, with what `lyrx ls --json` says of each run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..store import LyrxError, Store, inert
from .core.csvout import Field, table
from .core.export import FORMATS, Format
from .jsonout import dumps, run_json

RUN_FORMATS = (FORMATS["csv"], FORMATS["json"])


def runs_file(store: Path, names: Sequence[str], form: Format) -> bytes:
    """The runs called `names`, in this order, as CSV or JSON; those that cannot be read any more are left out.

    Raises LyrxError if the store is gone.
    """
    opened = Store.open(store)
    found: list[dict[str, Any]] = []
    for name in names:
        try:
            found.append(run_json(opened.run(name)))
        except (LyrxError, OSError):
            continue  # removed meanwhile, or damaged: the table names it
    if form.name == "json":
        return (dumps(found) + "\n").encode()
    heads: dict[str, None] = {}
    lines = [_flat(value) for value in found]
    for line in lines:
        heads |= dict.fromkeys(line)
    return table([list(heads), *([line.get(head) for head in heads] for line in lines)]).encode()


def _flat(value: dict[str, Any], before: str = "") -> dict[str, Field]:
    """One line: `{"progress": {"cells": 1}}` becomes `progress.cells`."""
    flat: dict[str, Field] = {}
    for key, one in value.items():
        if isinstance(one, dict):
            flat |= _flat(one, f"{before}{key}.")
        else:
            flat[before + key] = inert(one) if isinstance(one, str) else one
    return flat
