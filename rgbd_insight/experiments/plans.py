"""What a campaign trains and extracts: one `Plan` for each kind of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from rgbd_insight.data import Folder, Scenes
from rgbd_insight.data.batch import Dataset
from rgbd_insight.features import USUAL_SHARE, AblationName, RunId, TensorKey
from rgbd_insight.models import FUSIONS
from rgbd_insight.training import PROFILES

NYUV2_SIZE = (96, 128)
NYUV2_DEPTH = (2.75, 1.25)  # metres: mean and standard deviation over the valid readings of the training images
ISOLATED = ("rgb", "depth")
DEEP = ("rgb", "depth", "early", "sum", "se")  # whose responses are committed at the full profile; of others, tables
ENCODED = ("inverse", "log", "normals", "hha")  # what depth is given as to further runs of `se`, at the full profile
GIVEN = ("inverse", "normals", "hha")  # what depth is given as, beside metres, to the networks that are compared by it
FUSED = "se"  # the one that sees colour too
GIVEN_SIZE = (48, 64)  # of NYUv2 there, as large as the scenes: a CPU has to do it
GIVEN_PASSES = {"scenes": 3, "nyuv2": 4}  # over the training images there: what one core trains in half an hour
OVERLAP_PASSES = {"scenes": 3, "nyuv2": 8}  # of every operator, by a CPU: two cores train them in an hour
BLOCK = 300  # images at a time, where the images are small and a GPU is large
DEEP_SEEDS = 2
CELLS = {"scenes": 12, "nyuv2": 16}  # of an image, at which responses are kept: scenes have 3 x 4 in all
TRACED = ("sum", "se", "cross", "exchange")  # whose checkpoints are extracted at the full profile


@dataclass(frozen=True)
class Plan:
    """What is trained and extracted on one kind of data.

    Attributes
    ----------
    name : str
        Of the committed folder.
    source : str
        The kind of data, "scenes" or "nyuv2".
    fusions, seeds : tuple
        Networks ("se", or "se+hha" where depth is given as something else than metres) and seeds; every combination is
        a run.
    data : Callable
        From a split to the dataset.
    model, recipe : dict
        Options of `build` and `train`.
    samples : int
        Images extracted.
    twin_seeds : tuple of int
        Further seeds of the two twins.
    trajectories : tuple of RunId
        Runs whose checkpoints are extracted as well.
    silenced : tuple of RunId
        Runs whose units are ablated.
    removals : tuple of str
        What stands in for a removed input, beside another scene's.
    shares, draws : tuple of float, int
        Of the units that are ablated at a time, and random sets that they are compared with.
    deep : tuple of RunId, optional
        Runs whose responses are committed; of the others the tables are. None: all runs are deep.
    block : int
        Images that go through a network at a time.
    partners : int
        Whose input takes the place of a sample's own where one modality is given.
    located : tuple of RunId
        Runs of which it is kept where in the image some units respond.
    cells : int
        Places of each image at which responses are kept, as of `extract`; 0 keeps none.
    beside : str, optional
        The plan whose runs of the same operator the tables stand beside, for runs with other encodings of depth.
    """

    name: str
    source: str
    fusions: tuple[str, ...]
    seeds: tuple[int, ...]
    data: Callable[[str], Dataset]
    model: dict
    recipe: dict
    samples: int
    twin_seeds: tuple[int, ...] = ()
    trajectories: tuple[RunId, ...] = ()
    silenced: tuple[RunId, ...] = ()
    removals: tuple[str, ...] = ("mean", "noise")
    shares: tuple[float, ...] = (0.25,)
    draws: int = 19
    deep: tuple[RunId, ...] | None = None
    block: int = 64
    partners: int = 4
    located: tuple[RunId, ...] = ()
    cells: int = 0
    beside: str | None = None

    @property
    def intrinsics(self) -> tuple[float, ...]:
        """(fx, fy, cx, cy) of the images, in pixels."""
        return tuple(self.data("test").intrinsics)

    @property
    def runs(self) -> list[RunId]:
        """Every run, the dearest first, so that two workers end together."""
        cheap = ("rgb", "depth", "early")
        every = [
            RunId(f, s)
            for s in (*self.seeds, *self.twin_seeds)
            for f in self.fusions
            if s in self.seeds or f in ISOLATED
        ]
        return sorted(every, key=lambda run: run.network in cheap)

    @property
    def main_runs(self) -> list[RunId]:
        """The runs whose features are committed, of every stream and condition that a chapter uses."""
        return self.runs if self.deep is None else [run for run in self.runs if run in self.deep]

    def keeps(self, run: str, key: str) -> bool:
        """Whether a tensor is committed: the responses and pixel counts that the chapters use, in at most 8 MiB."""
        of, tensor = RunId.parse(run), TensorKey.parse(key)
        early = of.role != "final"
        if self.deep and early and of.network != "sum":
            return False  # the tables hold the other operators' trajectories
        if tensor.part is not None:
            if early:
                return tensor.condition == "rgb" and tensor.part != "guess"
            ablation = AblationName.parse(tensor.condition)
            if ablation is not None:  # at the full profile of one network, of a quarter of its units
                usual = of.network == "sum" and ablation.share == USUAL_SHARE
                return tensor.part == "hit" and (self.deep is None or usual)
            return tensor.part == "hit" or tensor.condition in ("both", *ISOLATED)
        if tensor.stream == "fused":
            return of.network == "early" and tensor.condition in ISOLATED
        exchanged = tensor.condition == "both" and of.network == "se" and of.seed == self.seeds[0]
        return tensor.condition == tensor.stream or exchanged


def zoo_plans(profile: str, nyuv2: str | None, seed: int = 0) -> list[Plan]:
    """The runs of a profile, for the scenes and, where its folder is given, for NYUv2.

    Examples
    --------
    >>> [(plan.name, len(plan.runs)) for plan in zoo_plans("small", None)]
    [('scenes', 10)]
    """
    options = PROFILES[profile]
    tiny = profile == "tiny"
    seeds = (seed, seed + 1)
    scenes = Plan(
        "scenes",
        "scenes",
        ("rgb", "depth", "early", "sum", "se"),
        seeds,
        partial(_scenes, train=options["data"]["n"], test=240 if tiny else 600, seed=seed),
        options["model"],
        options["train"] | {"flip": False},
        240 if tiny else 600,
        trajectories=(RunId("sum", seed),),
        silenced=(RunId("sum", seed),),
        cells=CELLS["scenes"],
    )
    # Real images are few: more passes over them, mirrored.
    passes = {"tiny": 1, "small": 16, "full": 48}[profile]
    real = replace(
        scenes,
        name="nyuv2",
        source="nyuv2",
        fusions=("rgb", "depth", "se"),
        data=partial(_folder, nyuv2),
        samples=654,
        cells=CELLS["nyuv2"],
        model=options["model"] | {"depth_scale": NYUV2_DEPTH},
        recipe=options["train"] | {"flip": True, "epochs": passes, "batch_size": 16, "lr": 2e-3},
        trajectories=(),
        silenced=(),
    )
    scenes = replace(scenes, located=(RunId("sum", seed),))
    if profile == "full":
        scenes, real = _whole_zoo(scenes, seed), replace(_whole_zoo(real, seed), seeds=seeds, twin_seeds=())
        real = replace(real, trajectories=())
        both = [scenes, _encoded(scenes), real, _encoded(real)]
        return both[: 2 if nyuv2 is None else 4]
    return [scenes] if nyuv2 is None else [scenes, real]


def _encoded(plan: Plan) -> Plan:
    """The same with one operator, to which depth is given in other ways."""
    fusions = tuple(named(FUSED, name) for name in ENCODED)
    return _bare(plan, name=f"{plan.name}-encodings", fusions=fusions, beside=plan.name)


def encoding_plans(profile: str, nyuv2: str | None, seed: int = 0) -> list[Plan]:
    """Networks of a profile, once for every encoding of depth; the profile "small" is cut to what a CPU can do.

    Examples
    --------
    >>> [(plan.name, plan.fusions) for plan in encoding_plans("small", None)]  # doctest: +NORMALIZE_WHITESPACE
    [('scenes-given', ('rgb', 'depth', 'depth+inverse', 'depth+normals', 'depth+hha',
                       'se', 'se+inverse', 'se+normals', 'se+hha'))]
    """
    fusions = ("rgb", *given("depth"), *given(FUSED))
    return [
        _cut(plan, profile, nyuv2, GIVEN_PASSES, name=f"{plan.name}-given", fusions=fusions)
        for plan in zoo_plans(profile, nyuv2, seed)
        if plan.beside is None
    ]


def overlap_plans(profile: str, nyuv2: str | None, seed: int = 0) -> list[Plan]:
    """Every operator of a profile, for its intersection over union; "small" is cut to what a CPU can do.

    Examples
    --------
    >>> [(plan.name, len(plan.fusions), plan.recipe["epochs"]) for plan in overlap_plans("small", None)]
    [('scenes-overlaps', 16, 3)]
    """
    return [
        _cut(
            plan,
            profile,
            nyuv2,
            OVERLAP_PASSES,
            name=f"{plan.name}-overlaps",
            fusions=tuple(FUSIONS),
            partners=1,
            located=plan.located,
        )  # what is predicted is of the first partner anyway
        for plan in zoo_plans(profile, nyuv2, seed)
        if plan.beside is None
    ]


def _cut(plan: Plan, profile: str, nyuv2: str | None, passes: dict[str, int], **changes: object) -> Plan:
    """The bare plan, changed; of "small", with few passes and small images of NYUv2."""
    if profile == "small":
        data = partial(_folder, nyuv2, size=GIVEN_SIZE) if plan.source == "nyuv2" else plan.data
        plan = replace(plan, recipe=plan.recipe | {"epochs": passes[plan.source]}, data=data)
    return _bare(plan, **changes)


def _bare(plan: Plan, **changes: object) -> Plan:
    """The plan with two seeds and nothing asked beyond them, then changed."""
    asked = {
        "seeds": plan.seeds[:2],
        "twin_seeds": (),
        "silenced": (),
        "trajectories": (),
        "removals": ("mean",),
        "deep": (),
        "located": (),
        "cells": 0,
    }
    return replace(plan, **asked | changes)


def given(fusion: str) -> tuple[str, ...]:
    """Names of a fusion's runs: metric depth, then every other encoding.

    Examples
    --------
    >>> given("se")
    ('se', 'se+inverse', 'se+normals', 'se+hha')
    """
    return (fusion, *(named(fusion, name) for name in GIVEN))


def named(fusion: str, encoding: str) -> str:
    """Name of a fusion's run with another encoding of depth than metres.

    Examples
    --------
    >>> named("se", "hha")
    'se+hha'
    """
    return RunId(fusion, 0, encoding=encoding).network


def _whole_zoo(plan: Plan, seed: int) -> Plan:
    """The plan with every operator and all that is asked of each."""
    seeds = tuple(range(seed, seed + 3))
    joint = tuple(RunId(name, seed) for name, fusion in FUSIONS.items() if len(fusion.encoders) == 2)
    return replace(
        plan,
        fusions=tuple(FUSIONS),
        seeds=seeds,
        twin_seeds=tuple(range(seed + 3, seed + 8)),
        silenced=joint,
        trajectories=tuple(RunId(name, s) for name in TRACED for s in seeds),
        removals=("zero", "mean", "noise"),
        shares=(0.125, 0.25, 0.5),
        draws=99,
        block=BLOCK,
        deep=tuple(RunId(name, s) for name in DEEP for s in seeds[:DEEP_SEEDS]),
    )


def _scenes(split: str, *, train: int, test: int, seed: int) -> Scenes:
    return Scenes(train if split == "train" else test, seed=seed, split=split)


def _folder(path: str, split: str, size: tuple[int, int] = NYUV2_SIZE) -> Folder:
    return Folder(path, split, size=size)
