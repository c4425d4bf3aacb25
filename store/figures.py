"""A small process that reads weights for others: `python -m lyrx.store.figures`.

It knows numpy and zarr, and is kept apart from the terminal app, which starts without either.  JSON lines: requests on
its standard input, one answer a line on its standard output, in order.  The end of its input ends it::

    -> {"id": 1, "store": "lyrx.zarr", "run": "fcn", "epoch": 8, "other": 0, "names": ["fc1.weight"]}
    <- {"id": 1, "compared": {"edges": [...], "now": {...}, "other": {...}, "moved": 0.03, "cosine": 0.9}}
    <- {"id": 2, "error": "run 'fcn' has no checkpoint 9. ..."}

What `compared` holds is described in :class:`.histogram.Comparison`.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from .errors import LyrxError
from .histogram import compare
from .store import Store


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one request. What goes wrong is said in it, in words."""
    number = request.get("id")
    try:
        run = Store.open(request["store"]).run(request["run"])
        names = [name for name in request["names"] if name in run.checkpoints.tensors]
        found = compare(run.checkpoints, names, int(request["epoch"]), int(request["other"]))
    except LyrxError as error:
        return {"id": number, "error": str(error)}
    except MemoryError:
        return {"id": number, "error": "there is not enough memory to read these weights."}
    except Exception as error:  # a store may be taken away or written over under one's hands
        return {"id": number, "error": f"the weights cannot be read: {type(error).__name__}: {error}"}
    return {"id": number, "compared": found.to_json()}


def main() -> None:
    """Answer until the input ends."""
    # Whatever a library prints goes to the errors: the output is for answers only.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            request = json.loads(line)
        except ValueError:
            continue
        if isinstance(request, dict):
            print(json.dumps(answer(request)), file=out, flush=True)


if __name__ == "__main__":
    main()
