"""The commands that only look: `lyrx ls | show | keys | check`."""

from pathlib import Path
from typing import Annotated

import typer

from ..store import LyrxError, Probe, Run, Store, did_you_mean, inert
from .clitools import StoreOption, command, end_with, store_path

METRIC_NAMES = ("error", "loss", "agreement", "l2", "linf", "width", "verdict")
"""What a heatmap can show: the names of `core.picture.METRICS`, which would have to be imported for `--help`."""


def _metric(name: str) -> str:
    """`name`, if a metric is called so. Raises LyrxError."""
    if name not in METRIC_NAMES:
        near = did_you_mean(name, METRIC_NAMES)
        raise LyrxError(f"--metric: there is no metric '{inert(name)}'.{near} There are: {', '.join(METRIC_NAMES)}.")
    return name


@command
def list_runs(
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the runs of a store."""
    from . import listing

    opened = Store.open(store_path(store))
    rows, errors = listing.rows(opened)
    print(listing.as_json(rows)) if as_json else listing.show(opened, rows)
    end_with(errors)


@command
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run of the store.", show_default=False)],
    store: StoreOption = None,
    metric: Annotated[
        str, typer.Option("--metric", metavar="METRIC", help=f"What to show: {', '.join(METRIC_NAMES)}.")
    ] = METRIC_NAMES[0],
    probe: Annotated[
        str | None,
        typer.Option("--probe", help="A probe's id or granularity; default: the newest.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write it to a file: .csv, .json, .svg, .png, .txt.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="What the file is: csv, csv-wide, json, svg, png, txt; default: what its suffix says.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show a run's heatmap as text, or write it to a file."""
    metric = _metric(metric)
    if output is not None:
        _export(run, store_path(store), metric, probe, output, form or ("json" if as_json else None))
        return
    if form is not None:
        raise LyrxError("--format goes with --output FILE.")
    opened = Store.open(store_path(store)).run(run)
    if as_json:
        print_json(opened, opened.probe(probe))
        return
    from .core.picture import take_picture
    from .show import print_heatmap

    picture = take_picture(opened, opened.probe(probe))
    print_heatmap(picture, metric)
    end_with(picture.problems)


def _export(run: str, store: Path, metric: str, probe: str | None, output: Path, name: str | None) -> None:
    from .core.export import encode, format_of
    from .core.picture import take_picture
    from .exporting import checked_path, size_text, write_file

    form, path = format_of(output, name), checked_path(output)
    opened = Store.open(store).run(run)
    picture = take_picture(opened, opened.probe(probe))
    data = encode(picture, metric, form)
    write_file(path, data)
    print(f"wrote {inert(str(output))} ({form.title}, {size_text(len(data))})")
    end_with(picture.problems)


def print_json(run: Run, probe: Probe) -> None:
    """Print all that is known of a probe as one JSON object, and end as damage bids."""
    from .core.picture import take_picture
    from .jsonout import dumps, picture_json

    picture = take_picture(run, probe)
    print(dumps(picture_json(picture)))
    end_with(picture.problems)


@command
def keys() -> None:
    """List every key of the app by the name that the settings know it by."""
    from .config import config_path
    from .keys import key_lines

    print(
        f"# What `lyrx explore` does by which key. Put the lines that you change into\n# {inert(str(config_path()))}\n"
    )
    print("[keys]")
    for line in key_lines():
        print(line)


@command
def check(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store to verify.", show_default=False)],
) -> None:
    """Verify every hash of a store, sweep what killed writers left, and name what is damaged."""
    from ..store.check import Report, check_store
    from .listing import show_report

    report = Report()
    for name in check_store(Store.open(store), report):
        print(f"checked {inert(name)}", flush=True)
    show_report(report)
    if report.damaged:
        raise typer.Exit(2)
