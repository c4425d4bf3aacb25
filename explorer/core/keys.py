"""Keys: what each does, in which group help shows it, and a person's own keys checked in words. Plain values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

MOVING, LOOKING, MEASURING, TAKING, APP = GROUPS = ("moving", "looking", "measuring", "taking away", "app")

_EVERYWHERE = ("app", "dialog")
"""First words of the ids that work on every screen, and on everything that is put over one."""

_WORDS = {
    MOVING: "up down left right pageup pagedown page-up page-down top bottom first last home end next previous",
    MEASURING: "measure all exact exactly row column missing mark joint cancel cancel-one cancel-all queue start stop "
    "train training warm",
    TAKING: "copy copy-cell copy-row copy-command command export save screenshot write",
    APP: "help palette errors quit back close leave suspend interrupt theme",
}
_GROUP = {word: group for group, words in _WORDS.items() for word in words.split()}

REWRITTEN = {"ctrl+h": "backspace", "ctrl+i": "tab", "ctrl+j": "enter", "ctrl+m": "enter"}
"""Keys that terminals send as others: they would never arrive."""

TOGETHER: tuple[frozenset[str], ...] = (frozenset({"compare", "heatmap"}),)
"""First words of ids whose bindings work on the same screen, besides those that begin alike."""


@dataclass(frozen=True)
class Key:
    """One thing that can be done by a key."""

    id: str
    """Such as 'heatmap.metric': the screen, and what."""
    keys: tuple[str, ...]
    """As they are written in the configuration."""
    description: str

    @property
    def screen(self) -> str:
        """The first word of its id."""
        return self.id.partition(".")[0]

    @property
    def group(self) -> str:
        """Where help shows it."""
        return group_of(self.id)


def group_of(binding_id: str) -> str:
    """The group of a binding, by the last word of its id."""
    name = binding_id.partition(".")[2]
    return _GROUP.get(name) or _GROUP.get(name.partition("-")[0]) or LOOKING


@dataclass(frozen=True)
class KeyProblem:
    """A person's key that is not used."""

    id: str
    what: str
    todo: str


def checked(
    wanted: Mapping[str, str], known: Sequence[Key], normal: Callable[[str], str | None]
) -> tuple[dict[str, str], list[KeyProblem]]:
    """Which of a person's keys are used, and why the others are not.

    `wanted` maps ids to keys with commas between them; `normal` tells how Textual calls a key, None if there is none.
    """
    problems: list[KeyProblem] = []
    kept: dict[str, str] = {}
    ids = {key.id for key in known}
    for name, text in wanted.items():
        keys = [key.strip() for key in text.split(",")] if text.strip() != "," else [","]
        refused = next((key for key in keys if key.lower() in REWRITTEN), None)
        named = [normal(key) for key in keys]
        if name not in ids:
            near = nearest(name, ids)
            told = f"Did you mean '{near}'? " if near else ""
            problems.append(KeyProblem(name, "nothing is called so", f"{told}`lyrx keys` lists all names."))
        elif refused is not None:
            told = f"terminals send '{refused}' as {REWRITTEN[refused.lower()]}: it would never arrive"
            problems.append(KeyProblem(name, told, "Choose another key."))
        elif None in named:
            unknown = keys[named.index(None)]
            problems.append(
                KeyProblem(
                    name,
                    f"'{unknown}' is no key" if unknown else "a key is missing",
                    "Keys are written as m, M, ?, f5, ctrl+n, space, pagedown; several with commas between them.",
                )
            )
        else:
            kept[name] = ",".join(filter(None, named))
    while (clash := _clash(kept, known)) is not None:
        name, other, key = clash
        problems.append(
            KeyProblem(name, f"'{key}' is the key of '{other}' on the same screen", f"Give '{other}' another key too.")
        )
        del kept[name]
    return kept, problems


def _clash(kept: Mapping[str, str], known: Sequence[Key]) -> tuple[str, str, str] | None:
    """(id, the other's id, key) of a person's key that something else has on the same screen."""
    for name, text in reversed(list(kept.items())):
        own = next(key for key in known if key.id == name)
        for other in known:
            if other.id == name or not share_a_screen(own, other):
                continue
            theirs = kept[other.id].split(",") if other.id in kept else other.keys
            for key in text.split(","):
                if key in theirs and not (key in own.keys and key in other.keys):
                    return name, other.id, key
    return None


def share_a_screen(one: Key, other: Key) -> bool:
    """Whether both may be pressed on one screen."""
    screens = {one.screen, other.screen}
    return len(screens) == 1 or not screens.isdisjoint(_EVERYWHERE) or any(screens <= group for group in TOGETHER)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    from difflib import get_close_matches

    found = get_close_matches(name, sorted(names), n=1, cutoff=0.6)
    return found[0] if found else None


def fitting(items: Sequence[tuple[str, str]], pinned: Sequence[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    """The (key, description) pairs that fit into one line of `width`: as many of `items` as leave room for `pinned`.

    The first of `pinned` matters most; the least important are left out when not even they fit.
    """

    def taken(chosen: Sequence[tuple[str, str]]) -> int:
        return sum(len(key) + len(words) + 3 for key, words in chosen)

    last = list(pinned)
    while last and taken(last) > width:
        last.pop()
    room = width - taken(last)
    first: list[tuple[str, str]] = []
    for item in items:
        if taken([*first, item]) > room:
            break
        first.append(item)
    return first + last
