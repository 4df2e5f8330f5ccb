"""Good calls of public functions whose docstrings have none, or one that is too large to be made a hundred times."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

import rgbd_insight as ri
from rgbd_insight import claims, experiments, metrics, plots, questions, report, stats, validation
from rgbd_insight.data import Scenes
from rgbd_insight.data.convert import nyuv2, sunrgbd
from rgbd_insight.extraction import extract
from rgbd_insight.features import FeatureWriter
from rgbd_insight.models import build, cost, load, save
from rgbd_insight.training import Alignment, Cache, Recipe, train
from tests._results import consistency as consistency_result
from tests.claims.test_intervention import outcomes
from tests.faults import _work
from tests.features.test_features import about, head, written

R2 = np.array([[0.3, 0.4, 0.5, 0.6, 0.7], [0.2, 0.3, 0.4, 0.5, 0.6]])


@cache
def small(at: Path) -> ri.Features:
    """Two small networks on a few scenes."""
    data = Scenes(60)
    for fusion, conditions in (("sum", ("both", "rgb", "depth", "none")), ("depth", ("depth",))):
        model = build(fusion, data.classes, width=8)
        extract(model, data, out=at / "small", conditions=conditions, draws=1, progress=False, device="cpu")
    return ri.load(at / "small")


@cache
def audited(at: Path) -> report.Audit:
    """An audit of them."""
    return report.Audit("sum", {"consistency": consistency_result()}, {"data": "scenes"})


def unit(at: Path) -> questions.Unit:
    """One of their units."""
    concept = small(at).concepts["name"].iloc[0]
    return questions.best_unit(small(at), "sum", "rgb", 1, unit=0, concepts=[concept])


def weights(at: Path) -> Path:
    """A file of weights."""
    return save(build("rgb", classes=2, width=8), at / "weights.safetensors")


def official(at: Path) -> Path:
    """Data sets as they are distributed."""
    if not (at / "source").exists():
        _work.official(at)
    return at / "source"


def own(at: Path) -> Path:
    """Concepts of one's own, of two scenes."""
    rows = [f"{name},cosy,1" for name in Scenes(2).batch([0, 1]).ids]
    (at / "own.csv").write_text("\n".join(["id,concept,value", *rows]))
    return at / "own.csv"


def mask(at: Path) -> Path:
    """A mask of two by two pixels."""
    Image.fromarray(np.eye(2, dtype=np.uint8)).save(at / "mask.png")
    return at / "mask.png"


def covariances() -> np.ndarray:
    """Of what other and same streams predict of five units (2, 2, 2, U)."""
    return np.random.default_rng(0).uniform(0.2, 0.4, (2, 2, 2, 5))


def _saved(at: Path) -> Path:
    return audited(at).save(at / "saved.json")


PLAN = _work.PLAN
CALLS: dict[str, Callable[[Path], object]] = {
    "metrics.consistent_share": lambda at: metrics.consistent_share(R2),
    "metrics.level_shares": lambda at: metrics.level_shares(R2),
    "metrics.corrected_ceilings": lambda at: metrics.corrected_ceilings(covariances()),
    "metrics.corrected_level_shares": lambda at: metrics.corrected_level_shares(covariances()),
    "stats.Resampling": lambda at: stats.Resampling(20, 30, 1),
    "data.nyuv2": lambda at: nyuv2(official(at) / "x.mat", at / "nyu"),
    "data.mfnet": lambda at: ri.data.mfnet(official(at), at / "mf"),
    "data.eventscape": lambda at: ri.data.eventscape(official(at), at / "es"),
    "data.sunrgbd": lambda at: sunrgbd(official(at), at / "sun"),
    "data.WithConcepts": lambda at: ri.data.WithConcepts(Scenes(2), own(at)),
    "data.WithLabels": lambda at: ri.data.WithLabels(Scenes(2), None, classes=()),
    "features.read_mask": lambda at: ri.features.read_mask(mask(at)),
    "models.backbones": lambda at: ri.models.backbones(_Trunk(), classes=3),
    "models.load": lambda at: load(weights(at)),
    "models.cost": lambda at: cost(build("sum", classes=2, width=8), (12, 16)),
    "features.FeatureWriter": lambda at: FeatureWriter(at / "written", head(), about()),
    "features.write_quantised": lambda at: ri.features.write_quantised(written(at / "f"), at / "q", units=3),
    "training.Alignment": lambda at: Alignment(0.1, 0.1),
    "training.Cache": lambda at: Cache(Scenes(4)),
    "training.Recipe": lambda at: Recipe(2, 4),
    "training.train": lambda at: train(
        build("sum", classes=28, width=8), Scenes(4), out=at / "run", epochs=1, batch_size=4, progress=False
    ),
    "questions.consistency": lambda at: ri.consistency(small(at), "sum", measures=["cka"], permutations=20),
    "questions.specificity": lambda at: ri.specificity(
        small(at), "sum", levels=[1], measures=["level semantic variance"]
    ),
    "questions.evolution": lambda at: ri.evolution(
        small(at), "sum", levels=[1, 2], measures=["effective dimension"], permutations=20
    ),
    "questions.collaboration": lambda at: ri.collaboration(small(at), "sum", measures=["accuracy"]),
    "questions.ablations": lambda at: ri.ablations(small(at), "sum", draws=2),
    "questions.accuracy_estimate": lambda at: questions.accuracy_estimate(small(at), "sum", "both"),
    "questions.best_unit": lambda at: questions.best_unit(small(at), "sum", "rgb", 1),
    "claims.answer": lambda at: claims.answer(outcomes(), permutations=20),
    "claims.claims": lambda at: claims.claims(small(at), only=["7"]),
    "plots.extremes": lambda at: plots.extremes(small(at), unit(at), 2),
    "plots.gallery": lambda at: plots.gallery(small(at), ri.data.redraw(small(at)), unit(at), count=2),
    "plots.gallery_text": lambda at: plots.gallery_text(small(at), unit(at), 2),
    "plots.network_style": lambda at: plots.network_style(1),
    "report.Audit": lambda at: report.Audit("sum", {"consistency": consistency_result()}, {"data": "scenes"}),
    "report.audit": lambda at: report.audit(small(at), "nothing", permutations=20),
    "report.compare": lambda at: report.compare(audited(at), audited(at)),
    "report.compare_reports": lambda at: report.compare_reports(audited(at).to_dict(), audited(at).to_dict()),
    "report.check_suffix": lambda at: report.check_suffix("a.html"),
    "report.read_report": lambda at: report.read_report(_saved(at)),
    "validation.expected_labels": lambda at: validation.expected_labels(
        pd.DataFrame({"concept": ["a", "b"], "rgb": [1.0, 0.0], "depth": [0.0, 1.0]})
    ),
    "validation.read_plan": lambda at: validation.read_plan(True),
    "experiments.run_all": lambda at: experiments.run_all([PLAN], "tiny", at / "work"),
    "experiments.zoo_jobs": lambda at: experiments.zoo_jobs(PLAN, "tiny", at / "work"),
    "experiments.finished": lambda at: experiments.finished(at / "work", "tiny"),
    "experiments.ship": lambda at: experiments.ship(at / "work", at / "shipped"),
    "experiments.copies": lambda at: experiments.copies([PLAN], at / "work", at / "other"),
    "experiments.tabulate": lambda at: experiments.tabulate([PLAN], "tiny", at / "work", at / "other"),
    "experiments.everything": lambda at: experiments.everything([PLAN], "tiny", at / "work", at / "other"),
    "experiments.compare": lambda at: experiments.compare([PLAN], "overlaps", "tiny", at / "work", at / "other"),
    "experiments.plane_table": lambda at: experiments.plane_table(at / "other"),
    "experiments.write_plane": lambda at: experiments.write_plane(at / "other"),
    "experiments.position_tables": lambda at: experiments.position_tables([PLAN], "tiny", at / "work", at / "other"),
    "experiments.position_plane": lambda at: experiments.position_plane([PLAN], "tiny", at / "work", at / "other"),
    "experiments.plane_choice": lambda at: experiments.plane_choice("book/results", data="scenes"),
    "experiments.run_pretrained": lambda at: experiments.run_pretrained([PLAN], "tiny", at / "work"),
    "experiments.pretrained_tables": lambda at: experiments.pretrained_tables(
        [PLAN], "tiny", at / "work", at / "other"
    ),
    "experiments.pack": lambda at: experiments.pack([PLAN], at / "work", at / "packed"),
    "experiments.unpack": lambda at: experiments.unpack([at / "file"], at / "work"),
    "experiments.isolation_tables": lambda at: experiments.isolation_tables(at / "work", at / "other"),
    "experiments.three_modalities": lambda at: experiments.three_modalities("no such", at / "work", at / "other"),
    "experiments.weigh": lambda at: experiments.weigh("no such thing", at / "other"),
    "validation.validate": lambda at: validation.validate(at / "file" / "below", quick=True, workers=1, progress=False),
}


class _Trunk(torch.nn.Module):
    """Four levels, each half the size of the one before."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 8, 8, 8, 8)
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(sizes, sizes[1:], strict=False)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found
