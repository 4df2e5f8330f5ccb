"""The ledger: the claims of the abstract, each with its test, its effect and its verdict, computed from features."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from rgbd_insight.claims import inference, strategies, twins
from rgbd_insight.claims.rows import Row, written
from rgbd_insight.features import Features
from rgbd_insight.questions.balance import as_made
from rgbd_insight.utils.messages import unknown

FILE = Path(__file__).with_name("claims.toml")
STATED = FILE.with_name("stated")  # its earlier versions, named by the first digits of their SHA-256
COLUMNS = (
    "claim",
    "name",
    "data",
    "effect",
    "value",
    "low",
    "high",
    "p",
    "verdict",
    "beforehand",
    "why",
    "command",
    "says",
    "test",
)
SCENES_ONLY = ("1b", "6b", "7")  # what was planted, or is an intervention on scenes
SETTINGS = {"7": ("level", "pilot_seeds")}  # the common settings that a claim is judged by; all others: the level


@dataclass(frozen=True)
class Ledger:
    """The claims and what became of them.

    Attributes
    ----------
    table : DataFrame
        One row a claim and kind of data, the columns `COLUMNS`; `beforehand` says whether every run was extracted when
        this claim's test stood in the same words as now.
    digest : str
        SHA-256 of the file that states the tests.
    """

    table: pd.DataFrame
    digest: str

    def text(self) -> str:
        """The ledger to be read in a terminal."""
        lines = [f"tests: {FILE.name}, SHA-256 {self.digest[:12]}…", ""]
        for row in self.table.itertuples():
            late = "" if row.beforehand or row.verdict == "not tested" else " (the runs are older than the test)"
            lines.append(f"{row.claim:3} {row.name} ({row.data}): {row.verdict.upper()}{late}")
            if row.effect:
                lines.append(f"    {row.effect}: {_number(row)}")
            lines += [f"    {part}" for part in (row.why, row.command and f"to add it: {row.command}") if part]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        shown = self.table[
            ["claim", "name", "data", "verdict", "beforehand", "effect", "value", "low", "high", "p", "why"]
        ]
        return shown.to_html(index=False, float_format="%.3f", na_rep="")


def _number(row: tuple) -> str:
    return written(row) + (f", p = {row.p:.3f}" if pd.notna(row.p) else "")


@cache
def specification() -> dict[str, dict]:
    """The stated tests by claim, each with the common settings that it is judged by."""
    return _stated_in(FILE)


def _stated_in(file: Path) -> dict[str, dict]:
    stated = tomllib.loads(file.read_text(encoding="utf-8"))
    return {c["id"]: {name: stated[name] for name in SETTINGS.get(c["id"], ("level",))} | c for c in stated["claim"]}


@cache
def _versions() -> dict[str, dict[str, dict]]:
    """What each version of the file states, by the SHA-256 that runs name."""
    return {_sha256(file): _stated_in(file) for file in (*STATED.glob("*.toml"), FILE)}


def digest() -> str:
    """SHA-256 of the file that states the tests."""
    return _sha256(FILE)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def stated_before(claim: str, digests: Iterable[str | None]) -> bool:
    """Whether the files with these SHA-256, as runs name them, all state the claim in the same words as today's.

    Parameters
    ----------
    claim : str
        Its id.
    digests : iterable of str or None
        Of the file as it was when the runs were made; None, or one that nobody kept, says nothing of what was stated.

    Examples
    --------
    >>> stated_before("1", [digest()]), stated_before("1", [digest(), "0" * 64]), stated_before("1", [None])
    (True, False, False)
    """
    return all(_versions().get(d or "", {}).get(claim) == specification()[claim] for d in digests)


def claims(
    *features: Features,
    results: str | Path | None = None,
    fresh: Features | None = None,
    only: Iterable[str] | None = None,
) -> Ledger:
    """Test the abstract's claims on one or more kinds of data, as `claims.toml` states it.

    Parameters
    ----------
    *features : Features
        From `load`, one for each kind of data.
    results : str or Path, optional
        A folder of tables (`book/results`), where the zoo's (C, S) and the intervention's runs are; None: no such
        tables, and (C, S) are computed.
    fresh : Features, optional
        Predictions of `insight` and its opponents from seeds that nothing else was trained with, for claim 7; None:
        they are looked for among `features`.
    only : iterable of str, optional
        Ids of claims, such as "1" and "6b"; default all.

    Returns
    -------
    Ledger
        What cannot be tested says what is missing and the command that adds it; it never has a number.

    Raises
    ------
    ValueError
        For an unknown claim, or without features.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> from rgbd_insight.claims import VERDICTS
    >>> found = claims(ri.load("book/features/scenes"), only=["5", "7"])
    >>> found.table.verdict.isin(VERDICTS).all().item(), len(found.table)
    (True, 2)
    """
    if not features:
        raise ValueError("`features` must be at least one features directory; got none: pass ri.load(…)")
    stated = specification()
    chosen = list(stated) if only is None else list(only)
    for claim in chosen:
        if claim not in stated:
            raise ValueError(unknown("only", claim, stated))
    rows = []
    for claim in chosen:
        for found in features:
            planted = found.concepts.kind.ne("unknown").any()
            if claim in SCENES_ONLY and not planted:
                continue
            spec = stated[claim]
            seen = fresh if claim == "7" and fresh is not None else found
            row = _TESTS[claim](seen, spec, results)
            about = {
                "claim": claim,
                "name": spec["name"],
                "data": found.manifest["name"],
                "beforehand": stated_before(claim, _named(claim, seen, results)),
            }
            rows.append(about | asdict(row) | {"says": spec["says"], "test": spec["test"]})
    return Ledger(pd.DataFrame(rows, columns=list(COLUMNS)), digest())


def _named(claim: str, features: Features, results: str | Path | None) -> set[str | None]:
    """SHA-256 of the file of tests as it was when the runs were made that the claim is judged on."""
    table = inference.read(results, "intervention") if claim == "6b" else None
    if table is not None and "claims" in table:  # its runs have no features
        return set(table["claims"])
    return {run.get("claims") for run in features.execution["runs"]}


def _zoo(features: Features, results: str | Path | None) -> pd.DataFrame | None:
    """(C, S) and accuracy of the zoo; of the networks that are committed where there is no zoo."""
    name = features.manifest["name"]
    zoo = inference.read(results, f"zoo_{name}")
    table = inference.read(results, f"balance_{name}") if zoo is None else zoo
    return None if table is None else as_made(table)


_TESTS: dict[str, Callable[[Features, dict, str | Path | None], Row]] = {
    "1": lambda features, spec, _: twins.discrepancy(features, spec),
    "1b": lambda features, spec, _: twins.as_known(features, spec),
    "2a": lambda features, spec, _: twins.similarity_trend(features, spec),
    "2b": lambda features, spec, _: twins.concept_order(features, spec),
    "3a": lambda features, spec, _: strategies.specific_units(features, spec),
    "3b": lambda features, spec, _: strategies.consistent_units(features, spec),
    "4": lambda features, spec, _: strategies.retention(features, spec),
    "5": lambda features, spec, results: strategies.imbalance(features, spec, _zoo(features, results)),
    "6a": lambda features, spec, results: inference.over_the_zoo(features, spec, _zoo(features, results)),
    "6b": lambda features, spec, results: inference.intervention(inference.read(results, "intervention"), spec),
    "7": lambda features, spec, _: inference.derived(features, spec),
}
