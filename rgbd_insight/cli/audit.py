"""`rgbd-insight audit`: ask features the four questions, or lay two audits side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rgbd_insight.cli.sources import TIMES, command, new_file
from rgbd_insight.features import load
from rgbd_insight.report import Audit, audit, check_suffix, compare_reports, read_report


def add(commands: argparse._SubParsersAction) -> None:
    """The command `audit`."""
    sub = command(commands, "audit", run, "print both axes and the four answers, or compare two audits")
    sub.add_argument(
        "features",
        nargs="*",
        default=["features/mine"],
        help="a directory that `extract` wrote, or a report saved as .json; two of them are compared",
    )
    sub.add_argument(
        "--join",
        nargs="+",
        default=[],
        metavar="FEATURES",
        help="directories with more runs on the same samples: seeds, twins",
    )
    text = "concepts of your own: .csv files with id, concept and value (0 to 1), or folders of masks, CONCEPT/ID.png"
    sub.add_argument("--concepts", nargs="+", default=[], metavar="PATH", help=text)
    sub.add_argument("--run", help="run id or fusion; none: the first that sees both modalities")
    sub.add_argument("--permutations", type=TIMES, default=200, help="for the nulls, at least 20")
    sub.add_argument("--html", type=_report, metavar="PATH", help="also write a page with tables and figures")
    sub.add_argument("--json", type=_report, metavar="PATH", help="also write tables and card")


def _report(word: str) -> Path:
    try:
        return new_file(str(check_suffix(word)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace) -> None:
    """One place is audited, two are compared."""
    if len(options.features) > 2:
        raise ValueError(
            f"name one directory to audit it, or two to compare them; got {len(options.features)}: "
            "more runs on the same samples go behind --join"
        )
    if len(options.features) == 1 and not _saved(options.features[0]):
        found: Any = _ask(options.features[0], options)
        text = found.text()
    elif len(options.features) == 1:
        raise ValueError(f"a saved report is compared with another; name a second beside {options.features[0]}")
    else:
        a, b = (read_report(Path(p)) if _saved(p) else _ask(p, options).to_dict() for p in options.features)
        found = compare_reports(a, b)
        text = str(found)
    written = [found.save(path) for path in filter(None, (options.html, options.json))]  # before a reader may end it
    print("\n".join([text, *(f"written: {path}" for path in written)]))


def _saved(place: str) -> bool:
    return place.endswith(".json")


def _ask(place: str, options: argparse.Namespace) -> Audit:
    features = load(place, *options.join)
    for source in options.concepts:
        features = features.with_concepts(source)
    return audit(features, options.run, permutations=options.permutations)
