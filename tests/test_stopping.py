"""When a cell stops, and what its interval says."""

import math

import numpy as np
import pytest
from lyrx.store.stopping import Rule
from lyrx.store.verdict import DEFAULT_TOLERANCE, verdict


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.30, 0.40, "critical"),
        (0.151, 0.152, "critical"),
        (0.15, 0.16, "undecided"),
        (0.01, 0.90, "undecided"),
        (0.10, 0.15, "robust"),
        (0.00, 0.01, "robust"),
        (0.151, 0.151, "critical"),
        (0.15, 0.15, "robust"),
    ],
)
def test_the_verdict_with_a_baseline_of_10_and_a_tolerance_of_5_percent(low: float, high: float, expected: str):
    assert verdict(low, high, 0.1, 0.05) == expected


def test_the_default_tolerance_is_five_points():
    assert DEFAULT_TOLERANCE == 0.05
    assert verdict(0.0, 0.15, 0.1) == "robust"
    assert verdict(0.0, 0.1501, 0.1) == "undecided"


def test_a_cell_stops_when_it_is_known_closely_or_its_verdict_is_certain():
    low = np.array([0.10, 0.10, 0.30, 0.30, 0.02, 0.02, 0.05])
    high = np.array([0.139, 0.141, 0.399, 0.401, 0.0659, 0.0661, 0.0661])
    # Half-widths 1.95 and 2.05 points, critical 4.95 and 5.05; robust and undecided at 1.6 + 5 %; close.
    expected = [True, True, True, False, True, False, True]
    assert Rule().finished(low, high, 0.016, 500, 10_000).tolist() == expected
    # With a tolerance that leaves all of them undecided only the close ones stop.
    assert not Rule(tolerance=0.12).decided(0.10, 0.141, 0.016)
    assert Rule(tolerance=0.12).finished(low[:2], high[:2], 0.016, 500, 10_000).tolist() == [True, False]


def test_the_last_example_ends_every_cell_and_an_exact_rule_waits_for_it():
    wide, close = (0.0, 1.0), (0.5, 0.5)
    for rule in (Rule(), Rule(exact=True)):
        assert rule.finished(*wide, 0.1, 100, 100) is True
        assert rule.finished(*wide, 0.1, 99, 100) is False
    assert Rule().finished(*close, 0.1, 99, 100) is True
    assert Rule(exact=True).finished(*close, 0.1, 99, 100) is False
    seen = np.array([99, 100])
    assert Rule(exact=True).finished(np.zeros(2), np.zeros(2), 0.1, seen, 100).tolist() == [False, True]


def test_one_number_does_for_all_cells():
    rule = Rule()
    assert rule.finished(0.4, 0.42, 0.1, 10, 100) is True
    assert rule.finished(np.full((3, 2), 0.4), 0.42, 0.1, 10, 100).shape == (3, 2)


def test_the_rule_decides_as_the_verdict_does():
    generator = np.random.default_rng(0)
    # Errors of 1,000 examples, so that many lie exactly on the limit.
    low, high = np.sort(generator.integers(0, 200, size=(2, 5000)) / 1000, axis=0)
    baseline = generator.integers(0, 100, size=5000) / 1000
    decided = Rule(tolerance=0.03).decided(low, high, baseline)
    expected = [verdict(*one, 0.03) != "undecided" for one in zip(low, high, baseline, strict=True)]
    assert decided.tolist() == expected


@pytest.mark.parametrize("name", ["tolerance", "half_width", "decided_half_width"])
@pytest.mark.parametrize("value", [-0.01, math.nan])
def test_refuses_what_is_not_a_width(name: str, value: float):
    with pytest.raises(ValueError, match=f"{name} = .* is not possible"):
        Rule(**{name: value})
