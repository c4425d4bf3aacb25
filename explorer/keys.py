"""All keys of the app, collected from the bindings of its screens and widgets without starting it.

A person's own keys are checked against this list, and `lyrx keys` prints it. It imports every screen, so the start
does without.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys, _character_to_key

from .core.keys import APP, GROUPS, Key

_MODIFIERS = {"ctrl", "shift", "alt", "super", "meta", "hyper"}


def owners() -> Iterator[type[DOMNode]]:
    """The app, and every screen and widget of it that has keys of its own."""
    from . import app, screens, widgets

    modules = [app]
    for package in (screens, widgets):
        modules += [
            importlib.import_module(f"{package.__name__}.{found.name}")
            for found in pkgutil.iter_modules(package.__path__)
        ]
    for module in modules:
        for _, owner in inspect.getmembers(module, inspect.isclass):
            own = owner.__module__ == module.__name__ and "BINDINGS" in owner.__dict__
            if own and issubclass(owner, DOMNode):
                yield owner


def bindings() -> Iterator[Binding]:
    """The bindings of :func:`owners`, one key each."""
    for owner in owners():
        yield from Binding.make_bindings(owner.__dict__["BINDINGS"])


@cache
def all_keys() -> tuple[Key, ...]:
    """Everything that has a key and a name, group by group."""
    found: dict[str, tuple[dict[str, None], str]] = {}
    for binding in bindings():
        if binding.id:
            keys, _ = found.setdefault(binding.id, ({}, binding.description))
            keys[binding.key] = None
    known = [Key(name, tuple(keys), description) for name, (keys, description) in found.items()]
    # The app's own last: they are the same everywhere.
    return tuple(sorted(known, key=lambda key: (key.screen == APP, key.screen, GROUPS.index(key.group))))


def normal_key(name: str) -> str | None:
    """A key's name as Textual writes it ('?' is 'question_mark'), or None if there is no such key."""
    if len(name) == 1:
        return _character_to_key(name) if name.isprintable() else None
    *modifiers, last = name.split("+")
    if not last or not set(modifiers) <= _MODIFIERS or len(set(modifiers)) < len(modifiers):
        return None
    known = {key.value for key in Keys} | {_character_to_key(chr(code)) for code in range(33, 127)}
    if len(last) == 1:
        return "+".join([*modifiers, _character_to_key(last)]) if last.isprintable() else None
    return name if last in known else None


def shown_key(name: str) -> str:
    """A key as it is written in the configuration: a character where it is one."""
    from textual.keys import key_to_character

    character = key_to_character(name)
    return character if character and character.isprintable() and character not in ", " else name


def key_lines() -> Iterator[str]:
    """What `lyrx keys` prints: ready to be copied into the configuration."""
    known = all_keys()
    width = max(len(key.id) for key in known) + 2
    keys = {key.id: ",".join(map(shown_key, key.keys)) for key in known}
    wide = max(map(len, keys.values())) + 2
    screen = ""
    for key in known:
        if key.screen != screen:
            if screen:
                yield ""
            screen = key.screen
        name, text = f'"{key.id}"', f'"{keys[key.id]}"'
        yield f"{name:{width}} = {text:{wide}}  # {key.description}"
