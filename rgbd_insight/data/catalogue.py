"""The things that are planted in the scenes: how each looks in colour and in depth, and where it may be seen."""

from __future__ import annotations

from dataclasses import dataclass

from rgbd_insight.features import Concept

SURFACES = ("floor", "wall", "ceiling")


@dataclass(frozen=True)
class Item:
    """One kind of thing: its colour cue (hue, pattern, shading) and its depth cue (shape, out of or into the wall)."""

    name: str
    hue: str
    pattern: str
    shape: str
    out: bool = True
    shading: str | None = None  # drawn in the light of this solid: a picture of it


# In the order in which the knob `redundancy` gives them the other modality's cue: first rgb, then depth, then both.
FLAT = (
    Item("sign", "red", "bars", "slope"),
    Item("ball poster", "purple", "framed", "ripples", out=False, shading="ball"),
    Item("crate poster", "orange", "framed", "beam", out=False, shading="crate"),
    Item("rug", "green", "checker", "cross", out=False),
    Item("map", "blue", "dots", "ridges", out=False),
    Item("banner", "yellow", "stripes", "column", out=False),
)
CAMOUFLAGED = (
    Item("dome", "pink", "halves", "dome"),
    Item("bowl", "cyan", "rings", "dome", out=False),
    Item("niche", "green", "stripes", "block", out=False),
    Item("radiator", "red", "dots", "ridges"),
    Item("ramp", "blue", "bars", "ramp"),
    Item("moulding", "orange", "checker", "frame"),
)
ORDINARY = (
    Item("ball", "purple", "plain", "ball"),
    Item("cushion", "pink", "rings", "egg"),
    Item("post", "cyan", "plain", "post"),
    Item("pipe", "yellow", "plain", "pipe"),
    Item("crate", "orange", "plain", "crate"),
    Item("board", "blue", "halves", "board"),
)
GRADED = (  # thing, share of its appearances in which its colour cue is drawn, the same for its depth cue
    (Item("shelf", "green", "halves", "beam"), 0.9, 0.1),
    (Item("plaque", "red", "rings", "step"), 0.7, 0.3),
    (Item("clock", "cyan", "checker", "pyramid", out=False), 0.5, 0.5),
    (Item("hook", "yellow", "dots", "cross"), 0.3, 0.7),
    (Item("vent", "purple", "stripes", "ripples"), 0.1, 0.9),
)
CONJUNCTIONS = (
    Item("alarm", "red", "plain", "pyramid"),
    Item("switch", "green", "plain", "column"),
)
WARM = {  # what a heat camera shows, where there is one: whether it alone does, the pattern, degrees above the room
    "map": (True, "bars", 20.0),
    "banner": (True, "stripes", 20.0),
    "niche": (True, "checker", 20.0),
    "ramp": (True, "dots", 20.0),
    "cushion": (True, "rings", 20.0),
    "board": (True, "halves", 20.0),
    "crate poster": (False, "framed", 20.0),
    "rug": (False, "plain", 20.0),
    "radiator": (False, "bars", 8.0),
    "dome": (False, "checker", 8.0),
    "ball": (False, "rings", 8.0),
    "crate": (False, "plain", 8.0),
}
TAGS = tuple(f"tag {i}" for i in range(1, 7))

THINGS: tuple[Item, ...] = (*FLAT, *CAMOUFLAGED, *ORDINARY, *(item for item, _, _ in GRADED), *CONJUNCTIONS)
SINGLE = len(FLAT) + len(CAMOUFLAGED)  # things that one modality alone may show
ALONE = 2 / 3  # what one half of a conjunction shows of it: half of the scenes without it show that half as well


def visibilities(redundancy: float) -> list[tuple[str, float, float]]:
    """(kind, visibility in rgb, visibility in depth) of each of `THINGS`.

    Visibility is what an ideal reader of one modality attains: 2 AUROC - 1 for "present or absent". `redundancy` is the
    share of the 18 ordinary things that both modalities show.
    """
    shared = round(redundancy * (SINGLE + len(ORDINARY)))
    kinds = []
    for i in range(SINGLE):
        # Redundancy is given to the two single-modality lists in turn, and taken from the ordinary things last of all.
        turn = 2 * (i % len(FLAT)) + (i >= len(FLAT))
        both = turn < shared - len(ORDINARY)
        kinds.append(("both", 1.0, 1.0) if both else (("rgb", 1.0, 0.0) if i < len(FLAT) else ("depth", 0.0, 1.0)))
    for i in range(len(ORDINARY)):
        if i < shared:
            kinds.append(("both", 1.0, 1.0))
        else:
            kinds.append(("rgb", 1.0, 0.0) if i % 2 else ("depth", 0.0, 1.0))
    kinds += [("graded", rgb, depth) for _, rgb, depth in GRADED]
    return kinds + [("together", ALONE, ALONE)] * len(CONJUNCTIONS)


def shown(redundancy: float, cameras: int) -> list[tuple[str, dict[str, float]]]:
    """Kind and visibility in each modality of each of `THINGS`, for 2 cameras or with the heat camera as a third.

    The kind names the modalities that show it, "rgb+thermal", and is "both" where all do.
    """
    found = [(kind, {"rgb": rgb, "depth": depth}) for kind, rgb, depth in visibilities(redundancy)]
    if cameras == 2:
        return found
    warm = []
    for item, (kind, seen) in zip(THINGS, found, strict=True):
        alone, heat = item.name in WARM and WARM[item.name][0], float(item.name in WARM)
        seen = (dict.fromkeys(seen, 0.0) if alone else seen) | {"thermal": heat}
        names = [name for name, value in seen.items() if value]
        known = kind if kind in ("graded", "together") else "both" if len(names) == len(seen) else "+".join(names)
        warm.append((known, seen))
    return warm


def planted_concepts(redundancy: float, cameras: int = 2) -> tuple[Concept, ...]:
    """Surfaces, things and tags, each with where it was planted to be visible."""
    surfaces = [Concept(name, "class", "unknown", None) for name in SURFACES]
    kinds = shown(redundancy, cameras)
    things = [Concept(item.name, "class", kind, seen) for item, (kind, seen) in zip(THINGS, kinds, strict=True)]
    tags = [Concept(name, "tag", "neither", dict.fromkeys(kinds[0][1], 0.0)) for name in TAGS]
    return (*surfaces, *things, *tags)
