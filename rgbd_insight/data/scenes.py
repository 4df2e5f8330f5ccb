"""Planted scenes: rooms in which it is known, for every concept, which modality shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgbd_insight.data import render
from rgbd_insight.data.batch import Batch
from rgbd_insight.data.catalogue import (
    CONJUNCTIONS,
    SINGLE,
    SURFACES,
    TAGS,
    THINGS,
    WARM,
    Item,
    planted_concepts,
    shown,
)
from rgbd_insight.data.concepts import image_concepts, image_maps
from rgbd_insight.data.depth import Intrinsics, Sensor, sense
from rgbd_insight.features import Features, Modality
from rgbd_insight.utils.messages import checked_whole, unknown

MOST = 10**7  # scenes, beyond which no run would end
SPLITS = {"train": 0, "tune": 1, "test": 2, "label": 3, "pairs": 4}
PRESENT = 0.25  # how often each thing and tag is in a scene
ACTIVE = 0.75  # how often a conjunction has any of its halves; a third of these have both
NAMES = tuple(item.name for item in THINGS)
MODALITIES = (Modality("rgb", "", 0.0, 1.0), Modality("depth", "m", 0.0, 10.0), Modality("thermal", "°C", 0.0, 60.0))
VERSION = 1  # of the pictures: raised whenever the same seed gives other pixels


@dataclass(frozen=True)
class _Plan:
    """What was drawn for one scene, before any pixel."""

    room: np.ndarray  # (7,)
    paint: np.ndarray  # (5, 3) surface colours
    slot: np.ndarray  # (S,) thing in each window, -1 for none
    colour: np.ndarray  # (S,) bool: its colour cue is drawn
    relief: np.ndarray  # (S,) bool: its depth cue is drawn
    named: np.ndarray  # (S,) bool: the concept is there (a conjunction's half is a decoy)
    tags: np.ndarray  # (S,) tag of each window, -1 for none
    place: np.ndarray  # (S, 4) centre x, y and half size in pixels, height in metres
    noise: int


class Scenes:
    """Indoor-like rooms with things that colour, depth, both, neither or only the two together can show.

    Scene *i* of a seed and split is the same picture for every batch size and order: what is in it is drawn for each
    index by itself, on the CPU.

    Parameters
    ----------
    n : int, optional
        Number of scenes, ≥ 1.
    seed : int, optional
        Non-negative; other seeds are other scenes.
    split : str, optional
        One of "train", "tune", "test", "label", "pairs"; splits share no scene.
    toggle : str or sequence of str, optional
        Name of a thing, or several. Then `n` scenes for each of them are drawn twice, with the thing (even samples) and
        without it (odd samples), all else equal, and the two are one group.
    co_occurrence : float, optional
        In [0, 1); with this probability the presence of the j-th camouflaged thing copies that of the j-th flat one.
    layout : float, optional
        In [0, 1]; with this probability a thing takes its favourite place.
    redundancy : float, optional
        In [0, 1]; the share of the 18 ordinary things that colour and depth both show (but what heat alone shows does
        not become theirs).
    sensor : Sensor, optional
        How a depth camera spoils the exact depth, and nothing else; None for exact depth.
    cameras : int, optional
        2, or 3 for a heat camera beside them: of the same scenes, of which six things are then shown by heat alone, and
        two each by heat and colour, by heat and depth, and by all three.

    Raises
    ------
    ValueError
        For any argument outside its range, an unknown split or an unknown thing.

    Examples
    --------
    >>> data = Scenes(n=2, seed=1)
    >>> batch = data.batch([0, 1])
    >>> [tuple(images.shape) for images in batch.inputs.values()]
    [(2, 3, 48, 64), (2, 1, 48, 64)]
    """

    name = "scenes"
    size = (render.HEIGHT, render.WIDTH)
    intrinsics = Intrinsics.centred(render.FOCAL, size)
    classes = (*SURFACES, *NAMES)

    def __init__(
        self,
        n: int = 1000,
        *,
        seed: int = 0,
        split: str = "test",
        toggle: str | Sequence[str] = (),
        co_occurrence: float = 0.0,
        layout: float = 0.0,
        redundancy: float = 1 / 3,
        sensor: Sensor | None = None,
        cameras: int = 2,
    ):
        checked_whole("n", n, 1, MOST, "1000 are the default")
        checked_whole("seed", seed, 0, 2**63 - 1, "0 is the default")
        _one_of("split", split, SPLITS)
        toggle = (toggle,) if isinstance(toggle, str) else tuple(toggle)
        for thing in toggle:
            _one_of("toggle", thing, NAMES)
        for name, value in (("co_occurrence", co_occurrence), ("layout", layout), ("redundancy", redundancy)):
            if not 0 <= value <= 1:
                raise ValueError(f"`{name}` must be in [0, 1]; got {value}")
        checked_whole("cameras", cameras, 2, 3, "3 adds one of heat")
        self.cameras, self.modalities = cameras, MODALITIES[:cameras]
        self.n, self.seed, self.split, self.toggle = n, seed, split, toggle
        self.co_occurrence, self.layout, self.redundancy, self.sensor = co_occurrence, layout, redundancy, sensor
        planted = planted_concepts(redundancy, cameras)
        looks, families = image_concepts()
        self.concepts = (*planted, *looks)
        self.families = ("class", "tag", *families)
        self._first_look = len(planted)
        self._shown = np.array([[seen["rgb"], seen["depth"]] for _, seen in shown(redundancy, cameras)])  # (T, 2)
        self.groups = tuple(f"{split}-{seed}-{i}" for i in range(n))
        if toggle:
            self.groups = tuple(f"{split}-{seed}-{i}-{thing}" for thing in toggle for i in range(n) for _ in "ab")

    def __len__(self) -> int:
        return len(self.groups)

    def fingerprint(self) -> dict:
        """What these scenes are made from, as JSON values."""
        return {
            "name": self.name,
            "version": VERSION,
            "n": self.n,
            "seed": self.seed,
            "split": self.split,
            "toggle": list(self.toggle),
            "co_occurrence": self.co_occurrence,
            "layout": self.layout,
            "redundancy": self.redundancy,
            "sensor": repr(self.sensor) if self.sensor else None,
            **({} if self.cameras == 2 else {"cameras": self.cameras}),
        }

    def batch(self, indices: Sequence[int]) -> Batch:
        """Draw the scenes at `indices`."""
        plans = [self._plan(i) for i in indices]
        rgb, depth, footprint, surface = _draw(plans)
        noise = np.stack([np.random.default_rng(p.noise).standard_normal((4, *self.size), np.float32) for p in plans])
        noise = torch.from_numpy(noise)  # (B, 4, H, W)
        rgb = (rgb + 0.02 * noise[:, :3]).clamp(0, 1)
        depth = depth + 0.004 * noise[:, 3:]
        valid = torch.ones_like(depth, dtype=torch.bool)
        if self.sensor is not None:
            depth, valid = sense(depth, self.sensor, [p.noise for p in plans])
        labels = _labels(plans, footprint, surface)
        planted = torch.stack([labels, _tags(plans)], 1).to(torch.int16)  # (B, 2, H, W)
        looks = image_maps(rgb, depth, valid, focal=render.FOCAL)  # (B, F, H, W)
        looks = torch.where(looks >= 0, looks + self._first_look, looks)
        ids = tuple(self._id(i) for i in indices)
        groups = tuple(self.groups[i] for i in indices)
        concepts = torch.cat([planted, looks.to(torch.int16)], 1)
        inputs = {"rgb": rgb, "depth": depth}
        if self.cameras == 3:
            inputs["thermal"] = _heat(plans, footprint, surface)
        return Batch(inputs, {"depth": valid}, labels, concepts, ids, groups)

    def visibility(self, indices: Sequence[int]) -> Tensor:
        """Where each modality shows a thing that is there: bool (B, M, H, W), in the order of `modalities`."""
        plans = [self._plan(i) for i in indices]
        *_, footprint, _ = _draw(plans)
        drawn = [[p.colour, p.relief, (_RISE[p.slot] > 0)] for p in plans]  # of each plan (3, S)
        drawn = np.array(drawn)[:, : self.cameras].swapaxes(1, 2)  # (B, S, M)
        masks = footprint[..., None] & torch.from_numpy(drawn)[:, :, None, None]  # (B, S, P, P, M)
        return render.fold(masks).movedim(-1, 1)

    def _id(self, index: int) -> str:
        return self.groups[index] + (("-on", "-off")[index % 2] if self.toggle else "")

    def _plan(self, index: int) -> _Plan:
        """Draw what is in one scene. Everything is drawn whether used or not, so that a toggle changes nothing else."""
        if not 0 <= index < len(self):
            raise ValueError(f"`indices` must be in 0…{len(self) - 1}; got {index}")
        scene = index // 2 if self.toggle else index  # other things have other scenes: the pairs are independent
        rng = np.random.Generator(np.random.Philox(key=[self.seed, (SPLITS[self.split] << 40) + scene]))
        low = np.array([1.3, -0.12, -0.25, 1.2, 1.2, 2.5, 0.9])
        high = np.array([1.7, 0.12, 0.25, 2.5, 2.5, 4.5, 1.3])
        room = rng.uniform(low, high)
        paint = rng.uniform(0.3, 0.65, (5, 1)) + rng.uniform(-0.06, 0.06, (5, 3))
        chance, copies, cue = rng.random((3, len(THINGS)))
        halves = rng.integers(0, 3, len(CONJUNCTIONS))
        order, slots = rng.permutation(len(THINGS)), rng.permutation(render.SLOTS)
        stays = rng.random(len(THINGS)) < self.layout
        place = rng.uniform([-1.5, -1.5, 5.5, 0.3], [1.5, 1.5, 6.5, 0.5], (render.SLOTS, 4))
        tagged, tag_slots = rng.random(len(TAGS)) < PRESENT, rng.permutation(render.SLOTS)
        noise = int(rng.integers(2**62))

        paired = copies[: SINGLE // 2] < self.co_occurrence
        chance[SINGLE // 2 : SINGLE] = np.where(paired, chance[: SINGLE // 2], chance[SINGLE // 2 : SINGLE])
        present = chance < PRESENT
        first = len(THINGS) - len(CONJUNCTIONS)
        present[first:] = chance[first:] < ACTIVE
        shown = cue[:, None] < self._shown  # (T, 2): nested, so that two cues say no more than the better one
        shown[first:, 0], shown[first:, 1] = halves != 1, halves != 0
        if self.toggle:
            thing = NAMES.index(self.toggle[index // (2 * self.n)])
            present[thing] = True
            order = np.concatenate([order[order != thing], [thing]])
            if thing >= first:
                shown[thing] = True
        slot = _arrange(order[present[order]], slots, stays, keep_last=bool(self.toggle))
        if self.toggle and index % 2:
            slot[slot == thing] = -1
        full = np.append(shown, [[False, False]], 0)  # the empty window is index -1
        named = (slot >= 0) & ((slot < first) | full[slot].all(1))
        tags = np.full(render.SLOTS, -1)
        tags[tag_slots[: tagged.sum()]] = np.flatnonzero(tagged)
        return _Plan(room, paint, slot, full[slot, 0], full[slot, 1], named, tags, place, noise)


def _one_of(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(unknown(name, value, known))


def _arrange(present: np.ndarray, slots: np.ndarray, stays: np.ndarray, keep_last: bool) -> np.ndarray:
    """Give each thing a window of its own; where there are more things than windows, the last drawn are left out."""
    present = np.append(present[: render.SLOTS - 1], present[-1:]) if keep_last else present[: render.SLOTS]
    slot = np.full(render.SLOTS, -1)
    for thing in present:
        favourite = thing % render.SLOTS
        free = slots[slot[slots] < 0]
        slot[favourite if stays[thing] and slot[favourite] < 0 else free[0]] = thing
    return slot


def _gather(options: Tensor, index: Tensor) -> Tensor:
    """Pick `options` (O, B, S, P, P) by `index` (B, S)."""
    index = index[None, :, :, None, None].expand(1, *options.shape[1:])
    return options.gather(0, index)[0]


def _draw(plans: list[_Plan]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Render: rgb (B, 3, H, W), depth (B, 1, H, W), footprints (B, S, P, P) bool, surface (B, H, W)."""

    def stacked(field: str, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.from_numpy(np.stack([getattr(p, field) for p in plans])).to(dtype)

    room, paint, place = stacked("room"), stacked("paint"), stacked("place")
    slot = stacked("slot", torch.int64)  # (B, S)
    depth, surface = render.cast_room(render.Room(*room.unbind(1)))  # (B, H, W) each
    wall = paint.gather(1, surface.flatten(1)[..., None].expand(-1, -1, 3)).unflatten(1, surface.shape[1:])
    wall = render.unfold(wall * (1.1 - 0.06 * depth[..., None]))  # (B, S, P, P, 3)
    behind = render.unfold(depth)  # (B, S, P, P)

    looks = {name: torch.tensor([v[name] for v in _LOOKS])[slot] for name in _LOOKS[0]}  # each (B, S)
    a, b = render.window_coordinates(place[..., :2], place[..., 2])
    there = (slot >= 0)[..., None, None]
    heights = render.reliefs(a, b) * place[..., 3, None, None]
    middle = behind[:, :, render.PATCH // 2, render.PATCH // 2, None, None]  # (B, S, 1, 1)
    reach = place[..., 2, None, None] * middle * 0.85 / render.FOCAL
    forward, light = render.cast_solids(a, b, reach)
    solid = (looks["shape"] >= len(render.RELIEFS))[..., None, None]
    coming = _gather(forward, looks["solid"])
    profile = _gather(heights, looks["relief"]) * looks["sign"][..., None, None]
    inside = (a.abs() < 1) & (b.abs() < 1)
    round_relief = (looks["shape"] == render.RELIEFS.index("dome"))[..., None, None]
    flat_foot = inside & (~round_relief | (a * a + b * b < 1))
    footprint = there & torch.where(solid, coming > -torch.inf, flat_foot)
    standing = torch.where(coming > -torch.inf, torch.minimum(behind, middle - reach * 0.2 - coming), behind)
    in_front = torch.where(solid, standing, behind - profile)
    relief = stacked("relief", torch.bool)[..., None, None] & footprint
    depth = render.fold(torch.where(relief, in_front, behind).clamp_min(0.3))

    hue = render.hue_to_rgb(looks["hue"])[:, :, None, None]  # (B, S, 1, 1, 3)
    drawn = _gather(render.patterns(a, b), looks["pattern"])[..., None]
    shading = torch.where((looks["shading"] >= 0)[..., None, None], _gather(light, looks["shading"].clamp_min(0)), 1.0)
    ink = (drawn * hue + (1 - drawn) * 0.95) * shading[..., None]
    colour = (stacked("colour", torch.bool)[..., None, None] & footprint)[..., None]
    rgb = render.fold(torch.where(colour, ink, wall)).movedim(-1, 1)
    return rgb, depth[:, None], footprint, surface


def _heat(plans: list[_Plan], footprint: Tensor, surface: Tensor) -> Tensor:
    """What a heat camera sees, (B, 1, H, W) in °C: surfaces near 20, warm things above them in patterns of their own.

    What it draws of chance is its own: the other cameras' images are as they are without it.
    """
    slot, place = (torch.from_numpy(np.stack([getattr(p, name) for p in plans])) for name in ("slot", "place"))
    a, b = render.window_coordinates(place[..., :2].float(), place[..., 2].float())
    drawn = _gather(render.patterns(a, b), torch.from_numpy(_WARM_PATTERN)[slot])  # (B, S, P, P), 0 or 1
    rise = torch.from_numpy(_RISE)[slot].float()[..., None, None] * footprint  # (B, S, P, P)
    chance = [np.random.default_rng([p.noise, 1]) for p in plans]
    walls = torch.from_numpy(np.stack([rng.uniform(18, 22, 5) for rng in chance])).float()  # (B, 5)
    behind = walls.gather(1, surface.flatten(1)).unflatten(1, surface.shape[1:])  # (B, H, W)
    noise = np.stack([rng.standard_normal(surface.shape[1:], np.float32) for rng in chance])
    heat = behind + render.fold(rise * (0.35 + 0.65 * drawn)) + 0.3 * torch.from_numpy(noise)
    return heat[:, None]


def _look(item: Item) -> dict:
    """The indices by which an item is drawn."""
    solid = item.shape in render.SOLIDS
    shading = item.shading or (item.shape if solid else None)
    return {
        "hue": render.HUES[item.hue],
        "pattern": render.PATTERNS.index(item.pattern),
        "shape": render.SHAPES.index(item.shape),
        "relief": 0 if solid else render.RELIEFS.index(item.shape),
        "solid": render.SOLIDS.index(item.shape) if solid else 0,
        "sign": 1.0 if item.out else -1.0,
        "shading": -1 if shading is None else render.SOLIDS.index(shading),
    }


_LOOKS = [_look(item) for item in THINGS]
# of each thing, and of an empty window: degrees above the room, and the pattern in heat
_RISE = np.array([*(WARM[name][2] if name in WARM else 0.0 for name in NAMES), 0.0])
_WARM_PATTERN = np.array([*(render.PATTERNS.index(WARM[name][1]) if name in WARM else 0 for name in NAMES), 0])
_SURFACE_LABEL = torch.tensor([0, 2, 1, 1, 1])  # of floor, ceiling and the three walls, as in SURFACES


def _labels(plans: list[_Plan], footprint: Tensor, surface: Tensor) -> Tensor:
    """Class of each pixel (B, H, W): the thing that is there, seen or not, else the surface."""
    slot = torch.from_numpy(np.stack([np.where(p.named, p.slot, -1) for p in plans]))
    thing = torch.where(footprint & (slot >= 0)[..., None, None], slot[..., None, None] + len(SURFACES), -1)
    thing = render.fold(thing)
    return torch.where(thing >= 0, thing, _SURFACE_LABEL[surface])


def _tags(plans: list[_Plan]) -> Tensor:
    """Concept index of the tag of each pixel (B, H, W), -1 for none: a label that nothing shows."""
    tags = torch.from_numpy(np.stack([p.tags for p in plans]))
    first = len(SURFACES) + len(THINGS)
    tags = torch.where(tags >= 0, tags + first, -1)
    return render.fold(tags[..., None, None].expand(-1, -1, render.PATCH, render.PATCH))


def redraw(features: Features) -> Scenes:
    """The planted scenes that `features` were extracted from, sample for sample.

    Parameters
    ----------
    features : Features
        Extracted from `Scenes`.

    Returns
    -------
    Scenes
        With the same fingerprint.

    Raises
    ------
    ValueError
        Where the features are of other data, or of scenes that another version of the package drew.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> features = ri.load("book/features/scenes")
    >>> redraw(features).batch([0]).ids[0] == features.samples["id"][0]
    True
    """
    made = dict(features.manifest["fingerprint"])
    name, version = made.pop("name", features.manifest["name"]), made.pop("version", None)
    if name != Scenes.name or "split" not in made:
        raise ValueError(f"`features` must be of planted scenes, drawn from a seed; {features.path} is of {name!r}")
    if version != VERSION:
        raise ValueError(
            f"`features` must be of scenes of version {VERSION}; {features.path} has {version!r}. Extract them again."
        )
    return Scenes(**made | {"sensor": _sensor(made["sensor"])})


def _sensor(text: str | None) -> Sensor | None:
    """The sensor that is written as `text`; literals only, since features may come from anywhere."""
    if text is None:
        return None
    call = ast.parse(text, mode="eval").body
    return Sensor(**{word.arg: ast.literal_eval(word.value) for word in call.keywords})
