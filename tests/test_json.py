"""The JSON that others rely on: against a schema of its own, and against the store."""

import json
from pathlib import Path

import jsonschema
import pytest
from lyrx.explorer.jsonout import dumps, picture_json, run_json
from lyrx.explorer.picture import take_picture
from lyrx.store import Cell
from running import lyrx
from small import estimate, finished_store, small_store

FRACTION = {"type": "number", "minimum": 0, "maximum": 1}
NUMBER = {"type": ["number", "null"]}
ESTIMATE = {
    "error": FRACTION, "low": FRACTION, "high": FRACTION, "loss": NUMBER, "agreement": FRACTION,
    "n": {"type": "integer", "minimum": 1}, "exact": {"type": "boolean"},
}  # fmt: skip
MATRIX = {"type": "array", "items": {"type": "array", "items": NUMBER}}
STATUS = {"enum": ["training", "probing", "interrupted", "complete"]}

SHOW = {
    "type": "object",
    "required": [
        "run",
        "status",
        "model",
        "data",
        "baseline",
        "granularity",
        "layers",
        "columns",
        "cells",
        "distances",
        "checkpoints",
    ],
    "properties": {
        "run": {"type": "string"},
        "status": STATUS,
        "model": {"type": "string"},
        "data": {"type": "string"},
        "baseline": {
            "type": ["object", "null"],
            "required": ["error", "loss", "n"],
            "properties": {"error": FRACTION, "loss": NUMBER, "n": {"type": "integer"}},
        },
        "granularity": {"type": "string"},
        "layers": {"type": "array", "items": {"type": "string"}},
        "columns": {
            "type": "array",
            "items": {
                "oneOf": [
                    {
                        "required": ["kind", "draws"],
                        "properties": {"kind": {"const": "rerandomise"}, "draws": {"type": "integer"}},
                        "additionalProperties": False,
                    },
                    {
                        "required": ["kind", "checkpoint"],
                        "properties": {"kind": {"const": "reinitialise"}, "checkpoint": {"type": "integer"}},
                        "additionalProperties": False,
                    },
                ]
            },
        },
        "cells": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["layer", "column", *ESTIMATE],
                "properties": {
                    "layer": {"type": "integer"},
                    "column": {"type": "integer"},
                    **ESTIMATE,
                    "spread": NUMBER,
                    "draws": {
                        "type": "array",
                        "items": {"type": "object", "required": list(ESTIMATE), "properties": ESTIMATE},
                    },
                },
                "additionalProperties": False,
            },
        },
        "distances": {
            "type": "object",
            "required": ["l2", "linf"],
            "properties": {"l2": MATRIX, "linf": MATRIX},
        },
        "checkpoints": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["epoch", "train_loss", "error"],
                "properties": {"epoch": {"type": "integer"}, "train_loss": NUMBER, "error": NUMBER},
                "additionalProperties": False,
            },
        },
    },
}

LIST = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "status", "model", "data", "layers", "checkpoints", "error"],
        "properties": {
            "name": {"type": "string"},
            "status": STATUS,
            "model": {"type": "string"},
            "data": {"type": "string"},
            "layers": {"type": "integer"},
            "checkpoints": {"type": "integer"},
            "error": {"type": ["number", "null"]},
        },
    },
}


def test_a_complete_run(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    value = json.loads(dumps(picture_json(take_picture(run))))
    jsonschema.validate(value, SHOW)
    assert value["run"] == "small"
    assert value["status"] == "complete"
    assert value["baseline"] == {"error": 0.1, "loss": 0.2, "n": 100}
    assert value["layers"] == ["fc1", "fc2"]
    assert value["columns"] == [
        {"kind": "rerandomise", "draws": 2},
        {"kind": "reinitialise", "checkpoint": 0},
        {"kind": "reinitialise", "checkpoint": 2},
    ]
    assert [(cell["layer"], cell["column"]) for cell in value["cells"]] == [(i, j) for i in (0, 1) for j in (0, 1, 2)]
    first = value["cells"][0]
    draws = [run.probe().read(Cell(0, 0, draw)) for draw in (0, 1)]
    errors = [draw.error for draw in draws if draw]
    assert first["error"] == pytest.approx(sum(errors) / 2)
    assert [draw["error"] for draw in first["draws"]] == errors
    assert first["spread"] == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5)
    assert "draws" not in value["cells"][1]
    assert value["distances"] == {"l2": [[0.0, 0.1], [0.0, 0.2]], "linf": [[0.0, 0.3], [0.0, 0.4]]}
    assert [c["epoch"] for c in value["checkpoints"]] == [0, 2]
    assert value["checkpoints"][0]["train_loss"] == 2.0
    assert value["checkpoints"][1]["error"] == 0.1


def test_a_run_that_has_only_begun(tmp_path: Path):
    _, run = small_store(tmp_path / "s.zarr")
    value = json.loads(dumps(picture_json(take_picture(run))))
    jsonschema.validate(value, SHOW)
    assert value["baseline"] is None
    assert value["cells"] == []
    assert value["checkpoints"] == []
    assert value["status"] == "interrupted"
    assert value["distances"]["l2"] == [[None, None], [None, None]]
    jsonschema.validate([run_json(run)], LIST)
    assert run_json(run)["error"] is None


def test_missing_and_damaged_cells_are_absent_and_no_number_is_null(tmp_path: Path):
    _, run = finished_store(tmp_path / "s.zarr")
    probe = run.probe()
    probe.write(Cell(1, 2), estimate(float("nan")).__class__(0.9, 0.9, 0.9, float("inf"), 0.1, 100, 100))
    chunk = probe.chunk(Cell(0, 1))
    chunk.write_bytes(b"\0" * len(chunk.read_bytes()))
    probe._estimate.commits.withdraw((0, 2, 0))
    probe._estimate.commits.withdraw((0, 0, 1))
    value = json.loads(dumps(picture_json(take_picture(run))))
    jsonschema.validate(value, SHOW)
    places = {(cell["layer"], cell["column"]): cell for cell in value["cells"]}
    assert (0, 1) not in places
    assert (0, 2) not in places
    assert places[1, 2]["loss"] is None
    assert len(places[0, 0]["draws"]) == 1
    assert places[0, 0]["spread"] is None
    assert "estimate/c/0/1/0" in value["problems"][0]


def test_the_commands_print_it(tmp_path: Path):
    store, _ = finished_store(tmp_path / "s.zarr", "a\x1b[31m[bold]b")
    listed = lyrx("ls", "--store", store.path, "--json")
    value = json.loads(listed.stdout)
    jsonschema.validate(value, LIST)
    assert "\x1b" not in listed.stdout
    assert value[0]["name"] == "a\x1b[31m[bold]b"
    assert (value[0]["layers"], value[0]["checkpoints"], value[0]["error"]) == (2, 2, 0.4)
    shown = lyrx("show", "a\x1b[31m[bold]b", "--store", store.path, "--json")
    assert shown.returncode == 0, shown.stderr
    jsonschema.validate(json.loads(shown.stdout), SHOW)
    assert "\x1b" not in shown.stdout
    by_environment = lyrx("ls", "--json", LYRX_STORE=str(store.path))
    assert json.loads(by_environment.stdout) == value
