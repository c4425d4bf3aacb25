"""Text that came from a file, made harmless for a terminal."""

import difflib
import unicodedata
from collections.abc import Iterable

# Cc: control characters, Cf: formatting (bidirectional overrides, zero-width), Cs: lone surrogates, Zl/Zp: separators.
_ACTIVE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def inert(text: str, *, keep: str = "") -> str:
    """`text` with every character that could steer a terminal written out (`\\x1b`), except those in `keep`.

    Markup such as `[red]` is left alone: printing it literally is the task of whoever renders it.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) not in _ACTIVE else _written_out(c) for c in text)


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` was most likely meant to be, or None."""
    options = list(known)
    lowered = {option.lower(): option for option in options}
    if word.lower() in lowered:
        return lowered[word.lower()]
    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` or nothing: the tail of a message about a name that is not known."""
    near = nearest(word, known)
    return f" Did you mean '{inert(near)}'?" if near else ""
