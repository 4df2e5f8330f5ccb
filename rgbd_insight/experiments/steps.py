"""The steps of a campaign: what a job is called, what it does, what it needs, and the mark that it is finished.

What is finished is not begun again, on whatever machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rgbd_insight.claims import digest
from rgbd_insight.data import Scenes
from rgbd_insight.data.batch import Dataset, Held
from rgbd_insight.data.catalogue import THINGS
from rgbd_insight.experiments.locations import locate
from rgbd_insight.experiments.plans import ISOLATED, Plan
from rgbd_insight.extraction import extract
from rgbd_insight.features import Features, RunId, load
from rgbd_insight.models import Network, build
from rgbd_insight.models import load as load_model
from rgbd_insight.questions import ablations, collaboration
from rgbd_insight.training import Cache, checkpoint, checkpoints, train
from rgbd_insight.utils.files import room, sweep, write_parquet
from rgbd_insight.utils.jobs import Job, Pool, in_pool, work_off
from rgbd_insight.validation.scenes import LABELLED

STEPS = ("samples", "extract", "label", "cell", "ablate", "locate", "derived")  # the most wanted first
FORMER = {  # what steps are called in the marks of earlier campaigns: the names that functions once had
    "extract_one": "extract",
    "ablate_one": "ablate",
    "where_one": "locate",
    "label_one": "label",
}
ABLATED = ("ablation", "dose")
LABEL_SCENES = {"tiny": 300, "small": 6000, "full": 12000}
_HELD: dict[str, Held] = {}


@dataclass(frozen=True)
class JobName:
    """What a job is called: "scenes/extract-sum-s0", "nyuv2/samples".

    Attributes
    ----------
    step : str
        One of `STEPS`, or a question whose table is made.
    plan : str
        Of the kind of data, as its folder below ``extracted/`` is called.
    run : str
        Which network it is about; "" for all.

    Examples
    --------
    >>> name = JobName("extract", "scenes", str(RunId("se", 0, encoding="hha")))
    >>> str(name), JobName.parse(str(name)) == name
    ('scenes/extract-se+hha-s0', True)
    >>> JobName.parse("scenes/extract_one-sum-s0").step
    'extract'
    """

    step: str
    plan: str
    run: str = ""

    @classmethod
    def parse(cls, text: str) -> JobName:
        """The job that `text` names; a step by its former name is the same step."""
        plan, _, mark = text.partition("/")
        step, _, run = mark.partition("-")
        return cls(FORMER.get(step, step), plan, run)

    @property
    def urgency(self) -> int:
        """How early it is wanted, should the campaign be stopped: 0 is first."""
        return STEPS.index(self.step)

    def __str__(self) -> str:
        return f"{self.plan}/{self.step}-{self.run}" if self.run else f"{self.plan}/{self.step}"


def finished(work: Path, plan: str) -> set[JobName]:
    """The jobs of a plan that are marked as finished, by this version or an earlier one.

    A mark is an empty file called by step and run. It lies beside the features and not beside the weights: where
    features were brought from another machine, no run is trained for what they hold already.
    """
    return {JobName.parse(f"{plan}/{mark.name}") for mark in _marks(work, plan).glob("*")}


def _marks(work: Path, plan: str) -> Path:
    return work / "extracted" / plan / "finished"


def once(name: JobName, work: Path, do: Callable[[], object]) -> None:
    """Do a job unless it is marked as finished, then mark it."""
    if name not in finished(work, name.plan):
        with room(work, "what is finished is kept"):
            do()
            mark = _marks(work, name.plan) / str(name).removeprefix(f"{name.plan}/")
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def do_all(jobs: Iterable[Job], pool: Pool) -> None:
    """Do every job, with a bar where several are done at a time; one alone shows how far its own run is."""
    jobs = list(jobs)
    with tqdm(total=len(jobs), unit="job", disable=pool.alone) as bar:

        def done(name: JobName, _: object) -> None:
            bar.update()
            bar.set_postfix_str(str(name))

        work_off(jobs, pool, done=done)


def in_time(jobs: Iterable[Job], minutes: float) -> list[Job]:
    """The same jobs, none of which is begun later than `minutes` from now; one that is too late does nothing."""
    end = time.time() + 60 * minutes
    return [replace(job, do=partial(_in_time, end, job.do)) for job in jobs]


def _in_time(end: float, do: Callable[[], object]) -> None:
    if time.time() < end:
        do()


def zoo_jobs(plan: Plan, scale: str, work: Path) -> list[Job]:
    """Every job of a plan; each waits for what it needs, and a plan beside another is the least urgent.

    Parameters
    ----------
    plan : Plan
        What is trained and extracted.
    scale : str
        The profile.
    work : Path
        Where weights and full features are kept.

    Returns
    -------
    list of Job
        Named by `JobName`.
    """
    samples_name = JobName("samples", plan.name)
    last = 0 if plan.beside is None else len(STEPS)

    def job(step: str, do: Callable[..., None], run: RunId, needs: Iterable[RunId] = ()) -> Job:
        name = JobName(step, plan.name, str(run))
        before = {JobName("extract", plan.name, str(other)) for other in needs} or {samples_name}
        act = partial(once, name, work, partial(do, plan, work, run))
        return Job(name, act, frozenset(before), last + name.urgency)

    jobs = [Job(samples_name, partial(_prepare_samples, plan, work), urgency=last + samples_name.urgency)]
    jobs += [job("extract", _extract_run, run) for run in plan.runs]
    jobs += [job("locate", _locate_units, run, [run]) for run in plan.located]
    jobs += [
        job("ablate", _ablate_units, run, [replace(run, seed=seed) for seed in plan.seeds]) for run in plan.silenced
    ]
    if plan.name == "scenes":
        label = partial(_label_scenes, scenes=LABEL_SCENES[scale])
        wanted = [run for run in plan.runs if run.network in (*ISOLATED, *LABELLED) and run.seed in plan.seeds[:2]]
        jobs += [job("label", label, run, [run]) for run in wanted]
    return jobs


def folder(plan: Plan, work: Path, run: RunId) -> Path:
    """The features of a run."""
    return _home(plan.name, work, run)


def _home(name: str, work: Path, run: RunId) -> Path:
    return work / "extracted" / name / str(run)


def extracted(name: str, runs: Sequence[RunId], work: Path, do: Callable[[RunId, Path], object]) -> Features:
    """The features of runs below a name; `do` extracts one into its folder, unless that is finished."""
    for run in runs:
        once(JobName("extract", name, str(run)), work, partial(do, run, _home(name, work, run)))
    return load(*(_home(name, work, run) for run in runs))


def device_of(features: Iterable[Features]) -> str:
    """The kinds of device that runs were made on, such as "cpu and cuda"."""
    return " and ".join(sorted({run["device"]["type"] for one in features for run in one.execution["runs"]}))


def images(data: Dataset) -> Held:
    """The samples of a dataset, made once in this process."""
    key = json.dumps(data.fingerprint(), sort_keys=True)
    if key not in _HELD:
        _HELD.clear()  # one at a time: the many scenes of the labels take a gigabyte
        _HELD[key] = Held(data)
    return _HELD[key]


def samples(plan: Plan, work: Path) -> Cache:
    """The training samples of a plan, made once for all its runs and those of plans beside it."""
    return Cache.kept(plan.data("train"), work / "samples" / f"{plan.beside or plan.name}.safetensors")


def _prepare_samples(plan: Plan, work: Path) -> None:
    """Make the training samples of a plan where a run is left that is trained on them.

    On the thread that the process has: the others are busy with other runs.
    """
    if not {JobName("extract", plan.name, str(run)) for run in plan.runs} <= finished(work, plan.name):
        samples(plan, work)


def trained(plan: Plan, work: Path, run: RunId) -> Path:
    """The last weights of a run, which is trained first where they are missing, or trained on."""
    out = work / "weights" / plan.name / str(run)
    last = checkpoint(out, plan.recipe["epochs"])
    if not last.exists():
        data = samples(plan, work)
        given = {"encoding": run.encoding, "intrinsics": plan.intrinsics} if run.encoding else {}
        model = build(run.fusion, data.classes, seed=run.seed, **plan.model, **given)
        kept = None if run in plan.trajectories else [plan.recipe["epochs"]]
        train(model, data, out=out, seed=run.seed, checkpoints=kept, progress=not in_pool(), **plan.recipe)
    sweep(out)  # a kill just after the last weights leaves its lock
    return last


def extract_images(model: Network, data: Dataset, out: Path, **options: object) -> None:
    """Extract a campaign's run: when, and which claims were stated by then, is written beside it."""
    extract(model, images(data), out=out, claims=digest(), progress=not in_pool(), **options)


def _extract_run(plan: Plan, work: Path, run: RunId) -> None:
    """Extract one run and its checkpoints into a features directory of its own."""
    last = trained(plan, work, run)
    out, data, model = folder(plan, work, run), plan.data("test"), load_model(last)
    about = {"curves": last.with_name("curves.parquet")} | called(run)
    options = {"conditions": _conditions(plan, model), "draws": plan.partners, "batch_size": plan.block}
    extract_images(model, data, out, run=about, cells=plan.cells, **options)
    if run in plan.trajectories:
        for path in checkpoints(last.parent).values():
            early = load_model(path)
            if path != last:
                about = {"role": "untrained" if early.epoch == 0 else "checkpoint"}
                extract_images(early, data, out, conditions=ISOLATED, draws=1, run=about, batch_size=plan.block)


def called(run: RunId) -> dict[str, str]:
    """What a run is listed as. A twin stays a twin whatever depth is given as: questions find it by its modality.

    Examples
    --------
    >>> called(RunId("depth", 0, encoding="hha")), called(RunId("se", 0, encoding="hha")), called(RunId("se", 0))
    ({'fusion': 'depth', 'encoding': 'hha'}, {'fusion': 'se+hha', 'encoding': 'hha'}, {'fusion': 'se'})
    """
    if not run.encoding:
        return {"fusion": run.fusion}
    return {"fusion": run.fusion if run.fusion in ISOLATED else run.network, "encoding": run.encoding}


def _conditions(plan: Plan, model: Network) -> tuple[str, ...]:
    if len(model.modalities) == 1:
        return model.modalities
    removed = [f"{m}:{how}" for m in ISOLATED for how in plan.removals]
    if "zero" in plan.removals:  # then Shapley values are asked for, which need both inputs removed
        removed += [f"none:{how}" for how in plan.removals]
    return ("both", *ISOLATED, "none", *removed)


def _ablate_units(plan: Plan, work: Path, run: RunId) -> None:
    """Silence the units of one extracted run, chosen beside its other seeds, and record what it then predicts."""
    model = load_model(trained(plan, work, run))
    seeds = [run, *(replace(run, seed=seed) for seed in plan.seeds if seed != run.seed)]
    homes = [folder(plan, work, one) for one in seeds]
    inputs = ("both",) if len(plan.shares) == 1 else ("both", *(f"{m}:mean" for m in ISOLATED))
    name = str(replace(run, epoch=model.epoch))
    chosen = ablations(load(*homes), name, shares=plan.shares, draws=plan.draws, inputs=inputs)
    extract_images(model, plan.data("test"), homes[0], conditions=chosen, batch_size=plan.block)
    found = collaboration(load(*homes), name, measures=ABLATED).table
    table = found[~found.label.str.startswith("random")].dropna(axis="columns", how="all")
    write_parquet(homes[0].with_name(f"{run}.ablated.parquet"), table)


def _locate_units(plan: Plan, work: Path, run: RunId) -> None:
    """Find where in the image the units of one run respond from which their concepts are decoded best."""
    model = load_model(trained(plan, work, run))
    table = locate(model, images(plan.data("test")), plan.block)
    about = {"run": str(replace(run, epoch=model.epoch)), "fusion": run.network, "seed": run.seed}
    write_parquet(locations_of(folder(plan, work, run)), table.assign(**about, epoch=model.epoch))


def locations_of(home: Path) -> Path:
    """The table of where the units of a run respond; an earlier campaign's, which is called "where", is renamed."""
    path, former = (home.with_name(f"{home.name}.{what}.parquet") for what in ("locations", "where"))
    if former.exists() and not path.exists():
        former.rename(path)
    return path


def _label_scenes(plan: Plan, work: Path, run: RunId, *, scenes: int) -> None:
    """Extract one run on the many scenes that labels need, and a twin on the on/off pairs that certify visibility."""
    model = load_model(trained(plan, work, run))
    twin = len(model.modalities) == 1
    base, extracted = plan.seeds[0], work / "extracted"
    options = {"conditions": model.modalities if twin else ISOLATED, "draws": 1, "batch_size": plan.block}
    extract_images(model, Scenes(scenes, seed=base, split="label"), extracted / "labels" / str(run), **options)
    if twin:
        pairs = Scenes(100 if scenes >= 1000 else 40, seed=base, split="pairs", toggle=[item.name for item in THINGS])
        extract_images(model, pairs, extracted / "pairs" / str(run), **options)
