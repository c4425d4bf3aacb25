"""The JSON that others rely on: against a schema of its own, and against the store."""

import json
from pathlib import Path

import fakes
import jsonschema
import pytest
from lyrx.explorer.core.picture import take_picture
from lyrx.explorer.jsonout import dumps, picture_json, run_json
from lyrx.store import Cell, Store
from running import lyrx
from small import estimate, finished_store, small_store

FRACTION = {"type": "number", "minimum": 0, "maximum": 1}
NUMBER = {"type": ["number", "null"]}
ESTIMATE = {
    "error": FRACTION, "low": FRACTION, "high": FRACTION, "loss": NUMBER, "agreement": FRACTION,
    "n": {"type": "integer", "minimum": 1}, "exact": {"type": "boolean"},
}  # fmt: skip
VERDICT = {"enum": ["critical", "robust", "undecided", None]}
EVALUATOR = {"enum": ["replay", "full", "baseline", "replay+full", "full+replay", None]}
PROGRESS = {
    "type": "object",
    "required": ["cells", "measured", "exact", "widest"],
    "properties": {
        "cells": {"type": "integer"},
        "measured": {"type": "integer"},
        "exact": {"type": "integer"},
        "widest": {"type": ["number", "null"], "minimum": 0},
    },
    "additionalProperties": False,
}


def column(kind: str, **keys: str) -> dict:
    """The schema of a column of this kind with these keys, and no others."""
    properties = {"kind": {"const": kind}, **{key: {"type": type_} for key, type_ in keys.items()}}
    return {"required": list(properties), "properties": properties, "additionalProperties": False}


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
        "exact",
        "progress",
        "precision",
        "joint",
        "fallbacks",
        "notes",
    ],
    "properties": {
        "exact": {"type": "boolean"},
        "progress": PROGRESS,
        "precision": {"enum": ["fp32", "tf32", "bf16", "fp16"]},
        "joint": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        "notes": {"type": "array", "items": {"type": "string"}},
        "fallbacks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["layer", "kind", "reason"],
                "properties": {key: {"type": "string"} for key in ("layer", "kind", "reason")},
                "additionalProperties": False,
            },
        },
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
                    column("rerandomise", draws="integer"),
                    column("reinitialise", checkpoint="integer"),
                    column("zero"),
                    column("shuffle", draws="integer"),
                    column("noise", draws="integer", scale="number"),
                    column("path", checkpoint="integer", alpha="number"),
                ]
            },
        },
        "cells": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["layer", "column", *ESTIMATE, "verdict", "evaluator"],
                "properties": {
                    "layer": {"type": "integer"},
                    "column": {"type": "integer"},
                    **ESTIMATE,
                    "spread": NUMBER,
                    "verdict": VERDICT,
                    "evaluator": EVALUATOR,
                    "reason": {"type": "string"},
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
        "required": ["name", "status", "model", "data", "layers", "checkpoints", "error", "progress"],
        "properties": {
            "progress": PROGRESS,
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
    assert value["exact"] is True
    assert value["progress"] == {"cells": 10, "measured": 10, "exact": 10, "widest": None}
    assert (value["precision"], value["joint"], value["fallbacks"]) == ("fp32", {}, [])
    # The baseline's error is 0.1, and 0.05 is tolerated.
    assert [cell["verdict"] for cell in value["cells"]] == [
        "critical" if cell["error"] > 0.15 + 1e-12 else "robust" for cell in value["cells"]
    ]
    assert {cell["verdict"] for cell in value["cells"]} == {"critical", "robust"}


def test_every_kind_of_column_joint_rows_estimates_and_fallbacks(tmp_path: Path):
    run = fakes.kinds_run(Store.open_or_create(tmp_path / "s.zarr"))
    value = json.loads(dumps(picture_json(take_picture(run))))
    jsonschema.validate(value, SHOW)
    assert value["columns"][1:6] == [
        {"kind": "shuffle", "draws": 2},
        {"kind": "noise", "scale": 0.1, "draws": 3},
        {"kind": "zero"},
        {"kind": "path", "checkpoint": 0, "alpha": 0.5},
        {"kind": "path", "checkpoint": 8, "alpha": 0.5},
    ]
    assert value["joint"] == {"fc2+fc3": ["fc2", "fc3"]}
    assert value["fallbacks"] == [{"layer": "output", "kind": "", "reason": "its input is altered in place"}]
    assert value["notes"] == []
    run.probe().write_note("batches", "examples know of each other")
    assert picture_json(take_picture(run))["notes"] == ["examples know of each other"]
    assert value["status"] == "complete"
    assert value["exact"] is False
    cells = {(cell["layer"], cell["column"]): cell for cell in value["cells"]}
    progress, estimates = value["progress"], list(run.probe().results().estimates.values())
    assert (progress["cells"], progress["measured"]) == (73, 73)
    assert progress["exact"] == sum(estimate.n == estimate.total for estimate in estimates)
    assert progress["widest"] == max((e.high - e.low) / 2 for e in estimates if e.n < e.total)
    assert {cell["verdict"] for cell in value["cells"]} == {"critical", "robust", "undecided"}
    zero = cells[0, 3]
    assert (zero["evaluator"], zero["exact"], zero["n"]) == ("replay", False, 4_000)
    assert "reason" not in zero
    assert (cells[3, 3]["evaluator"], cells[3, 3]["reason"]) == ("full", "its input is altered in place")
    probe = run.probe()
    probe.write(Cell(0, 0, 1), fakes.estimate(0.9), evaluator="full", reason="why")
    mixed = picture_json(take_picture(run))["cells"][0]
    assert (mixed["evaluator"], mixed["reason"], mixed["exact"]) == ("replay+full", "why", False)
    assert run_json(run)["progress"]["exact"] == progress["exact"] + 1


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
    record = probe.record(Cell(0, 1))
    record.write_bytes(b"\0" * len(record.read_bytes()))
    probe.withdraw(Cell(0, 2))
    probe.withdraw(Cell(0, 0, 1))
    value = json.loads(dumps(picture_json(take_picture(run))))
    jsonschema.validate(value, SHOW)
    places = {(cell["layer"], cell["column"]): cell for cell in value["cells"]}
    assert (0, 1) not in places
    assert (0, 2) not in places
    assert places[1, 2]["loss"] is None
    assert len(places[0, 0]["draws"]) == 1
    assert places[0, 0]["spread"] is None
    assert "estimate/commits/0.1.0.json" in value["problems"][0]


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
