"""Features of responses that no network should have, and of too few images: what every question must bear."""

import numpy as np

from rgbd_insight.features import SAME, FeatureWriter, load

MODALITIES = ("rgb", "depth")
CONDITIONS = ("both", "rgb", "depth", "none")
CONCEPTS = ("wall", "chair", "lamp")
CLASSES = ("wall", "chair")
RESPONSES = {  # what stands in for the responses (N, U) of a level
    "usual": lambda x: x,
    "constant": lambda x: np.full_like(x, 3),
    "nothing": lambda x: np.zeros_like(x),
    "one unit": lambda x: x[:, :1],
    "one constant unit": lambda x: np.full_like(x[:, :1], 3),
    "two identical units": lambda x: x[:, [0, 0]],
    "one active image": lambda x: np.where(np.arange(len(x))[:, None] == 7, 1.0, 0.0) * np.ones_like(x),
    "one unit active in one image": lambda x: np.where(np.arange(x.shape[1]) == 0, np.eye(len(x))[:, [7]], x),
    "an outlier": lambda x: x + 1e20 * (np.arange(len(x)) == 7)[:, None],
    "an outlier of one unit": lambda x: x + 1e20 * np.eye(len(x), x.shape[1], -7),
    "huge": lambda x: 1e20 * x,
    "denormal": lambda x: 1e-40 * x,
    "vanishing": lambda x: 1e-320 * x,  # 0 in the single precision in which responses are kept
    "a large offset": lambda x: x + 1e7,
}
LAYOUTS = {  # which group each image is of
    "usual": np.arange(104),
    "5 groups": np.arange(30) // 6,
    "4 groups": np.arange(24) // 6,
    "12 images": np.arange(12),
    "6 images": np.arange(6),
    "12 groups of other sizes": np.minimum(np.arange(48) // 3, 11),
}
AREAS = {  # how much of each image (N, K) carries each concept
    "usual": lambda area: area,
    "no positives": np.zeros_like,
    "everywhere": np.ones_like,
    "one positive": lambda area: np.eye(*area.shape),
}


def hostile(out, levels=("usual",), *, layout="usual", areas="usual", counted=None, seeds=3, role="final", epoch=3):
    """Features of `seeds` networks, one checkpoint and twins; at level k responses are of the k-th kind of `levels`.

    `counted` gives the pixels hit and labelled, int (N, C), under a condition and in any other.
    """
    groups, rng = LAYOUTS[layout], np.random.default_rng(0)
    n, about = len(groups), {} if epoch else {"unknown": "epoch and role"}
    area = rng.random((n, len(CONCEPTS))) * (rng.random((n, len(CONCEPTS))) < 0.5)
    said = {m: np.hstack([rng.normal(size=(n, 2)), area]) for m in ("both", *MODALITIES)}
    area = AREAS[areas](area)

    def responses(modality, level, kind, network):
        rng = np.random.default_rng([network, level, MODALITIES.index(modality)])
        x = np.hstack([said["both"], said[modality]]) @ rng.normal(size=(10, 5)) + 0.5 * rng.normal(size=(n, 5))
        return RESPONSES[kind](x).astype(np.float32)

    runs = [("sum", seed, epoch, role) for seed in range(seeds)] + [("sum", 0, 1, "checkpoint")]
    runs += [(m, seed, epoch, role) for m in MODALITIES for seed in range(seeds)]
    for network, named in enumerate(runs):
        views = {
            (m, level): responses(m, level, kind, network)
            for m in (MODALITIES if named[0] == "sum" else named[:1])
            for level, kind in enumerate(levels, 1)
        }
        _write(out, named, area, groups, views, counted or _seen(n), about)
    return load(out)


def _seen(n):
    """Three quarters of the pixels are right, and a quarter where an input is another scene's."""
    target = np.random.default_rng(0).integers(1, 9, (n, len(CLASSES)))
    return {"both": (3 * target // 4, target), "other": (target // 4, target)}


def _write(out, named, area, groups, views, counted, about):
    n, modalities = len(area), {m for m, _ in views}
    fusion, seed, epoch, role = named
    head = {
        "name": "hostile",
        "fingerprint": {"n": n},
        "samples": n,
        "size": [4, 4],
        "families": ["class"],
        "classes": list(CLASSES),
        "modalities": [{"name": m, "unit": "", "low": 0, "high": 1} for m in MODALITIES],
        "concepts": [{"name": c, "family": "class", "kind": "unknown", "visible": None} for c in CONCEPTS],
    }
    conditions = [c for c in CONDITIONS if len(modalities) == 2 or c in (fusion, "none")]
    run = {
        "fusion": fusion,
        "seed": seed,
        "epoch": epoch,
        "role": role,
        "about": about,
        "taps": [{"stream": m, "level": level, "module": f"{m}{level}"} for m, level in views],
        "draws": 4,
        "isolation": SAME,
        "block": n,
        "conditions": conditions,
        "ablations": {},
    }
    numbers = ("brightness", "contrast", "mean_depth", "depth_std", "missing")
    samples = {name: np.random.default_rng(i).random(n).tolist() for i, name in enumerate(numbers)}
    counts = {c: counted.get(c, counted["other"]) for c in conditions}
    counts = {c: {"hit": hit, "target": target, "guess": hit} for c, (hit, target) in counts.items()}
    writer = FeatureWriter(out, head, run)
    writer.write(
        0,
        responses={f"{m}/{lv}/{c}": x for (m, lv), x in views.items() for c in ("both", m) if c in conditions},
        predictions={f"{c}/{part}": values for c, parts in counts.items() for part, values in parts.items()},
        areas=area.astype(np.float32),
        samples={"id": [f"{i:03d}" for i in range(n)], "group": [f"{g:03d}" for g in groups]} | samples,
    )
    purity = [
        {"stream": m, "level": lv, "modality": other, "moved": 0.0} for m, lv in views for other in {*MODALITIES} - {m}
    ]
    writer.finish(purity=purity, isolated=None, execution={"device": {"type": "cpu"}, "torch": "2"})
