"""A person's settings: a TOML file in the platform's folder for them, or the one that LYRX_CONFIG names.

    theme = "lyrx-light"          # lyrx-dark, lyrx-light, or one of Textual's; else the one chosen last
    ramp = "..."                  # a colour scale's name; else the one chosen last
    digits = true                 # numbers in the cells of a heatmap that was not opened before
    poll_seconds = 1.0            # how often the store is looked at, 0.1 to 3600

    [keys]                        # what `lyrx keys` lists
    "heatmap.metric" = "m,ctrl+n"

What is wrong in it is said, with the nearest right name, and the rest is used.
"""

import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..store import LyrxError, inert
from .core.keys import nearest

VARIABLE = "LYRX_CONFIG"

POLL_SECONDS = (0.1, 3600.0)
"""The least and the most."""

_LARGEST = 1_000_000
"""Bytes. A larger file is no configuration."""


class ConfigError(LyrxError, ValueError):
    """LYRX_CONFIG names a file that is not there or is no TOML."""


@dataclass(frozen=True)
class Problem:
    """Something in the file that is not used."""

    key: str
    """Where; empty: the file as a whole."""
    what: str
    todo: str


@dataclass(frozen=True)
class Config:
    """What the file says; None where it is silent."""

    path: Path | None = None
    """The file, if there is one."""
    theme: str | None = None
    ramp: str | None = None
    digits: bool | None = None
    poll_seconds: float | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """Ids of bindings, and keys with commas between them. Not checked yet: see `core.keys.checked`."""
    problems: tuple[Problem, ...] = ()


def config_path() -> Path:
    """Where the settings are, or would be."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    from platformdirs import user_config_path

    return user_config_path("lyrx", appauthor=False) / "config.toml"


def load(themes: Collection[str], ramps: Collection[str]) -> Config:
    """Read the settings. `themes` and `ramps` are the names that there are.

    Raises ConfigError if LYRX_CONFIG names a file that cannot be read as TOML. The one in the usual place may be
    missing, and what is wrong with it is one of the problems.
    """
    path, asked = config_path(), bool(os.environ.get(VARIABLE))
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} bytes")
        values = tomllib.loads(raw.decode("utf-8"))
    except FileNotFoundError:
        if not asked:
            return Config()
        raise ConfigError(
            f"{VARIABLE} names {inert(str(path))}, and there is no such file. Write it, or unset {VARIABLE}."
        ) from None
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        said = inert(error.strerror or str(error) if isinstance(error, OSError) else str(error))
        if asked:
            raise ConfigError(
                f"{VARIABLE} names {inert(str(path))}, which cannot be read: {said}. Mend it, or unset {VARIABLE}."
            ) from None
        return Config(path, problems=(Problem("", f"it cannot be read: {said}", "None of it is used. Mend it."),))
    return understand(values, path, themes, ramps)


def understand(values: Mapping[str, Any], path: Path, themes: Collection[str], ramps: Collection[str]) -> Config:
    """What these `values` say, as far as they can be understood."""
    problems: list[Problem] = []
    kept: dict[str, Any] = {}

    def one_of(names: Collection[str]) -> Callable[[str, Any], str]:
        def check(key: str, value: Any) -> str:
            if not isinstance(value, str):
                return f"it must be a name in quotes, and is {_told(value)}"
            if value not in names:
                near = nearest(value, names)
                return f"there is no '{inert(value)}'" + (f". Did you mean '{near}'?" if near else "")
            return ""

        return check

    checks: dict[str, tuple[Callable[[str, Any], str], str]] = {
        "theme": (one_of(themes), f"There are {', '.join(sorted(themes))}."),
        "ramp": (one_of(ramps), f"There are {', '.join(ramps)}."),
        "digits": (_truth, "Write true or false."),
        "poll_seconds": (_seconds, "Write a number of seconds, such as 1.0."),
    }
    for key, value in values.items():
        if key == "keys":
            kept["keys"] = _keys(value, problems)
        elif key not in checks:
            near = nearest(key, {*checks, "keys"})
            told = f"Did you mean '{near}'?" if near else f"There are {', '.join([*checks, '[keys]'])}."
            problems.append(Problem(inert(key), "there is no such setting", told))
        elif wrong := checks[key][0](key, value):
            problems.append(Problem(key, wrong, checks[key][1]))
        else:
            kept[key] = float(value) if key == "poll_seconds" else value
    return Config(path, **kept, problems=tuple(problems))


def _keys(value: Any, problems: list[Problem]) -> dict[str, str]:
    if not isinstance(value, dict):
        problems.append(Problem("keys", f"it must be a table, and is {_told(value)}", "Write [keys] above the keys."))
        return {}
    kept: dict[str, str] = {}
    for name, keys in value.items():
        if isinstance(keys, list) and keys and all(isinstance(key, str) for key in keys):
            kept[name] = ",".join(keys)
        elif isinstance(keys, str):
            kept[name] = keys
        else:
            # A name with a dot and without quotes is a table in TOML.
            todo = f'Names have quotes: "{inert(name)}.NAME" = "KEY".' if isinstance(keys, dict) else 'Write "m,M".'
            problems.append(Problem(f"keys.{inert(name)}", f"it must be keys in quotes, and is {_told(keys)}", todo))
    return kept


def _truth(key: str, value: Any) -> str:
    return "" if isinstance(value, bool) else f"it must be true or false, and is {_told(value)}"


def _seconds(key: str, value: Any) -> str:
    least, most = POLL_SECONDS
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return f"it must be a number from {least:g} to {most:g}, and is {_told(value)}"
    return ""


def _told(value: Any) -> str:
    return "a table" if isinstance(value, dict) else inert(repr(value))[:60]
