"""Text to integers and back: SentencePiece, trained on the text it is for."""

import io
from collections.abc import Iterable, Iterator

import numpy as np

from ...store import inert
from ..errors import DataError

LONGEST_LINE = 16_384
"""Bytes: a longer line is cut at a space before the tokenizer learns from it, since it would leave it out."""

LEARNT_LINES = 2_000_000
"""From so many lines, drawn at random, a tokenizer learns at most."""


def train_tokenizer(lines: Iterable[str], vocabulary: int) -> bytes:
    """A SentencePiece unigram model of `vocabulary` pieces (Kudo 2018), serialised. The same text gives the same bytes.

    Raises DataError when the text cannot fill the vocabulary.
    """
    sentencepiece = _library()
    sentencepiece.set_random_generator_seed(0)
    written, unreadable = io.BytesIO(), list[DataError]()

    def given() -> Iterator[str]:
        try:
            yield from _cut(lines)
        except DataError as error:  # the library would make words of its own of it
            unreadable.append(error)
            raise

    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=given(),
            model_writer=written,
            vocab_size=vocabulary,
            model_type="unigram",
            max_sentence_length=LONGEST_LINE,
            input_sentence_size=LEARNT_LINES,
            shuffle_input_sentence=True,
            num_threads=1,  # with more, the sums come in another order each time
            minloglevel=2,
        )
    except RuntimeError as error:
        if unreadable:
            raise unreadable[0] from None
        # Before its own words the library names a place in its code, and a condition in brackets.
        said = " ".join(inert(str(error)).rpartition("] ")[2].split())
        if not said:
            raise DataError("no tokenizer can be made from this training text: there is nothing in it.") from error
        raise DataError(
            f"no tokenizer of {vocabulary} pieces can be made from this text: {said} "
            "Choose another size with --set data.vocabulary=NUMBER."
        ) from error
    return written.getvalue()


class Tokenizer:
    """A trained tokenizer. `model` is what :func:`train_tokenizer` returned. Raises DataError when it is not."""

    def __init__(self, model: bytes):
        try:
            self._processor = _library().SentencePieceProcessor(model_proto=model)
            self.end: int = self._processor.eos_id()
        except RuntimeError as error:
            raise DataError(f"the tokenizer cannot be read: {inert(str(error))}") from error

    def __len__(self) -> int:
        """Pieces in the vocabulary."""
        return self._processor.get_piece_size()

    def encode(self, lines: list[str]) -> np.ndarray:
        """The pieces of all `lines`, each line ending with the end piece: int32[tokens]."""
        parts = self._processor.encode(lines, add_eos=True)
        return np.fromiter((piece for part in parts for piece in part), dtype=np.int32)

    def decode(self, pieces: Iterable[int]) -> str:
        """The text that `pieces` stand for."""
        return self._processor.decode([int(piece) for piece in pieces])


def _cut(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        rest = line
        while len(rest.encode()) > LONGEST_LINE:
            # A character takes four bytes at most.
            place = rest.rfind(" ", 1, LONGEST_LINE // 4)
            place = place if place > 0 else LONGEST_LINE // 4
            yield rest[:place]
            rest = rest[place:]
        yield rest


def _library():
    try:
        import sentencepiece
    except ImportError as error:
        raise DataError("text needs the package sentencepiece: pip install 'lyrx[text]'.") from error
    return sentencepiece
