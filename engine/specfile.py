"""Spec files: TOML, with overrides from the command line, and errors that say what to do."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ..store import did_you_mean, inert
from .errors import SpecError
from .spec import NOT_IDENTITY, Spec

SECTIONS = ("run", "model", "data", "train", "probe")


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """The spec in the TOML file `path`, with `key=value` overrides applied.

    Raises SpecError: what is wrong, in which file, at which key, what is allowed, and the nearest right name.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode()
        values = tomllib.loads(text)
    except FileNotFoundError as error:
        raise SpecError(f"there is no spec file {inert(str(path))}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{inert(str(path))} cannot be read as UTF-8 text: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{inert(str(path))} is not valid TOML: {error}.") from error
    places = {}
    for override in overrides:
        key, value = parse_override(override)
        _put(values, key, value, override)
        places[key] = f"--set {override}"
    return make_spec(values, str(path), places)


def make_spec(values: dict[str, Any], origin: str = "spec", places: dict[str, str] | None = None) -> Spec:
    """Validate plain values. `places` says where a dotted key came from when not from `origin`."""
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, values, inert(origin), places or {}) for problem in error.errors()]
        raise SpecError("\n".join(dict.fromkeys(lines))) from None


def parse_override(override: str) -> tuple[str, Any]:
    """`section.key=value` as the key and its value (TOML, or a bare word). Raises SpecError."""
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or len(parts) < 2 or not all(parts):
        raise SpecError(f"--set {inert(override)}: write it as section.key=value, such as --set train.epochs=10.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string: no quotes are needed around it
    return ".".join(parts), value


def _put(values: dict[str, Any], key: str, value: Any, override: str) -> None:
    *sections, last = key.split(".")
    table = values
    for part in sections:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SpecError(f"--set {inert(override)}: '{inert(part)}' is no section.")
    table[last] = value


def stored_spec(stored: Mapping[str, Any], run: str, overrides: Mapping[str, Any]) -> Spec:
    """The spec that was stored with a run, with some keys replaced: `{"probe.at": ["zero"]}`.

    What a replaced key makes meaningless goes back to its default: `at` and `checkpoints` name the same columns, other
    rows have other names, and only norm_statistics = 'reestimated' looks at batches.  Raises SpecError, also for keys
    that may not change any more.
    """
    changeable = {section: keys for section, keys in NOT_IDENTITY.items() if section != "probe"}
    for key in overrides:
        section, _, name = key.partition(".")
        if section != "probe" and (name == "name" or name not in changeable.get(section, ())):
            allowed = sorted(f"{s}.{k}" for s, keys in changeable.items() for k in keys if k != "name")
            raise SpecError(
                f"'{inert(key)}' cannot change for a run that is trained; keys of probe can, and {', '.join(allowed)}."
            )
    values = deepcopy(dict(stored))
    probe = values.setdefault("probe", {})
    meaningless = {
        "at": ["checkpoints"],
        "checkpoints": ["at"],
        "granularity": ["patterns", "layers", "joint"],
        "norm_statistics": ["norm_batches"],
    }
    for key, others in meaningless.items():
        if f"probe.{key}" in overrides and overrides[f"probe.{key}"] != probe.get(key):
            for other in others:
                probe.pop(other, None)
    for key, value in overrides.items():
        _put(values, key, value, key)
    return make_spec(values, f"the spec stored with run '{run}'", dict.fromkeys(overrides, "the probe asked for"))


def _explain(problem: Any, values: dict[str, Any], origin: str, places: dict[str, str]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    if kind == "value_error" and ":" in message and len(location) < 2:
        # Our own checks of several keys name the key themselves.
        key = ".".join([*location, message.partition(":")[0]])
    where = inert(next((place for k, place in places.items() if key == k or key.startswith(k + ".")), origin))
    if kind == "extra_forbidden":
        known = _known_keys(location[:-1], values)
        hint = did_you_mean(location[-1], known)
        what = "section" if len(location) == 1 else "key"
        return f"{where}: unknown {what} '{inert(key)}'.{hint} Allowed: {', '.join(known)}."
    if kind == "missing":
        what = "section" if len(location) == 1 else "key"
        return f"{where}: {what} '{key}' is missing."
    if kind == "value_error":
        said = message.rstrip(".")
        return f"{where}: {inert(key)}: {said}." if len(location) > 1 else f"{where}: {'.'.join([*location, said])}."
    given = problem.get("input")
    allowed = re.findall(r"'([^']+)'", message) if kind == "literal_error" else []
    near = did_you_mean(str(given), allowed)
    shown = f" It is {inert(repr(given))[:80]}." if not isinstance(given, dict) else ""
    return f"{where}: '{inert(key)}': {message[0].lower()}{message[1:]}.{shown}{near}"


def _known_keys(section: Iterable[str], values: dict[str, Any]) -> list[str]:
    path = list(section)
    if not path:
        return list(SECTIONS)
    from .data import DATA
    from .models import model_class

    fields: dict[str, type[BaseModel]] = {
        name: info.annotation for name, info in Spec.model_fields.items() if isinstance(info.annotation, type)
    }
    chosen = str(values.get(path[0], {}).get("name", ""))
    if path[0] == "data" and chosen in DATA:
        fields["data"] = DATA[chosen]
    if path[0] == "model":
        fields["model"] = model_class(chosen)
    return list(fields[path[0]].model_fields)
