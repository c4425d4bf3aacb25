"""The words typed after `/`: which runs of the table are meant, and in what order they stand.

    resnet cifar        name, model or data holds each of these words, in any case
    "cifar 10"          the words between the quotes as they stand
    error<5%  epoch>=10 layers>20  cells=0  age<2d
    state:running       training, probing or stalled; or one of the states by its name
    model:resnet        the word in one column only (name, model, data)
    -mnist  -state:failed  what must not be

A wrong part is named and left out; the others count.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .runrow import ORDER, RunRow, kind_of, share

Test = Callable[[RunRow, float], bool]
"""Whether a run is meant at the moment given (seconds since 1970)."""

UNITS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0, "y": 365.25 * 86400.0}

NUMBERS: dict[str, Callable[[RunRow, float], float | None]] = {
    "error": lambda row, now: row.error,
    "epoch": lambda row, now: row.epoch,
    "epochs": lambda row, now: row.epochs,
    "layers": lambda row, now: row.layers,
    "checkpoints": lambda row, now: row.checkpoints,
    "cells": lambda row, now: row.cells,
    "exact": lambda row, now: row.exact,
    "missing": lambda row, now: row.wanted - row.cells,
    "age": lambda row, now: now - row.created,
}
"""What can be compared with a number."""

TEXTS: dict[str, Callable[[RunRow], str]] = {
    "name": lambda row: row.name,
    "run": lambda row: row.name,
    "model": lambda row: row.model,
    "data": lambda row: row.data,
}
"""What can hold a word."""

STATES: dict[str, frozenset[str]] = {
    "running": frozenset(("training", "probing", "stalled")),
    **{kind: frozenset((kind,)) for kind in ORDER if kind != "unread"},
}
"""What can stand after `state:`."""

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
            "==": operator.eq, ":": operator.eq, "!=": operator.ne}  # fmt: skip
_PART = re.compile(r'(-?(?:[^\s"]*"[^"]*"?|[^\s"]+))')
_TERM = re.compile(r"(?P<field>[A-Za-z]+)(?P<sign><=|>=|==|!=|<|>|=|:)(?P<value>.*)", re.DOTALL)
_NUMBER = re.compile(r"(?P<number>\d+(?:[.,]\d*)?|[.,]\d+)(?:e(?P<power>[+-]?\d+))?\s*(?P<unit>%|[a-z]*)", re.I)


@dataclass(frozen=True)
class Query:
    """What was typed, understood."""

    text: str
    tests: tuple[Test, ...] = ()
    problem: str = ""
    """What is wrong with it, and what would be right; empty if nothing is."""

    def __call__(self, row: RunRow, now: float) -> bool:
        """Whether the run is meant, at the moment `now` (seconds since 1970)."""
        return all(test(row, now) for test in self.tests)

    def select(self, rows: Sequence[RunRow], now: float) -> list[RunRow]:
        """The runs that are meant, in the order they stand in."""
        return [row for row in rows if self(row, now)] if self.tests else list(rows)


class _WrongError(ValueError):
    """A part of a query that means nothing."""


def parse(text: str) -> Query:
    """What `text` asks for. Never raises: see :attr:`Query.problem`."""
    tests: list[Test] = []
    problem = ""
    for part in _PART.findall(text):
        negative = part.startswith("-")
        body = part[1:] if negative else part
        if not body.strip('"'):
            continue  # is just being typed
        try:
            test = _test(body)
        except _WrongError as error:
            problem = problem or str(error)
            continue
        tests.append(_without(test) if negative else test)
    return Query(text, tuple(tests), problem)


def _test(part: str) -> Test:
    found = _TERM.fullmatch(part)
    if found is None or part.startswith('"'):
        return _holds(part.replace('"', ""))
    field, sign, value = found["field"].lower(), found["sign"], found["value"].replace('"', "").strip()
    if field == "state":
        return _state(sign, value)
    if field in TEXTS:
        if sign not in (":", "=", "==", "!="):
            raise _WrongError(f"{field} is text: {field}:word finds it")
        wanted, of = value.casefold(), TEXTS[field]
        holds: Test = lambda row, now: wanted in of(row).casefold()  # noqa: E731
        return _without(holds) if sign == "!=" else holds
    if field not in NUMBERS:
        if sign == ":":
            return _holds(part.replace('"', ""))  # 'noise:0.1' may well be part of a name
        raise _WrongError(f"nothing is called '{field}'; there are {', '.join(NUMBERS)}, state, {', '.join(TEXTS)}")
    return _number(field, sign, value)


def _holds(words: str) -> Test:
    wanted = words.casefold()
    return lambda row, now: (
        wanted in row.name.casefold() or wanted in row.model.casefold() or wanted in row.data.casefold()
    )


def _state(sign: str, value: str) -> Test:
    known = ", ".join(STATES)
    if sign not in (":", "=", "==", "!="):
        raise _WrongError(f"state is a word: state:{value or 'running'}")
    if not value:
        raise _WrongError(f"state: one of {known}")
    meant = frozenset[str]().union(*(kinds for word, kinds in STATES.items() if word.startswith(value.casefold())))
    if not meant:
        raise _WrongError(f"no state is called '{value}'; there are {known}")
    wanted = (frozenset(ORDER) - meant) if sign == "!=" else meant
    return lambda row, now: kind_of(row, now) in wanted


def _number(field: str, sign: str, value: str) -> Test:
    example = {"error": "error<5%", "age": "age<2d"}.get(field, f"{field}>=10")
    if not value:
        raise _WrongError(f"{field}{sign} what? For example {example}")
    found = _NUMBER.fullmatch(value)
    if found is None:
        raise _WrongError(f"'{value}' is no number, as in {example}")
    try:
        number = float(found["number"].replace(",", ".") + (f"e{found['power']}" if found["power"] else ""))
    except (OverflowError, ValueError) as error:
        raise _WrongError(f"'{value}' is no number, as in {example}") from error
    unit = found["unit"].lower()
    if unit == "%" and field == "error":
        number /= 100
    elif field == "age" and unit in UNITS:
        number *= UNITS[unit]
    elif field == "age":
        raise _WrongError(f"an age has a unit: {', '.join(UNITS)}, as in {example}")
    elif unit:
        raise _WrongError(f"'{value}' is no number, as in {example}")
    compare, of = _COMPARE[sign], NUMBERS[field]

    def test(row: RunRow, now: float) -> bool:
        known = of(row, now)
        return known is not None and compare(known, number)

    return test


def _without(test: Test) -> Test:
    return lambda row, now: not test(row, now)


# Order

Key = Callable[[RunRow, float], object]

KEYS: dict[str, Key] = {
    "run": lambda row, now: _natural(row.name),
    "state": lambda row, now: (ORDER.index(kind_of(row, now)), -share(row)),
    "model": lambda row, now: _natural(row.model),
    "data": lambda row, now: _natural(row.data),
    "layers": lambda row, now: row.layers,
    "checkpoints": lambda row, now: row.checkpoints,
    "epochs": lambda row, now: None if row.epoch is None else (row.epoch, row.epochs),
    "error": lambda row, now: row.error,
    "age": lambda row, now: -row.created,
}
"""What each column is sorted by, the least first. None stands last, either way round."""


def ordered(rows: Sequence[RunRow], column: str, now: float, *, reverse: bool = False) -> list[RunRow]:
    """The rows sorted by a column of :data:`KEYS`; equal ones stay as they stood. Raises KeyError."""
    key = KEYS[column]
    keyed = [(key(row, now), row) for row in rows]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=reverse)  # type: ignore[arg-type, return-value]
    return [row for _, row in known] + [row for value, row in keyed if value is None]


_DIGITS = re.compile(r"(\d+)")


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Numbers within a name by their size: 'seed-2' before 'seed-10'."""
    parts = _DIGITS.split(name.casefold())
    return [(1, int(part[:18]), part) if part.isdecimal() else (0, 0, part) for part in parts if part]
