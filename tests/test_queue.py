"""The queue's words: rates, times left, lines and what is clicked. No terminal."""

import fakes
import pytest
from lyrx.explorer.core.queue import (
    CANCEL,
    Device,
    Plan,
    Rate,
    Request,
    at_work,
    left_text,
    panel,
    place_name,
    rate_text,
    summary,
    time_text,
    what,
)
from lyrx.store import Cell

INFO = fakes.probe_info(fakes.FCN_SIZES)
KEY = ("fcn", INFO.id)


def request(number: int, cells: list[Cell], **more) -> Request:
    words = what(INFO, cells, exact=more.get("exact", False))
    return Request(str(number), KEY, cells, False, info=INFO, wanted=len(cells), what=words, **more)


def test_a_rate_slides_along_and_falls_in_silence():
    rate = Rate(window=10)
    assert rate.at(0) is None
    rate.add(0, 0)
    assert rate.at(5) is None, "one number is no rate"
    rate.add(0.1, 10)
    assert rate.at(0.1) is None, "nor are two at once"
    rate.add(2, 200)
    assert rate.at(2) == 100
    assert rate.at(4) == 50
    for second in range(3, 40):
        rate.add(second, 200 + 10 * (second - 2))
    assert rate.at(39) == pytest.approx(10), "what lies further back is forgotten"


def test_what_is_asked_for_in_words():
    assert what(INFO, [Cell(0, 5)]) == "fc1 at checkpoint 8"
    assert what(INFO, [Cell(0, 0, draw) for draw in range(3)], exact=True) == "fc1 re-randomised, exact"
    assert what(INFO, [Cell(1, column) for column in range(4)]) == "fc2, 4 columns"
    assert what(INFO, [Cell(row, 2) for row in range(3)], again=True) == "at checkpoint 1, 3 rows, again"
    assert what(INFO, [Cell(None, 1), *INFO.cells()]) == "49 cells of 5 rows"
    assert what(None, [Cell(0, 5)]) == "row 1 in column 6"
    assert place_name(INFO, Cell(3, 0, 1), draw=True) == "output re-randomised, draw 2"
    evil = fakes.probe_info([fakes.EVIL])
    assert "\x1b" not in what(evil, [Cell(0, 1)])


def test_rates_and_times_left_are_of_examples_where_the_worker_says_them():
    one = request(1, [Cell(0, 1), Cell(0, 2)], exact=True)
    assert (rate_text(one, 0), left_text(one, 0)) == ("", "")
    one.pace = (0, 20_000)
    one.heard(0)
    one.pace = (5_000, 20_000)
    one.heard(2)
    assert rate_text(one, 2) == "2,500 examples/s"
    assert left_text(one, 2) == "6 s"
    assert one.share == 0.25
    estimate = request(2, [Cell(0, 1)], pace=(0, 10_000))
    estimate.heard(0)
    estimate.pace = (1_000, 10_000)
    estimate.heard(1)
    assert left_text(estimate, 1) == "≤ 9 s", "it stops as soon as it is known well enough"
    old = request(3, [Cell(row, 1) for row in range(4)])
    old.heard(0)
    old.done = 2
    old.heard(4)
    assert (rate_text(old, 4), left_text(old, 4)) == ("0.5 cells/s", "4 s")
    assert [time_text(seconds) for seconds in (0.4, 59, 125, 11_400)] == ["0 s", "59 s", "2:05 min", "3:10 h"]


@pytest.mark.parametrize("width", [46, 76, 116, 196])
def test_lines_fit_and_end_with_what_cancels_them(width: int):
    one = request(1, [Cell(0, 0, 0), Cell(0, 0, 1)], exact=True, at_work=(Cell(0, 0, 1), 4_000, 10_000))
    one.pace = (14_000, 20_000)
    deep = fakes.probe_info([f"encoder.layers.{i}.attention.output.dense" for i in range(4)])
    two = Request("2", KEY, [Cell(3, 4)], False, info=deep, wanted=1, what=what(deep, [Cell(3, 4)]))
    two.cancelled = True
    plan = Plan("3", KEY, "fc1+fc2 at checkpoint 0", {})
    lines, hits = panel([one, two], [plan], Device("NVIDIA H100", 3_200_000_000, 79_600_000_000), 5.0, width, "2")
    assert all(line.cell_len <= width for line in lines)
    plain = [line.plain for line in lines]
    assert "NVIDIA H100, memory 3.2 of 79.6 GB" in plain[0]
    assert "being prepared" in plain[1]
    assert "0/2" in plain[2]
    assert "fc1 re-randomised, draw 2: 4,000 of 10," in plain[3]
    assert plain[4].rstrip().endswith("stopping")
    assert [hit.id if hit else "" for hit in hits] == ["", "3", "1", "1", "2"]
    for line, hit in zip(plain[1:3], hits[1:3], strict=True):
        assert hit
        assert line[hit.start : hit.stop] == CANCEL


def test_one_line_says_it_all():
    one = request(1, [Cell(0, 1), Cell(0, 2)])
    assert summary([], [], Device(), 0) == ""
    assert summary([one], [], Device("cpu"), 0) == "measuring on cpu: 0 of 2 cells"
    assert summary([], [Plan("1", KEY, "fc1+fc2", {})], Device("cpu"), 0) == "fc1+fc2: being prepared"


def test_the_request_at_work_is_the_one_last_heard_of():
    older = request(1, [Cell(0, 1)], exact=True, turn=4, at_work=(Cell(0, 1), 4_000, 10_000), pace=(4_000, 10_000))
    newer = request(2, [Cell(1, 1)], exact=True, turn=5, at_work=(Cell(1, 1), 1_000, 10_000), pace=(1_000, 10_000))
    assert at_work([]) is None
    assert at_work([request(3, [Cell(0, 2)]), request(4, [Cell(0, 3)])]).id == "3", "nothing is heard yet: the first"
    assert at_work([older, newer]) is newer, "a newer one goes before those that are under way"
    newer.examples.add(0, 0)
    newer.examples.add(1, 1_000)
    lines, _ = panel([older, newer], [], Device("cpu"), 1.0, 100)
    plain = [line.plain for line in lines]
    assert plain[1].startswith("○ fc1 at checkpoint 0")
    assert plain[2].startswith("▶ fc2 at checkpoint 0")
    assert "1,000 examples/s  9 s" in plain[2]
    assert plain[3].split(": ")[1] == "1,000 of 10,000 examples"
    said = summary([older, newer], [], Device("cpu"), 1.0)
    assert said == "measuring on cpu: 0 of 2 cells, 1,000 examples/s, 15 s left", "the older one's 6,000 come on top"
    newer.exact = False
    assert summary([older, newer], [], Device("cpu"), 1.0).endswith("≤ 15 s left")
    waiting = request(3, [Cell(2, 1)])
    assert summary([older, newer, waiting], [], Device("cpu"), 1.0).endswith("1,000 examples/s"), "nobody knows"


def test_a_request_that_goes_on_after_another_has_the_rate_of_now():
    one = request(1, [Cell(0, 1)], exact=True)
    for second in range(3):
        one.pace = (1_000 * second, 10_000)
        one.heard(second)
    one.resumed()
    for second in (100, 101):
        one.pace = (1_000 * (second - 97), 10_000)
        one.heard(second)
    assert rate_text(one, 101) == "1,000 examples/s"
    assert left_text(one, 101) == "6 s"
