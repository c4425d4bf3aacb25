"""Tokens of a text, worked out once: integer arrays and tokenizers in the cache, read through the memory map."""

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..cache import alone, cache_folder, is_whole, keep
from .lines import Lines
from .tokenizer import Tokenizer

VERSION = 1
"""Raised when the same text and tokenizer would give other tokens."""

_LINES = 20_000
"""Lines that are encoded in one go."""

_HASHED_BYTES = 2**31
"""Up to this size the contents of files are part of a text's digest, above it their names and sizes."""


def digest(*parts: Any) -> str:
    """SHA-256 over `parts`: bytes, lines of files, or what has a plain `repr`."""
    found = hashlib.sha256(str(VERSION).encode())
    for part in parts:
        if isinstance(part, Lines):
            sizes = [path.stat().st_size for path in part.files]
            found.update(repr([(path.name, size) for path, size in zip(part.files, sizes, strict=True)]).encode())
            found.update(repr((part.start, part.stop)).encode())
            if sum(sizes) <= _HASHED_BYTES:
                for path in part.files:
                    with path.open("rb") as file:
                        found.update(hashlib.file_digest(file, "sha256").digest())
        else:
            found.update(part if isinstance(part, bytes) else repr(part).encode())
        found.update(b"|")
    return found.hexdigest()


class TokenCache:
    """Files named by what they were made from, each with its hash beside it.

    What is damaged is made anew; without a folder that can be written everything is.
    """

    def model(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The tokenizer made by `make`, from the cache where it is there."""
        path = cache_folder() / "tokenizers" / f"{digest(key)}.model"
        with alone(path):  # of several processes one trains it, and the others wait
            if is_whole(path):
                return path.read_bytes()
            model = make()
            keep(path, lambda file: file.write(model))
        return model

    def array(self, lines: Lines, model: bytes, tokenizer: Tokenizer) -> np.ndarray:
        """The pieces of `lines`, int32[tokens]: read through the memory map where the cache has them."""
        path = cache_folder() / "tokens" / f"{digest(lines, model)}.npy"
        with alone(path):
            if not is_whole(path):
                parts = [tokenizer.encode(part) for part in _chunks(lines)]
                tokens = np.concatenate(parts) if parts else np.zeros(0, np.int32)
                if not keep(path, lambda file: np.save(file, tokens)):
                    return tokens
        return np.load(path, mmap_mode="r", allow_pickle=False)


cached_tokens = TokenCache()


def _chunks(lines: Lines):
    rest = iter(lines)
    while part := list(itertools.islice(rest, _LINES)):
        yield part
