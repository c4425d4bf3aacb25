"""The JSON of `lyrx show --json` and `lyrx ls --json`. Others rely on it: keys are added, never changed or removed.

Described for its readers in `explorer/JSON.md`.
"""

import json
import math
from typing import Any

from ..store import Progress, Run
from .core.picture import CellSummary, Picture
from .core.words import perplexity


def picture_json(picture: Picture) -> dict[str, Any]:
    """One probe of one run. Errors are fractions 0..1; missing and damaged cells are absent; no number is null."""
    baseline = picture.baseline
    epochs = {metrics.epoch: metrics for metrics in picture.history}
    whole = {
        column.checkpoint: cell.error
        for index, column in enumerate(picture.columns)
        if (cell := picture.cell(None, index)) and cell.measured
    }
    checkpoints = []
    for epoch in picture.committed:
        known = epochs.get(epoch)
        error = whole.get(epoch, known.test_error if known else math.nan)
        checkpoints.append(
            {
                "epoch": epoch,
                "train_loss": number(known.train_loss if known else math.nan),
                "error": number(error),
            }
        )
    return {
        "run": picture.run.name,
        "status": picture.status,
        "model": picture.run.model,
        "data": picture.run.data,
        "baseline": baseline
        and {
            "error": baseline.error,
            "loss": number(baseline.loss),
            "n": baseline.n,
            **({"perplexity": number(perplexity(baseline.loss))} if picture.language else {}),
        },
        "granularity": picture.probe.granularity,
        "layers": picture.layer_names,
        "columns": [column.to_json() for column in picture.columns],
        "cells": [
            _cell(layer, column, cell, picture)
            for (layer, column), cell in sorted(picture.cells.items(), key=lambda item: (item[0][0] or 0, item[0][1]))
            if layer is not None and cell.measured
        ],
        "distances": {
            "l2": _distances(picture, 0),
            "linf": _distances(picture, 1),
        },
        "checkpoints": checkpoints,
        "probe": picture.probe.id,
        "tolerance": picture.tolerance,
        "skipped": list(picture.probe.skipped),
        "problems": [str(problem) for problem in picture.problems],
        "exact": picture.exact,
        "precision": picture.probe.settings.get("precision", "fp32"),
        "fallbacks": [fallback.__dict__ for fallback in picture.fallbacks],
        "notes": list(picture.notes),
        "joint": {layer.name: list(layer.joint) for layer in picture.probe.layers if layer.joint},
        "companions": {
            picture.layer_names[layer]: home
            for layer in range(len(picture.probe.layers))
            if (home := picture.home(layer)[0]) != picture.probe.id
        },
        "progress": _progress(picture.progress),
        "unavailable": [
            {"layer": layer, "column": column, "reason": reason}
            for (layer, column), reason in picture.probe.unavailable.items()
        ],
    }


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "cells": progress.total,
        "measured": progress.committed,
        "exact": progress.exact,
        "widest": progress.widest,
    }


def _cell(layer: int, column: int, cell: CellSummary, picture: Picture) -> dict[str, Any]:
    value: dict[str, Any] = {
        "layer": layer,
        "column": column,
        "error": cell.error,
        "low": cell.low,
        "high": cell.high,
        "loss": number(cell.loss),
        "agreement": cell.agreement,
        "n": cell.n,
        "exact": cell.exact,
        "verdict": picture.verdict(layer, column),
        "evaluator": cell.evaluator or None,
    }
    if cell.reason:
        value["reason"] = cell.reason
    if cell.expected > 1:
        value["spread"] = cell.spread
        value["draws"] = [
            {
                "error": draw.error,
                "low": draw.low,
                "high": draw.high,
                "loss": number(draw.loss),
                "agreement": draw.agreement,
                "n": draw.n,
                "exact": draw.exact,
            }
            for draw in cell.draws
        ]
    return value


def _distances(picture: Picture, norm: int) -> list[list[float | None]]:
    """[layer][checkpoint], in the order of the probe's checkpoints; null where not measured."""
    return [
        [
            number(picture.distances[epoch][norm][layer]) if epoch in picture.distances else None
            for epoch in picture.probe.checkpoints
        ]
        for layer in range(len(picture.probe.layers))
    ]


def run_json(run: Run) -> dict[str, Any]:
    """One line of `lyrx ls`. `layers` and `checkpoints` count; `error` is that of the last finished epoch."""
    probes = run.probes()
    epochs, _ = run.history.read()
    progress = probes[-1].progress() if probes else Progress(0, 0, 0, None)
    return {
        "name": run.name,
        "status": run.status_of(complete=progress.complete, probe=probes[-1].info.id if probes else ""),
        "model": run.info.model,
        "data": run.info.data,
        "layers": len(probes[-1].info.layers) if probes else 0,
        "checkpoints": len(run.checkpoints.committed()),
        "error": number(epochs[-1].test_error) if epochs else None,
        "epoch": epochs[-1].epoch if epochs else None,
        "epochs": run.info.epochs,
        "progress": _progress(progress),
    }


def number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def dumps(value: Any) -> str:
    """`value` as JSON text, escape sequences written out."""
    return json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
