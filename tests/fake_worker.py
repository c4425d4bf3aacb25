"""A worker that measures nothing: it speaks the protocol and commits the fake net's numbers. For tests of the app.

    python tests/fake_worker.py [--die L,C,D] [--once FILE] [--refuse TEXT] [--hold] [--start-dead] [--greet] [--looks]

`--die` kills it (SIGKILL) when it comes to that cell, with `--once` only as long as FILE does not exist; `--refuse`
answers every request with a failure; `--hold` waits for a cancel instead of measuring; `--start-dead` ends it at once
with a message on stderr; `--greet` prints a line that is no message first; with `--looks` a cell that is not wanted
exact is committed on few examples.
With `--baseline` it says that the trained network comes first; with `--old` it is one that cannot plan.  What it plans
is what the real one would make, in names and shapes.
"""

import argparse
import os
import signal
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from fakes import START, cell_estimate
from lyrx.engine.protocol import (
    AcceptedEvent,
    BaselineEvent,
    CancelRequest,
    CommittedEvent,
    DeviceEvent,
    Event,
    FailedEvent,
    FinishedEvent,
    PaceEvent,
    PingRequest,
    PlannedEvent,
    PlanRequest,
    PongEvent,
    ProbeRequest,
    ProgressEvent,
    QuitRequest,
    ReadyEvent,
    decode_request,
    encode,
    from_wire,
)
from lyrx.store import Layer, Store


def say(event: Event) -> None:
    sys.stdout.buffer.write(encode(event))
    sys.stdout.buffer.flush()


def measure(request: ProbeRequest, asked: argparse.Namespace) -> None:
    if asked.refuse:
        say(FailedEvent(id=request.id, message=asked.refuse))
        return
    probe = Store.open(request.store).run(request.run).probe(request.probe)
    known = probe.results().estimates
    done = {cell for cell, estimate in known.items() if estimate.exact or not request.exact}
    cells = [cell for cell in map(from_wire, request.cells) if request.again or cell not in done]
    total = len(cells)
    say(AcceptedEvent(id=request.id, cells=total))
    say(DeviceEvent(device="cpu", memory_used=1, memory_total=2))
    if asked.baseline:
        say(BaselineEvent(id=request.id, examples=1_024, of=10_000))
        if asked.hold:
            return
    for done, cell in enumerate(cells):
        wire = (cell.layer, cell.column, cell.draw)
        say(ProgressEvent(id=request.id, cell=wire, done=done, total=total, examples=4_000, of=10_000))
        say(PaceEvent(id=request.id, examples=10_000 * done + 4_000, of=10_000 * total))
        if list(wire) == asked.die and not (asked.once and asked.once.exists()):
            if asked.once:
                asked.once.touch()
            print("a traceback\nRuntimeError: CUDA error: \x1b[31mout of memory", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if asked.hold:
            return
        numbers = {"n": 4_000} if asked.looks and not request.exact else {}
        probe.write(cell, cell_estimate(probe.info, cell, **numbers), seconds=0.0, evaluator="replay")
        say(CommittedEvent(id=request.id, cell=wire, done=done + 1, total=total, seconds=0.0))
    say(FinishedEvent(id=request.id, done=total, cancelled=False))


def plan(request: PlanRequest) -> None:
    run = Store.open(request.store).run(request.run)
    base = run.probe(request.probe).info
    if request.granularity is not None:
        layers = tuple(Layer(f"{request.granularity} {i}", (), 100) for i in range(2))
        info = replace(base, granularity=request.granularity, layers=layers, fingerprint="9e" * 32, created=START + 500)
    else:
        rows = [tuple(layer.name for layer in base.layers if layer.name in group) for group in request.joint]
        sizes = {layer.name: layer.parameters for layer in base.layers}
        layers = tuple(Layer("+".join(row), (), sum(map(sizes.__getitem__, row)), row) for row in rows)
        number = sha256("/".join(map(str, rows)).encode()).hexdigest()
        info = replace(base, layers=layers, fingerprint=number, created=START + 400, companion=base.id)
    probe = run.create_probe(info)
    for epoch in info.checkpoints:
        probe.write_distances(epoch, (0.01,) * len(layers), (0.1,) * len(layers))
    say(PlannedEvent(id=request.id, probe=probe.info.id))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--die", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--once", type=Path)
    parser.add_argument("--refuse")
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--start-dead", action="store_true")
    parser.add_argument("--greet", action="store_true")
    parser.add_argument("--looks", action="store_true")
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--old", action="store_true")
    asked = parser.parse_args()
    if asked.start_dead:
        sys.exit("no such device \x1b[31m[bold]here")
    if asked.greet:
        print("Welcome to this machine!", flush=True)
    say(ReadyEvent(version=1 if asked.old else 2, pid=os.getpid(), lyrx="0"))
    waiting: list[str] = []
    for line in sys.stdin.buffer:
        request = decode_request(line)
        if isinstance(request, QuitRequest):
            break
        if isinstance(request, PingRequest):
            say(PongEvent(id=request.id))
        elif isinstance(request, CancelRequest):
            for id_ in [id_ for id_ in waiting if request.id in (None, id_)]:
                say(FinishedEvent(id=id_, done=0, cancelled=True))
                waiting.remove(id_)
        elif isinstance(request, PlanRequest) and not asked.old:
            plan(request)
        elif isinstance(request, PlanRequest):
            say(FailedEvent(id="", message="not a message of the worker's protocol: Input tag 'plan' was found"))
        else:
            waiting.append(request.id)
            measure(request, asked)
            if not asked.hold:
                waiting.remove(request.id)


if __name__ == "__main__":
    main()
