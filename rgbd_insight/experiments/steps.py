"""The steps of one run, each done once: what is finished is not begun again, on whatever machine. Use `campaign`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from rgbd_insight.data import Scenes
from rgbd_insight.data.batch import Dataset, Held
from rgbd_insight.data.catalogue import THINGS
from rgbd_insight.experiments.locations import locate
from rgbd_insight.experiments.plans import ISOLATED, Plan
from rgbd_insight.extraction import extract
from rgbd_insight.features import Features, load
from rgbd_insight.models import Network, build
from rgbd_insight.models import load as load_model
from rgbd_insight.questions.ablation import ablations
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.training import Cache, train
from rgbd_insight.training.state import replace

Run = tuple[str, int]
ABLATED = ("ablation", "dose")
_HELD: dict[str, Held] = {}


def name_of(run: Run) -> str:
    """The folder of a run."""
    return f"{run[0]}-s{run[1]}"


def once(step: Callable[..., None], plan: Plan, work: Path, *more: object) -> None:
    """Do `step` for the run in `more[-1]` unless it is marked as finished, then mark it.

    The mark lies beside the features and not beside the weights: where features were brought from another machine, no
    run is trained for what they hold already.
    """
    mark = _mark(step, plan, work, more[-1])
    if not mark.exists():
        step(plan, work, *more)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _mark(step: Callable[..., None], plan: Plan, work: Path, run: Run) -> Path:
    return work / "extracted" / plan.name / "finished" / f"{step.__name__}-{name_of(run)}"


def trained(plan: Plan, work: Path, run: Run) -> Path:
    """The last weights of a run, which is trained first where they are missing, or trained on."""
    (fusion, _, encoding), seed = run[0].partition("+"), run[1]
    out = work / "weights" / plan.name / name_of(run)
    last = out / f"epoch-{plan.recipe['epochs']:04d}.safetensors"
    if not last.exists():
        data = samples(plan, work)
        options = plan.model | ({"encoding": encoding, "intrinsics": plan.intrinsics} if encoding else {})
        model = build(fusion, data.classes, seed=seed, **options)
        kept = None if run in plan.trajectories else [plan.recipe["epochs"]]
        train(model, data, out=out, seed=seed, checkpoints=kept, **plan.recipe)
    return last


def samples(plan: Plan, work: Path) -> Cache:
    """The training samples of a plan, made once for all its runs."""
    return Cache.kept(plan.data("train"), work / "samples" / f"{plan.name.removesuffix('-encodings')}.safetensors")


def prepare_samples(plan: Plan, work: Path) -> None:
    """Make the training samples of a plan where a run is left that is trained on them.

    On the thread that the process has: the others are busy with other runs.
    """
    if not all(_mark(extract_one, plan, work, run).exists() for run in plan.runs):
        samples(plan, work)


def write_part(path: Path, table: pd.DataFrame) -> None:
    """Write a part of a table, whole or not at all: an interrupted campaign takes what is there for finished."""
    partial = path.with_suffix(".partial")
    table.to_parquet(partial, index=False, compression="zstd")
    replace(partial, path)


def images(data: Dataset) -> Held:
    """The samples of a dataset, made once in this process."""
    key = json.dumps(data.fingerprint(), sort_keys=True)
    if key not in _HELD:
        _HELD.clear()  # one at a time: the many scenes of the labels take a gigabyte
        _HELD[key] = Held(data)
    return _HELD[key]


def folder(plan: Plan, work: Path, run: Run) -> Path:
    """The features of a run."""
    return work / "extracted" / plan.name / name_of(run)


def device_of(tapes: Iterable[Features]) -> str:
    """The kinds of device that runs were made on, such as "cpu and cuda"."""
    return " and ".join(sorted({run["device"]["type"] for tape in tapes for run in tape.execution["runs"]}))


def extract_one(plan: Plan, work: Path, run: Run) -> None:
    """Extract one run and its checkpoints into a features directory of its own."""
    last = trained(plan, work, run)
    out, data, model = folder(plan, work, run), images(plan.data("test")), load_model(last)
    about = {"curves": last.with_name("curves.parquet")} | _called(run[0])
    options = {"draws": plan.partners, "batch_size": plan.block}
    extract(model, data, out=out, conditions=_conditions(plan, model), run=about, **options)
    if run in plan.trajectories:
        for path in sorted(last.parent.glob("epoch-*.safetensors")):
            early = load_model(path)
            if path != last:
                role = "untrained" if early.epoch == 0 else "checkpoint"
                about = {"role": role}
                extract(early, data, out=out, conditions=ISOLATED, draws=1, run=about, batch_size=plan.block)


def _called(name: str) -> dict[str, str]:
    """What a run is listed as. A twin stays a twin whatever depth is given as: questions find it by its modality."""
    fusion, _, encoding = name.partition("+")
    if not encoding:
        return {"fusion": name}
    return {"fusion": fusion if fusion in ISOLATED else name, "encoding": encoding}


def _conditions(plan: Plan, model: Network) -> tuple[str, ...]:
    if len(model.modalities) == 1:
        return model.modalities
    removed = [f"{m}:{how}" for m in ISOLATED for how in plan.removals]
    if "zero" in plan.removals:  # then Shapley values are asked for, which need both inputs removed
        removed += [f"none:{how}" for how in plan.removals]
    return ("both", *ISOLATED, "none", *removed)


def ablate_one(plan: Plan, work: Path, run: Run) -> None:
    """Silence the units of one extracted run, chosen beside its other seeds, and record what it then predicts."""
    fusion, seed = run
    model = load_model(trained(plan, work, run))
    seeds = [seed, *(s for s in plan.seeds if s != seed)]
    features = load(*(folder(plan, work, (fusion, s)) for s in seeds))
    inputs = ("both",) if len(plan.shares) == 1 else ("both", *(f"{m}:mean" for m in ISOLATED))
    chosen_run = f"{name_of(run)}-e{model.epoch}"
    chosen = ablations(features, chosen_run, shares=plan.shares, draws=plan.draws, inputs=inputs)
    extract(model, images(plan.data("test")), out=folder(plan, work, run), conditions=chosen, batch_size=plan.block)
    found = collaboration(load(*(folder(plan, work, (fusion, s)) for s in seeds)), chosen_run, measures=ABLATED).table
    table = found[~found.label.str.startswith("random")].dropna(axis="columns", how="all")
    write_part(folder(plan, work, run).with_name(f"{name_of(run)}.ablated.parquet"), table)


def locate_one(plan: Plan, work: Path, run: Run) -> None:
    """Find where in the image the units of one run respond that tell their concepts best."""
    model = load_model(trained(plan, work, run))
    table = locate(model, images(plan.data("test")), plan.block)
    about = {"run": f"{name_of(run)}-e{model.epoch}", "fusion": run[0], "seed": run[1], "epoch": model.epoch}
    write_part(folder(plan, work, run).with_name(f"{name_of(run)}.locations.parquet"), table.assign(**about))


def label_one(plan: Plan, work: Path, scenes: int, run: Run) -> None:
    """Extract one run on the many scenes that labels need, and a twin on the on/off pairs that certify visibility."""
    model = load_model(trained(plan, work, run))
    twin = len(model.modalities) == 1
    conditions = model.modalities if twin else ISOLATED
    base = plan.seeds[0]
    options = {"conditions": conditions, "draws": 1, "batch_size": plan.block}
    out = work / "extracted" / "labels" / name_of(run)
    extract(model, images(Scenes(scenes, seed=base, split="label")), out=out, **options)
    if twin:
        pairs = Scenes(100 if scenes >= 1000 else 40, seed=base, split="pairs", toggle=[item.name for item in THINGS])
        extract(model, images(pairs), out=work / "extracted" / "pairs" / name_of(run), **options)
