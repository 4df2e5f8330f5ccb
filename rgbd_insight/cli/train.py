"""`rgbd-insight train`: train networks, one or several, or the whole zoo."""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbd_insight.cli.campaign import BOOK, WORK, default_pool
from rgbd_insight.cli.sources import (
    DATA,
    EPOCHS,
    IMAGES,
    SEED,
    WIDTH,
    add_images,
    command,
    data_from,
    new_folder,
    reading_scales,
)
from rgbd_insight.data import Dataset
from rgbd_insight.experiments import everything, zoo_plans
from rgbd_insight.features import RunId
from rgbd_insight.models import FUSIONS, build
from rgbd_insight.training import PROFILES, Cache, Recipe, train


def add(commands: argparse._SubParsersAction) -> None:
    """The command `train`."""
    sub = command(commands, "train", run, "train networks; a killed run goes on where it stopped")
    sub.add_argument("--data", default="scenes", help=f"{DATA} (split: train)")
    sub.add_argument("--fusion", default="sum", help=f'one, several with commas, or "all": {", ".join(FUSIONS)}')
    sub.add_argument("--profile", default="tiny", choices=PROFILES, help="how large and how long: seconds to hours")
    sub.add_argument("--seed", type=SEED, default=0, help="of weights, order and dropout")
    text = "folder of the run, for several fusions of the runs; none: runs/FUSION-sSEED"
    sub.add_argument("--out", type=new_folder, help=text)
    sub.add_argument("--width", type=WIDTH, help="channels of the first level; none: the profile's")
    sub.add_argument("--epochs", type=EPOCHS, help="none: the profile's")
    sub.add_argument("--n", type=IMAGES, help="number of scenes; none: the profile's")
    sub.add_argument("--restart", action="store_true", help="start again where --out holds a run (resume=False)")
    add_images(sub)


def run(options: argparse.Namespace) -> None:
    """Train what the options name, and print how well each network does."""
    if options.fusion == "all" and options.profile == "full" and options.data == "scenes":
        return _whole_zoo(options)
    names = list(FUSIONS) if options.fusion == "all" else [name.strip() for name in options.fusion.split(",")]
    profile, scenes = PROFILES[options.profile], options.data == "scenes"
    n = profile["data"]["n"] if scenes and options.n is None else options.n
    data = data_from(options.data, split="train", n=n, size=options.size)
    made = profile["model"] | ({} if scenes else _scales(data))
    recipe = profile["train"] | {"flip": not scenes}  # in the scenes what a thing is depends on left and right
    if options.width is not None:
        made |= {"width": options.width}
    if options.epochs is not None:
        recipe |= {"epochs": options.epochs}
    Recipe(**recipe)
    # all are built, and so checked, before the first is trained
    models = [build(name, data.classes, seed=options.seed, **made) for name in names]
    cache = Cache(data, progress=True)
    for name, model in zip(names, models, strict=True):
        folder = str(RunId(name, options.seed))
        out = Path("runs", folder) if options.out is None else Path(options.out, folder if len(names) > 1 else "")
        state = {"seed": options.seed, "device": options.device, "resume": not options.restart}
        last = train(model, cache, out=out, **state, **recipe).iloc[-1]
        print(
            f"{folder}: loss {last['loss']:.3f}, accuracy {last['accuracy']:.3f} after epoch {last['epoch']:g}; "
            f"weights in {out}. Next: rgbd-insight extract --model {out}"
        )


def _scales(data: Dataset) -> dict:
    """What `build` is told of the data's modalities beside colour."""
    (_, depth), *others = reading_scales(data).items()
    channels = {m.name: m.planes for m in data.modalities}
    further = {name: {"channels": channels[name], "scale": scale} for name, scale in others}
    return {"depth_scale": depth} | ({"others": further} if further else {})


def _whole_zoo(options: argparse.Namespace) -> None:
    """Train and extract every operator and seed, several a GPU at once; what is finished is not done again."""
    changed = [name for name in ("width", "epochs", "n", "size", "device") if getattr(options, name) is not None]
    if changed or options.restart:
        raise ValueError(
            f"`--{changed[0] if changed else 'restart'}` does not go with `--fusion all --profile full`, "
            "which is one campaign for all. Leave it out, or name the fusions."
        )
    chosen = zoo_plans("full", None, options.seed)
    everything(chosen, "full", options.out or WORK, BOOK, default_pool())
