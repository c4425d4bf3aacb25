"""Text for language models: files of lines, as pieces of a tokenizer that is trained on the training text.

A line becomes its pieces and an end piece; the pieces of all files follow each other and are cut into sequences of
`length`, each with the pieces that follow as its targets.  What is left over at the end is dropped.
"""

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ...store import Run, inert
from ..errors import DataError, DataNotFoundError
from .base import DataSet, DataSpec, FullPath
from .halves import Halves, of_files, of_names, of_share
from .lines import found_files
from .tokenizer import Tokenizer, train_tokenizer
from .tokens import cached_tokens, digest

TOKENIZER = "tokenizer.model"
"""The file, kept with a run, that turns its text into pieces."""

_PART = 2**24
"""Pieces counted in one go."""


class TextSpec(DataSpec):
    """A text file, or a folder of them: sequences of pieces, int64[length], and the piece that follows each."""

    name: Literal["text"] = "text"
    root: FullPath = Field(description="a file, or the folder that `train` and `test` are in (not identity)")
    train: list[str] = Field(
        ["train/**/*", "train.*"], min_length=1, description="files of the training text, below root; *, **, ?, []"
    )
    test: list[str] = Field(
        ["test/**/*", "test.*"],
        min_length=1,
        description="files of the test text; none: those whose names say it, else `test_share`",
    )
    test_share: float = Field(0.1, gt=0, lt=1, description="the last lines, where there are no files of a test text")
    vocabulary: int = Field(30_000, ge=8, le=2**31 - 1, description="pieces of the tokenizer")
    length: int = Field(128, ge=1, le=2**20, description="pieces of a sequence")

    @model_validator(mode="after")
    def _below_root(self) -> "TextSpec":
        for key in ("train", "test"):
            for pattern in getattr(self, key):
                if pattern.startswith(("/", "~")) or ".." in Path(pattern).parts:
                    raise ValueError(f"{key}: '{inert(pattern)}' is not below root; write it without a leading / or ..")
        return self

    def load(self) -> DataSet:
        """Raises DataNotFoundError, DataError; trains the tokenizer if the cache has none for this text."""
        return self._cut({}, self._halves())

    def load_again(self, run: Run) -> DataSet:
        chosen, wanted = self._halves(), run.info.data_facts.get("fingerprint")
        if chosen.by_name:
            # Runs made before files were told apart by their names; by them a half may be too short.
            with contextlib.suppress(DataError, DataNotFoundError):
                if (found := self._cut(run.files, chosen)).fingerprint == wanted:
                    return found
            with contextlib.suppress(DataError, DataNotFoundError):
                if (found := self._cut(run.files, self._halves(by_name=False))).fingerprint == wanted:
                    return found
        return self._cut(run.files, chosen)

    def _cut(self, files: Mapping[str, bytes], chosen: Halves) -> DataSet:
        train, test = chosen.train, chosen.test
        text = digest(train, test)
        model = files.get(TOKENIZER) or cached_tokens.model(
            f"{text}-{self.vocabulary}", lambda: train_tokenizer(train, self.vocabulary)
        )
        tokenizer = Tokenizer(model)
        halves = [cached_tokens.array(half, model, tokenizer) for half in (train, test)]
        for what, tokens in zip(("training", "test"), halves, strict=True):
            if len(tokens) <= self.length:
                raise DataError(
                    f"data '{self.name}': the {what} text in {inert(self.root)} has {len(tokens)} pieces, too "
                    f"few for one sequence of {self.length} and the piece after it. Give more text, or a smaller "
                    "data.length."
                )
        return TokenSet.cut(halves[0], halves[1], self.length, len(tokenizer), text, model, chosen.note)

    def _halves(self, *, by_name: bool = True) -> Halves:
        """The lines of both; with `by_name` names of files count where nobody has said which files are which."""
        root = Path(self.root)
        if root.is_file():
            return of_share(root, [root], self.test_share)
        train, test = self._files(self.train), self._files(self.test)
        if train and test:
            return of_files(root, train, test)
        if not root.is_dir():
            raise DataNotFoundError(
                f"data '{self.name}': there is no file or folder {inert(self.root)} (data.root). {self._expected()}"
            )
        fields = TextSpec.model_fields
        usual = self.train == fields["train"].default and self.test == fields["test"].default
        everything = self._files(["**/*"]) if self.name == "text" else []
        if by_name and usual and (named := of_names(root, everything)):
            return named
        rest = train or everything
        if test or not rest or self.name != "text":
            wanted = self.test if train else self.train
            raise DataNotFoundError(
                f"data '{self.name}': no file in {inert(self.root)} fits {' or '.join(map(inert, wanted))}. "
                f"{self._expected()}"
            )
        return of_share(root, rest, self.test_share)

    def _files(self, patterns: Sequence[str]) -> list[Path]:
        return found_files(Path(self.root), patterns)

    def _expected(self) -> str:
        return (
            "Put UTF-8 text there: one file, a folder of files, or train/ and test/ folders, or say with data.train "
            "and data.test which files hold the two halves."
        )


class Lm1bSpec(TextSpec):
    """The One Billion Word Benchmark (Chelba et al. 2013) as it is released: shards of one sentence a line."""

    name: Literal["lm1b"] = "lm1b"  # type: ignore[assignment]
    train: list[str] = Field(
        ["training-monolingual.tokenized.shuffled/news.en-*-of-*"], min_length=1, description="the training shards"
    )
    test: list[str] = Field(
        ["heldout-monolingual.tokenized.shuffled/news.en.heldout-*-of-*"], min_length=1, description="held-out shards"
    )

    def _expected(self) -> str:
        return (
            "Unpack 1-billion-word-language-modeling-benchmark-r13output.tar.gz and name the folder that holds "
            "training-monolingual.tokenized.shuffled and heldout-monolingual.tokenized.shuffled with "
            "--set data.root=FOLDER."
        )


class TokenSet(DataSet):
    """Sequences of pieces and what follows each: int32[n, length] both, 0..classes-1."""

    @classmethod
    def cut(
        cls, train: np.ndarray, test: np.ndarray, length: int, vocabulary: int, text: str, model: bytes, note: str = ""
    ) -> "TokenSet":
        """From the tokens of both halves, int32[tokens]; `text` is the text's digest, `model` the tokenizer's."""
        arrays = [array for tokens in (train, test) for array in _sequences(tokens, length)]
        return cls(*arrays, classes=vocabulary, task="language", files={TOKENIZER: model}, text=text, note=note)

    def knowing(self, facts: Mapping[str, Any]) -> "TokenSet":
        """Itself: nothing of it is costly to find out."""
        return self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the text, the tokenizer and the length."""
        return digest(self.text, self.files[TOKENIZER], self.shape)

    def facts(self) -> dict[str, Any]:
        pieces, counts = self.train_targets.reshape(-1), np.zeros(self.classes, dtype=np.int64)
        for start in range(0, len(pieces), _PART):  # counting makes 8 bytes of each, and LM1B has nearly 10^9
            counts += np.bincount(pieces[start : start + _PART], minlength=self.classes)
        wanted = self.test_targets.reshape(-1)
        # Every piece once more than it was seen: none is impossible.
        logs = np.log((counts + 1) / (counts.sum() + self.classes))
        return {
            "train_examples": len(self.train_inputs),
            "test_examples": len(self.test_inputs),
            "shape": list(self.shape),
            "positions": self.shape[0],
            "classes": self.classes,
            # What a model that knows no context comes to: the piece's share of the training text.
            "unigram_error": float((wanted != counts.argmax()).mean()),
            "unigram_loss": float(-logs[wanted].mean()),
            "fingerprint": self.fingerprint,
        }


def _sequences(tokens: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    count = (len(tokens) - 1) // length
    return (
        tokens[: count * length].reshape(count, length),
        tokens[1 : count * length + 1].reshape(count, length),
    )
