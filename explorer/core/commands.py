"""The command palette without its looks: what there is, and what fits the words typed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True)
class Command:
    """Something that can be chosen."""

    title: str
    """What a person reads and types: 'metric', 'theme nord', 'run fcn-mnist'."""
    hint: str = ""
    """At the right: its keys, or what it is."""


C = TypeVar("C", bound=Command)


def ranked(query: str, commands: Sequence[C], most: int) -> list[C]:
    """The commands in which every word of `query` is found, the best first; all, in their order, for no query.

    Better is: the title begins with what was typed; each word begins a word of it; it is short.
    """
    words = query.lower().split()
    if not words:
        return list(commands[:most])
    found: list[tuple[tuple[int, int, int], C]] = []
    for number, command in enumerate(commands):
        text = command.title.lower()
        places = [_place(text, word) for word in words]
        if None not in places:
            missed = sum(place == 1 for place in places)
            found.append(((0 if text.startswith(words[0]) else 1, missed, number), command))
    found.sort(key=lambda one: one[0])
    return [command for _, command in found[:most]]


def _place(text: str, word: str) -> int | None:
    """0: it begins a word of `text`; 1: it stands somewhere; None: it is not there."""
    at = text.find(word)
    if at < 0:
        return None
    while at >= 0:
        if at == 0 or not text[at - 1].isalnum():
            return 0
        at = text.find(word, at + 1)
    return 1
