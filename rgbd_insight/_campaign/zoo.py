"""The zoo's tables: what the questions say of every operator, for the runs whose responses are not committed."""

from __future__ import annotations

import pandas as pd

from rgbd_insight.features import Features
from rgbd_insight.questions.balance import balance
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.evolution import evolution
from rgbd_insight.questions.networks import TWINS
from rgbd_insight.questions.specificity import specificity

ASKED = {
    consistency: ("cka", "cka normalised", "consistent share"),
    specificity: ("decodability", "difference", "specific share"),
    evolution: ("family", "centre of mass", "to final", "family in training"),
    collaboration: ("accuracy", "utilisation", "utilisation by removal", "retention", "exchanged", "class accuracy",
                    "ablation", "dose", "gradient cosine"),
}  # fmt: skip
PERMUTATIONS = 200


def zoo_table(features: Features) -> pd.DataFrame:
    """Every row that the questions give for the twins and for each operator with two inputs, (C, S) of every seed."""
    names = [m.name for m in features.modalities]
    final = features.runs[features.runs.role == "final"]
    joint = [
        f for f in dict.fromkeys(final.fusion) if set(names) <= set(features.conditions(features.find(fusion=f)[0]))
    ]
    tables = []
    for run in (TWINS, *joint):
        for question, measures in ASKED.items():
            if run == TWINS and question is collaboration:
                continue
            options = {"permutations": PERMUTATIONS} if question in (consistency, evolution) else {}
            tables.append(question(features, run, measures=measures, **options).table)
    tables.append(balance(features).table)
    return pd.concat(tables, ignore_index=True).dropna(axis="columns", how="all")
