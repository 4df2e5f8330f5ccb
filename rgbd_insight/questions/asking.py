"""Asking one measure of one place: what has no value is said in `missing`, and the question goes on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd

from rgbd_insight.features import SCORES, Features
from rgbd_insight.questions.chance import at_chance
from rgbd_insight.questions.isolation import judged
from rgbd_insight.questions.networks import WHOLE, Networks
from rgbd_insight.result import Missing, Result
from rgbd_insight.utils.messages import Constant, TooFew, Undefined

SCENES = "more scenes, ri.extract(model, data, out=…)"
LEAVE = "leave the level out, levels=[…], or extract another tap for it, ri.extract(model, data, taps=[…], out=…)"
SEEDS = "more scenes or more seeds, ri.extract(model, data, out=…); or leave the level out, levels=[…]"
LABELS = "data with labels, ri.extract(model, data, out=…)"
LABELLED = (*SCORES, "class accuracy", "utilisation", "IoU", "ablation", "dose")  # how their measures begin
LISTED = 6  # concepts that are named
REASONS = {  # how a measure's name begins → why it may be undefined, and what helps
    "cka": ("of one stream a single image brings all variance, or all its images are equally far apart", LEAVE),
    "level similarity": ("at one level a single image brings all variance, or all are equally far apart", LEAVE),
    "to final": ("of one network a single image brings all variance, or all its images are equally far apart", LEAVE),
    "effective dimension": ("no unit varies over the images", LEAVE),
    "consistent share": ("the other seeds reproduce nothing of these units", SEEDS),
    "specific share": ("the other seeds reproduce nothing of these units", SEEDS),
    "C": ("the other seeds reproduce nothing of the units", SEEDS),
    "S": ("the other seeds reproduce nothing of the units", SEEDS),
    "yardstick": ("nothing that the concepts say of these units is known to what the mark stands for", SEEDS),
    "share of the known": ("nothing that the concepts say of these units is known to the other modality", SEEDS),
    "concept ranking": ("units that other seeds do not reproduce, or of which concepts name next to nothing", SEEDS),
    "total ranking": ("units that other seeds do not reproduce", SEEDS),
} | dict.fromkeys(LABELLED, ("no pixel is labelled", LABELS))
UNDEFINED = "undefined on these samples"


class Answer:
    """Rows of a question's table as they are found, and what could not be said.

    Parameters
    ----------
    features : Features
        Of which the question is asked.
    missing : iterable of Missing
        What is known beforehand not to be said.

    Attributes
    ----------
    rows : list of dict
        Of the table.
    missing : list of Missing
        What could not be said.
    """

    def __init__(self, features: Features, missing: Iterable[Missing] = ()) -> None:
        self.features, self.rows, self.missing = features, [], [*missing]

    @contextmanager
    def asking(self, what: str, nets: Networks | None = None, level: int | None = None) -> Iterator[None]:
        """A block that asks one thing: where it has no value, that is noted, and what comes after it goes on.

        Parameters
        ----------
        what : str
            Name of the measure, or of several.
        nets : Networks, optional
            Whose streams may be constant; `missing` names them.
        level : int, optional
            Where it is asked.

        Notes
        -----
        Only `Undefined` is noted: a wrong argument, damaged features and mistakes of ours are raised. Numbers may
        overflow, or be divided by 0: `result` names every value that is none.
        """
        place = what if level is None else f"{what} at {_where([level])}"
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of means of nothing
                yield
        except TooFew as error:
            self.missing.append(Missing(place, str(error), SCENES))
        except Undefined as error:
            flat = constant(nets, level) if nets and level is not None and isinstance(error, Constant) else []
            why = f"{' and '.join(flat)} there {'is' if len(flat) == 1 else 'are'} constant over the images"
            self.missing.append(Missing(place, why if flat else str(error), LEAVE))

    def varying(self, what: str, nets: Networks, modality: str, levels: Iterable[int]) -> list[int]:
        """The levels at which the first network's responses vary over the images; the others are noted."""
        found = [level for level in levels if not _flat(nets.view(0, modality, level))]
        why = f"{modality} there is constant over the images"
        self.missing += [Missing(f"{what} at {_where([lv])}", why, LEAVE) for lv in levels if lv not in found]
        return found

    def result(self, question: str, made: Mapping, *nets: Networks) -> Result:
        """The result: each value that is none is in its `missing`, networks at chance among its warnings.

        What is said of views that are mixed with other scenes' is in `missing` too.
        """
        runs = dict.fromkeys(run for one in nets for member in one.members for run in member.values())
        said = [*made.get("warnings", ()), *filter(None, (at_chance(self.features, run) for run in runs))]
        made = {**made, **({"warnings": tuple(said)} if said else {})}
        result = Result.of(question, self.rows, made=made)
        missing = dict.fromkeys([*self.missing, *unvalued(result.table)])
        return judged(self.features, Result(question, result.table, tuple(missing), result.made))


def constant(nets: Networks, level: int) -> list[str]:
    """The modalities of which a network has responses that are the same for all images."""
    views = {m: [nets.view(i, m, level) for i in range(len(nets.members))] for m in nets.modalities}
    return [m for m, found in views.items() if any(map(_flat, found))]


def _flat(x: np.ndarray) -> bool:
    return bool((x == x[0]).all())


def listed(names: Sequence[str]) -> str:
    """Names as words.

    Examples
    --------
    >>> listed(["decodability", "difference", "label"])
    'decodability, difference and label'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def unvalued(table: pd.DataFrame) -> list[Missing]:
    """What is said of rows without a value, once for each measure, network and modality.

    Examples
    --------
    >>> row = {"run": "sum", "modality": "rgb", "measure": "cka", "value": np.nan}
    >>> made = Result.of("consistency", [row | {"level": 1}, row | {"level": 3}], made={})
    >>> [(m.what, m.why[:13]) for m in unvalued(made.table)]
    [('cka of rgb at levels 1 and 3', 'of one stream')]
    """
    rows = table[table["value"].isna() & (table["measure"] != "label")]
    said = rows["label"].where((rows["measure"] == "cka normalised") & (rows["label"] != UNDEFINED))
    keys = [rows["measure"], rows["run"], rows["modality"], said.rename("why")]
    return [_missing(*key, part) for key, part in rows.groupby(keys, dropna=False, sort=False)]


def _missing(measure: str, run: str, modality: str, why: str, rows: pd.DataFrame) -> Missing:
    known = next((found for start, found in REASONS.items() if measure.startswith(start)), (UNDEFINED, SCENES))
    what = measure if pd.isna(modality) else f"{measure} of {modality}"
    if measure.partition(" ")[0] in ("C", "S"):
        what = f"{measure} of {run}"
    if rows["level"].notna().any():
        what += f" at {_where(sorted({int(level) for level in rows['level'].dropna()}))}"
    if rows["unit"].notna().any():
        what += f", {len(rows)} unit{'s' if len(rows) > 1 else ''}"
    for column in ("condition", "concept"):
        names = [str(name) for name in dict.fromkeys(rows[column].dropna())]
        if names:
            what += f" ({', '.join(names[:LISTED])}{f' and {len(names) - LISTED} more' if names[LISTED:] else ''})"
    return Missing(what, known[0] if pd.isna(why) else why, known[1])


def _where(levels: list[int]) -> str:
    """Levels as words."""
    if levels == [WHOLE]:
        return "all levels together"
    return f"level{'s' if len(levels) > 1 else ''} {listed([str(level) for level in levels])}"
