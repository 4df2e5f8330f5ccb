"""Results with the shape of real ones, made from a few rules: what the figures are tested on."""

import numpy as np

from rgbd_insight.result import Missing, Result

LEVELS = (1, 2, 3, 4)
MODALITIES = ("rgb", "depth")
KINDS = {
    "rgb": (1.0, 0.0),
    "depth": (0.0, 1.0),
    "both": (1.0, 1.0),
    "graded": (0.7, 0.3),
    "together": (2 / 3, 2 / 3),
    "neither": (0.0, 0.0),
}
HUES = ("red", "green", "blue")


def around(value, reach=0.05):
    return {"value": value, "low": value - reach, "high": value + reach}


def planted(count=2):
    """(concept, family, planted visibility in rgb and depth) of `count` things of each kind and three hues."""
    things = [(f"{kind} {i}", f"planted: {kind}", seen) for kind, seen in KINDS.items() for i in range(count)]
    return things + [(hue, "hue", (np.nan, np.nan)) for hue in HUES]


def cells(fusion="sum", **more):
    return {"run": fusion, "fusion": fusion, "seed": 0, "epoch": 64} | more


def consistency(fusion="sum", better=0.0):
    rows = []
    for lv in LEVELS:
        base = cells(fusion, level=lv, modality="rgb", versus="depth")
        scale = {"null": 0.0, "null_high": 0.06, "ceiling": 0.85 - 0.03 * lv, "ceiling_kind": "other seed"}
        rows.append(base | scale | around(0.2 + 0.1 * lv + better) | {"measure": "cka"})
        rows.append(base | around(0.3 + 0.1 * lv + better) | {"measure": "cka normalised"})
        for m, other in (MODALITIES, MODALITIES[::-1]):
            way = {"measure": "predictivity", "modality": m, "versus": other, "null": -0.08, "null_high": -0.02}
            rows.append(base | scale | way | around(0.1 * lv))
            for label, value in (("named", 0.1 * lv), ("unnamed", 0.1), ("all", 0.1 * lv + 0.1)):
                for end, lost in (("", 0.0), (" uncorrected", 0.03)):
                    share = {"measure": f"consistent share{end}", "label": label, "modality": m, "versus": None}
                    rows.append(base | scale | share | around(value - lost, 0.04) | {"ceiling": 1.0})
            for label, value in (("known", 0.12), ("planted", 0.02), ("planted with surfaces", 0.16)):
                mark = {"measure": "yardstick", "label": label, "modality": m, "versus": None}
                rows.append(base | mark | around(value + 0.1 * lv))
    return Result.of("consistency", rows, made={})


def specificity(fusion="sum", count=2, levels=(0, 1)):
    rng, rows = np.random.default_rng(0), []
    for lv in levels:
        for name, family, seen in planted(count):
            base = cells(fusion, level=lv, concept=name, family=family)
            for m, truth in zip(MODALITIES, seen, strict=True):
                value = (0.4 if np.isnan(truth) else 0.9 * truth) + rng.normal(0, 0.03)
                rows.append(base | around(value, 0.07) | {"measure": "decodability", "modality": m, "planted": truth})
            rows.append(base | {"measure": "label", "label": family.removeprefix("planted: ")})
            gap = rows[-3]["value"] - rows[-2]["value"]
            pair = base | dict(zip(("modality", "versus"), MODALITIES, strict=True))
            rows.append(pair | around(gap, 0.1) | {"measure": "difference"})
            rows.append(pair | around(gap**2 / 2, 0.02) | {"measure": "semantic variance"})
    for lv in LEVELS:
        for m in MODALITIES:
            base = cells(fusion, level=lv, modality=m)
            for label, value in (("named", 0.3 - 0.05 * lv), ("unnamed", -0.02), ("all", 0.28 - 0.05 * lv)):
                rows.append(base | around(value, 0.03) | {"measure": "specific share", "label": label})
            rows.append(base | around(0.02 * lv, 0.005) | {"measure": "level semantic variance", "versus": m})
        rows.append(
            cells(fusion, level=lv, modality="rgb", versus="depth", measure="level semantic variance")
            | around(0.04 * lv, 0.01)
        )
    return Result.of("specificity", rows, made={"margin": 0.1})


def evolution(fusion="sum"):
    names, rows = [*(f"planted: {kind}" for kind in KINDS), "hue", "texture", "depth edge", "orientation"], []
    for i, m in enumerate(MODALITIES):
        for f, family in enumerate(names):
            base = cells(fusion, modality=m, family=family)
            rows += [base | around(0.1 * lv - 0.03 * f + 0.3 * i) | {"measure": "family", "level": lv} for lv in LEVELS]
            rows.append(base | around(1.5 + 0.2 * f + 0.1 * i, 0.3) | {"measure": "centre of mass"})
            rows += [
                base | around(0.8 * e / 64) | {"measure": "family in training", "level": 4, "epoch": e}
                for e in (0, 1, 4, 16, 64)
            ]
        for lv in LEVELS:
            base = cells(fusion, modality=m, level=lv)
            rows += [
                base | around(1 - 0.2 * abs(lv - k)) | {"measure": "level similarity", "versus": str(k)}
                for k in LEVELS
                if k != lv
            ]
            rows += [
                base
                | around(1 - 0.8 / (1 + e))
                | {"measure": "to final", "epoch": e, "versus": "final", "ceiling": 0.8, "ceiling_kind": "other seed"}
                for e in (0, 1, 2, 4, 8, 16, 32)
            ]
            rows.append(base | around(4.0 * lv + i, 0.6) | {"measure": "effective dimension"})
    return Result.of("evolution", rows, made={})


def collaboration(fusion="sum", count=2, draws=19):
    rng, rows = np.random.default_rng(0), []
    for name, family, seen in planted(count):
        for m, truth in zip(MODALITIES, seen, strict=True):
            base = cells(fusion, level=0, modality=m, concept=name, family=family, measure="retention", versus="twin")
            rows.append(base | around(-0.2 * np.nan_to_num(truth) + rng.normal(0, 0.03)) | {"null_high": 0.05})
    values = {"both": 0.7, "rgb": 0.5, "depth": 0.45, "none": 0.05}
    rows += [cells(fusion, measure="accuracy", condition=c) | around(v, 0.02) for c, v in values.items()]
    rows += [cells(m) | {"measure": "accuracy", "condition": m} | around(0.55, 0.02) for m in MODALITIES]
    for m in MODALITIES:
        for label, value in (("conditional", 0.2), ("Shapley", 0.3)):
            rows.append(cells(fusion, measure="utilisation", modality=m, label=label) | around(value, 0.02))
        sets = {f"specific {m}": 0.2, f"consistent {m}": 0.1}
        sets |= {f"random {m} {i + 1}": rng.normal(0.08, 0.02) for i in range(draws)}
        rows += [
            cells(fusion, measure="ablation", condition="both", label=label) | around(value, 0.02)
            for label, value in sets.items()
        ]
    rows.append(cells(fusion, measure="utilisation", label="interaction") | around(-0.1, 0.03))
    rows += [
        cells(fusion, measure="class accuracy", condition=c, concept=name, family=family.removeprefix("planted: "))
        | around(v)
        for c, v in values.items()
        for name, family, _ in planted(count)
    ]
    rows += [cells(fusion, measure="gradient cosine") | {"epoch": e, "value": 0.1 / (1 + e)} for e in range(5)]
    absent = Missing("the depth twin", "nothing to compare with", "train and extract 'depth'")
    return Result.of("collaboration", rows, missing=[absent], made={"classes": 20})
