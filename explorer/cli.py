"""The command line: `lyrx batch | probe | ls | show | explore | keys | check | worker`.

Whatever needs torch is imported inside its command, so that the others start at once.
"""

import contextlib
import io
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..store import LyrxError, Store
from .clilook import check, keys, list_runs, print_json, show
from .clitools import StoreOption, command, end_with, leads, store_path

app = typer.Typer(
    help="Which layers of a trained network matter? Put one back, keep the rest, measure the error.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

ExactOption = Annotated[bool, typer.Option("--exact", help="Every cell on all examples, not only until it is decided.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"lyrx {version('lyrx')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


@app.command()
@command
def batch(
    specs: Annotated[
        list[Path], typer.Argument(metavar="SPEC...", help="TOML files, one run each.", show_default=False)
    ],
    store: StoreOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of every spec, such as train.epochs=10."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove these runs first and start them anew.")] = False,
    exact: ExactOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the specs and say what would be done; nothing is written.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print a JSON list.")] = False,
) -> None:
    """Train and probe, headless. Run again, it goes on where it stopped."""
    signal.signal(signal.SIGTERM, _interrupt)
    if as_json and not dry_run:
        raise LyrxError("--json goes with --dry-run here. `lyrx show RUN --json` prints what was measured.")
    from ..engine.specfile import load_spec

    overrides = [*(set_ or ()), *(["probe.exact=true"] if exact else [])]
    loaded = [load_spec(path, overrides) for path in specs]
    path = store_path(store)
    if dry_run:
        from ..engine.outlook import outlooks
        from .dryrun import show_outlooks

        end_with(show_outlooks(outlooks(loaded, path, fresh=fresh), as_json=as_json))
        return

    from .batchview import batch_view

    with batch_view(path, quiet=not leads()) as view:
        # Only now, since it takes seconds: a wrong spec has been refused without it, and whoever waits sees why.
        from ..engine.batch import run_batch

        run_batch(loaded, path, fresh=fresh, observer=view)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@app.command()
@command
def probe(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A trained run of the store.", show_default=False)],
    store: StoreOption = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", metavar="PATTERN", help="Only rows whose name matches (*, ?, []); may be repeated."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="LIST",
            help="Columns, comma separated: random, EPOCH, final, zero, noise:SCALE, path:ALPHA, path:EPOCH:ALPHA, "
            "shuffle. The trained network is always among them.",
            show_default=False,
        ),
    ] = None,
    joint: Annotated[
        list[str] | None,
        typer.Option(
            "--joint",
            metavar="GROUP",
            help="A row that resets several at once: their patterns, comma separated; may be repeated.",
        ),
    ] = None,
    granularity: Annotated[
        str | None, typer.Option(help="What a row is: layer, module or block.", show_default=False)
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="Cells per layer where random numbers are drawn.", show_default=False)
    ] = None,
    exact: ExactOption = False,
    precision: Annotated[str | None, typer.Option(help="fp32, tf32, bf16 or fp16.", show_default=False)] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="How far above the trained network's error robust ends, as a fraction.", show_default=False),
    ] = None,
    evaluator: Annotated[
        str | None,
        typer.Option(help="replay (from the reset layer on) or full (the whole network).", show_default=False),
    ] = None,
    examples: Annotated[
        int | None, typer.Option(help="Look at so many test examples at most.", show_default=False)
    ] = None,
    norms: Annotated[
        str | None,
        typer.Option(help="BatchNorm's running statistics: rewound, kept or reestimated.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of the probe, such as probe.memory=8GiB."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and the progress on standard error.")
    ] = False,
) -> None:
    """Probe a trained run in another way. What is not said is as in the run's spec. Run again, it goes on."""
    signal.signal(signal.SIGTERM, _interrupt)
    path = store_path(store)
    opened = Store.open(path).run(run)
    from ..engine.specfile import parse_override

    said = {
        "layers": layers,
        "at": None if at is None else at.split(","),
        "joint": joint and [[pattern.strip() for pattern in group.split(",")] for group in joint],
        "granularity": granularity,
        "draws": draws,
        "exact": exact or None,
        "precision": precision,
        "tolerance": tolerance,
        "evaluator": evaluator,
        "examples": examples,
        "norm_statistics": norms,
    }
    overrides = dict(map(parse_override, set_ or ()))
    overrides |= {f"probe.{key}": value for key, value in said.items() if value not in (None, [])}

    from .batchview import batch_view
    from .progress import Lines

    with contextlib.nullcontext(Lines(sys.stderr)) if as_json else batch_view(path, quiet=not leads()) as view:
        from ..engine.batch import run_probe

        probed = run_probe(path, opened.name, overrides, observer=view)
    if as_json and leads():
        print_json(opened, probed)


app.command("ls")(list_runs)
app.command()(show)


@app.command()
@command
def explore(
    store: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STORE]", help="The store; default: $LYRX_STORE, then ./lyrx.zarr.", show_default=False
        ),
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Open this run at once.", show_default=False)] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            "--worker",
            metavar="COMMAND",
            help="How to start a worker, such as 'ssh host lyrx worker'.",
            show_default=False,
        ),
    ] = None,
    fresh_view: Annotated[
        bool, typer.Option("--fresh-view", help="Open as if for the first time, not where you were.")
    ] = False,
) -> None:
    """Walk through a store in the terminal, and measure what is missing by pressing a key.

    Settings are read from $LYRX_CONFIG or the usual folder; `lyrx keys` says which, and lists all keys.
    """
    path = store_path(store)
    Store.open(path)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LyrxError("explore needs a terminal on its input and output. `lyrx show RUN` prints a heatmap anywhere.")
    from .core.room import SMALLEST
    from .launch import run_app

    columns, lines = os.get_terminal_size()
    # A terminal that does not know its size says 0.
    if 0 < columns < SMALLEST[0] or 0 < lines < SMALLEST[1]:
        raise LyrxError(
            f"the terminal is too small: {columns} x {lines}, and explore needs {SMALLEST[0]} x {SMALLEST[1]}. "
            "Enlarge it, or use `lyrx show RUN`."
        )
    raise typer.Exit(run_app(path, shlex.split(worker) if worker else None, run, fresh_view=fresh_view))


app.command()(keys)
app.command()(check)


@app.command()
@command
def worker() -> None:
    """Measure cells on request: JSON lines on standard input and output (see lyrx.engine.protocol)."""
    from ..engine.worker import main as serve

    raise typer.Exit(serve())


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no arrows still shows the numbers
    app()


if __name__ == "__main__":
    main()
