"""The worker's protocol: every message survives the round trip; nothing else is taken for one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lyrx.engine import protocol
from lyrx.engine.protocol import ProtocolError, decode_event, decode_request, encode, from_wire, to_wire
from lyrx.store import Cell

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
number = st.integers(0, 2**40)
cell = st.tuples(st.none() | st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 100))

requests = st.one_of(
    st.builds(
        protocol.ProbeRequest,
        id=text,
        store=text,
        run=text,
        probe=st.none() | text,
        cells=st.lists(cell).map(tuple),
        again=st.booleans(),
        exact=st.booleans(),
    ),
    st.builds(
        protocol.PlanRequest,
        id=text,
        store=text,
        run=text,
        probe=st.none() | text,
        joint=st.lists(st.lists(text).map(tuple), min_size=1).map(tuple),
    ),
    st.builds(
        protocol.PlanRequest, id=text, store=text, run=text, granularity=st.sampled_from(["module", "layer", "block"])
    ),
    st.builds(protocol.CancelRequest, id=st.none() | text),
    st.builds(protocol.PingRequest, id=text),
    st.builds(protocol.QuitRequest),
)
events = st.one_of(
    st.builds(protocol.ReadyEvent, version=number, pid=number, lyrx=text),
    st.builds(protocol.AcceptedEvent, id=text, cells=number),
    st.builds(protocol.DeviceEvent, device=text, memory_used=number, memory_total=number),
    st.builds(protocol.BaselineEvent, id=text, examples=number, of=number),
    st.builds(protocol.ProgressEvent, id=text, cell=cell, done=number, total=number, examples=number, of=number),
    st.builds(protocol.PaceEvent, id=text, examples=number, of=number),
    st.builds(protocol.PlannedEvent, id=text, probe=text),
    st.builds(protocol.CommittedEvent, id=text, cell=cell, done=number, total=number, seconds=st.floats(0, 1e6)),
    st.builds(protocol.FailedEvent, id=text, cell=st.none() | cell, message=text),
    st.builds(protocol.FinishedEvent, id=text, done=number, cancelled=st.booleans()),
    st.builds(protocol.PongEvent, id=text),
)


@given(requests)
def test_requests_round_trip(message):
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == message


@given(events)
def test_events_round_trip(message):
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode_event(line) == message


@given(cell)
def test_cells_round_trip(value):
    assert to_wire(from_wire(value)) == value


def test_a_line_as_documented():
    line = '{"type": "probe", "id": "7", "store": "s", "run": "r", "probe": null, "cells": [[null, 1, 0]]}'
    request = decode_request(line)
    assert isinstance(request, protocol.ProbeRequest)
    assert (request.again, request.exact) == (False, False)
    assert from_wire(request.cells[0]) == Cell(None, 1, 0)
    assert json.loads(encode(request))["cells"] == [[None, 1, 0]]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"type": "nope"}',
        b'{"id": "1"}',
        b'{"type": "ping", "extra": 1}',
        b"\xff\xfe",
        b'{"type": "probe", "id": "1", "store": "s", "run": "r", "cells": [[-1, 0, 0]]}',
        b'{"type": "probe", "id": "1", "store": "s", "run": "r", "cells": [[0, 0]]}',
        b'{"type": "committed", "id": "1"}',
    ],
)
def test_anything_else_is_refused(line: bytes):
    with pytest.raises(ProtocolError) as caught:
        decode_request(line)
    assert "not a message of the worker's protocol" in str(caught.value)


def test_an_event_is_no_request():
    with pytest.raises(ProtocolError):
        decode_request(encode(protocol.PongEvent()))
