"""Sizes of memory as people write them."""

import re

from ..store import inert

UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def size_in_bytes(text: str) -> int:
    """The size that `text` names, such as '8GiB'; 0 if it names none."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([A-Za-z]+)", text)
    units = {unit.lower(): size for unit, size in UNITS.items()}
    return int(float(found[1]) * units.get(found[2].lower(), 0)) if found else 0


def checked_size(text: str | None) -> str | None:
    """`text`, if it names a size above 0 or is None. Raises ValueError: for a validator of a key."""
    if text is not None and not size_in_bytes(text):
        raise ValueError(
            f"'{inert(text)}' is no size; write a number above 0 and one of {', '.join(UNITS)}, such as '8GiB'"
        )
    return text


def shown_size(size: float) -> str:
    """`size` bytes for people: '1.2 GiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
