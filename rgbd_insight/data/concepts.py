"""Concept maps of images that nobody planted: what labels, colours and depth themselves say of every pixel.

Every family gives a pixel one of its concepts or none (-1). All thresholds are stated here, as constants; they
are in units of the image at hand, so that maps of one image at two sizes differ (a coarse image has fewer edges).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rgbd_insight.data.batch import IGNORE
from rgbd_insight.data.depth import Intrinsics, surface_normals
from rgbd_insight.features import Concept

VERSION = 1  # raised whenever the same image gets other maps

HUES = {"red": 15, "orange": 50, "yellow": 95, "green": 160, "cyan": 200, "blue": 250, "purple": 290, "pink": 340}
"""Name of a hue, and the angle in degrees at which it ends; red begins where pink ends."""
GREYS = ("black", "grey", "white")
COLOURED = 0.25  # least saturation (largest - smallest channel, over the largest) of a pixel that has a hue
CHROMA = 0.10  # and its least chroma (largest - smallest channel): in the dark, saturation is noise
DARK, LIGHT = 0.20, 0.75  # without a hue: black where the largest channel is below, white where it is above

TEXTURES = ("smooth", "medium texture", "strong texture")
TEXTURE = (0.015, 0.05)  # limits on the mean gradient of luma (change a pixel) in a window of 5 x 5 (or H/48 each way)
LUMA = (0.299, 0.587, 0.114)
COLOUR_STEP = 0.18  # least length of the colour gradient, all channels together (change a pixel), at a colour edge
DEPTH_STEP = 0.08  # least step at a depth edge, relative to depth, beyond what a plane does

RANGES = ("near", "middle", "far", "farthest")
RANGE = (1.5, 2.5, 4.0)  # limits in metres
ORIENTATIONS = ("floor-like", "wall-like", "ceiling-like")
LEVEL, UPRIGHT = 0.82, 0.42  # floor and ceiling within 35° of level, walls within 25° of upright
FIELD_OF_VIEW = 0.9  # focal length as a share of the width, where no camera is known (58° across)

COLOUR_FAMILIES = {"hue": (*HUES, *GREYS), "texture": TEXTURES, "colour edge": ("colour edge",)}
DEPTH_FAMILIES = {"depth edge": ("depth edge",), "depth range": RANGES, "orientation": ORIENTATIONS}


def image_concepts(classes: Sequence[str] = (), *, depth: bool = True) -> tuple[tuple[Concept, ...], tuple[str, ...]]:
    """Name the concepts of real images and their families, in the order of the maps' indices and planes.

    Parameters
    ----------
    classes : sequence of str, optional
        Task classes, which come first, as the family "class"; without any there is no such family.
    depth : bool, optional
        False where the second modality is not metric depth: then the families that depth shows are left out.

    Returns
    -------
    (tuple of Concept, tuple of str)
        Concepts (their `kind` is "unknown": nobody planted them) and names of families. A look that bears the name of a
        class is called "name (family)".

    Examples
    --------
    >>> concepts, families = image_concepts(["wall", "floor"])
    >>> len(concepts), families
    (25, ('class', 'hue', 'texture', 'colour edge', 'depth edge', 'depth range', 'orientation'))
    """
    families = COLOUR_FAMILIES | (DEPTH_FAMILIES if depth else {})
    concepts = [Concept(name, "class") for name in classes]
    for family, names in families.items():
        concepts += [Concept(f"{name} ({family})" if name in classes else name, family) for name in names]
    return tuple(concepts), (*(("class",) if classes else ()), *families)


def concept_maps(
    rgb: Tensor,
    depth: Tensor | None,
    valid: Tensor | None,
    labels: Tensor,
    classes: Sequence[str],
    intrinsics: Intrinsics | Sequence[float] | None = None,
) -> Tensor:
    """Concept of every pixel in every family of `image_concepts(classes)`, or -1.

    Parameters
    ----------
    rgb : Tensor of float (B, 3, H, W)
        In [0, 1].
    depth, valid : Tensor or None
        Float (B, 1, H, W) in metres and bool (B, 1, H, W); both None leaves out the families of depth.
    labels : Tensor of integer (B, H, W)
        Index into `classes`, 255 = ignore.
    classes : sequence of str
        Task classes, at least one.
    intrinsics : Intrinsics or sequence of float, optional
        (fx, fy, cx, cy) in pixels of this image; None for a camera of 58° that looks through the middle.

    Returns
    -------
    Tensor of int16 (B, F, H, W)
        On the device of `rgb`: index into the concepts, -1 where the family says nothing (an ignored label, no edge, no
        reading, an oblique surface).

    Raises
    ------
    ValueError
        For shapes that do not fit, or a label that is no class.

    Examples
    --------
    >>> depth = torch.full((1, 1, 4, 4), 2.0)
    >>> maps = concept_maps(torch.zeros(1, 3, 4, 4), depth, depth > 0, torch.ones(1, 4, 4).long(), ["wall", "floor"])
    >>> concepts, families = image_concepts(["wall", "floor"])
    >>> [concepts[k].name if k >= 0 else None for k in maps[0, :, 0, 0].tolist()]
    ['floor', 'black', 'smooth', None, None, 'middle', 'wall-like']
    """
    if not classes:
        raise ValueError("`classes` must hold at least one name; got none. Use image_maps where there are no labels.")
    if tuple(labels.shape) != (len(rgb), *rgb.shape[-2:]):
        raise ValueError(f"`labels` must have the shape {(len(rgb), *rgb.shape[-2:])}; got {tuple(labels.shape)}")
    labels = labels.long()
    named = labels != IGNORE
    lowest, highest = int(labels.min()), int(torch.where(named, labels, 0).max())
    if lowest < 0 or highest >= len(classes):
        raise ValueError(f"`labels` must be in 0…{len(classes) - 1} or {IGNORE} (ignore); got {lowest}…{highest}")
    looks = image_maps(rgb, depth, valid, intrinsics=intrinsics)  # (B, F - 1, H, W)
    looks = torch.where(looks >= 0, looks + len(classes), looks)
    labels = torch.where(named, labels, -1)[:, None]  # (B, 1, H, W)
    return torch.cat([labels.to(looks), looks], 1)


def image_maps(
    rgb: Tensor,
    depth: Tensor | None = None,
    valid: Tensor | None = None,
    *,
    intrinsics: Intrinsics | Sequence[float] | None = None,
    focal: float | None = None,
) -> Tensor:
    """Concept of every pixel in every family of `image_concepts()`, that is without classes, or -1.

    Parameters are those of `concept_maps`; `focal` (pixels) stands for a camera that looks through the middle.

    Returns
    -------
    Tensor of int16 (B, F, H, W)
        Index into `image_concepts()`'s concepts.

    Raises
    ------
    ValueError
        For shapes that do not fit, or where both `intrinsics` and `focal` are given.

    Examples
    --------
    >>> image_maps(torch.full((1, 3, 4, 4), 0.5))[0, :, 0, 0]
    tensor([ 9, 11, -1], dtype=torch.int16)
    """
    _check(rgb, depth, valid)
    if intrinsics is not None and focal is not None:
        raise ValueError("give `intrinsics` or `focal`, not both")
    planes = [_hue(rgb), _texture(rgb), _colour_edge(rgb)]  # each (B, H, W)
    if depth is not None:
        depth = torch.where(valid, depth, 0)
        size = rgb.shape[-2:]
        if intrinsics is None:
            intrinsics = Intrinsics.centred(focal or FIELD_OF_VIEW * size[1], size)
        planes += [_depth_edge(depth), _depth_range(depth), _orientation(depth, intrinsics)]
    first, shifted = 0, []
    for plane, names in zip(planes, (COLOUR_FAMILIES | DEPTH_FAMILIES).values(), strict=False):
        shifted.append(torch.where(plane >= 0, plane + first, -1))
        first += len(names)
    return torch.stack(shifted, 1).to(torch.int16)


def _hue(rgb: Tensor) -> Tensor:
    """Index into hues and greys (B, H, W)."""
    red, green, blue = rgb.unbind(1)
    high, low = rgb.amax(1), rgb.amin(1)
    chroma = high - low
    span = torch.where(chroma > 0, chroma, 1)
    at_red = torch.remainder((green - blue) / span, 6)
    at_green, at_blue = (blue - red) / span + 2, (red - green) / span + 4
    angle = 60 * torch.where(high == red, at_red, torch.where(high == green, at_green, at_blue))
    ends = torch.tensor(list(HUES.values()), dtype=rgb.dtype, device=rgb.device)
    hue = torch.bucketize(angle, ends, right=True) % len(HUES)
    grey = len(HUES) + (high >= DARK).long() + (high > LIGHT).long()
    return torch.where((chroma >= CHROMA) & (chroma >= COLOURED * high), hue, grey)


def _texture(rgb: Tensor) -> Tensor:
    """0 smooth, 1 medium, 2 strong (B, H, W)."""
    luma = sum(weight * channel for weight, channel in zip(LUMA, rgb.unbind(1), strict=True))
    across, down = _gradient(luma[:, None])
    energy = (across * across + down * down).sqrt()  # (B, 1, H, W)
    radius = max(2, round(rgb.shape[-2] / 48))
    energy = _window_mean(_window_mean(energy, radius, -1), radius, -2)[:, 0]
    return (energy >= TEXTURE[0]).long() + (energy >= TEXTURE[1]).long()


def _colour_edge(rgb: Tensor) -> Tensor:
    """0 at an edge, else -1 (B, H, W)."""
    across, down = _gradient(rgb)
    steps = (across * across + down * down).unbind(1)
    return (steps[0] + steps[1] + steps[2] >= COLOUR_STEP**2).long() - 1


def _depth_edge(depth: Tensor) -> Tensor:
    """0 at an edge, else -1 (B, H, W).

    The second difference of inverse depth, times depth: 0 on every plane however oblique, the relative step at an
    occlusion. A pixel whose neighbour has no reading says nothing in that direction.
    """
    there = depth > 0
    inverse = F.pad(torch.where(there, 1 / torch.where(there, depth, 1), 0), [1] * 4)  # (B, 1, H + 2, W + 2)
    middle = inverse[..., 1:-1, 1:-1]
    edge = torch.zeros_like(there)
    sides = ((inverse[..., 1:-1, :-2], inverse[..., 1:-1, 2:]), (inverse[..., :-2, 1:-1], inverse[..., 2:, 1:-1]))
    for before, after in sides:
        known = there & (before > 0) & (after > 0)
        edge |= known & ((before - 2 * middle + after).abs() >= DEPTH_STEP * middle)
    return edge[:, 0].long() - 1


def _depth_range(depth: Tensor) -> Tensor:
    """0 … 3 from near to farthest, -1 without a reading (B, H, W)."""
    ends = torch.tensor(RANGE, dtype=depth.dtype, device=depth.device)
    return torch.where(depth > 0, torch.bucketize(depth, ends, right=True), -1)[:, 0]


def _orientation(depth: Tensor, intrinsics: Intrinsics | Sequence[float]) -> Tensor:
    """0 floor-like, 1 wall-like, 2 ceiling-like, -1 oblique or unknown (B, H, W); gravity is the image's own y."""
    normals = surface_normals(depth, intrinsics)  # (B, 3, H, W)
    up, fitted = -normals[:, 1], (normals != 0).any(1)
    facing = torch.where(up >= LEVEL, 0, torch.where(up <= -LEVEL, 2, torch.where(up.abs() <= UPRIGHT, 1, -1)))
    return torch.where(fitted, facing, -1)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences a pixel, across and down (B, C, H, W); the border is repeated."""
    padded = F.pad(image, [1] * 4, mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    return across, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2


def _window_mean(image: Tensor, radius: int, dim: int) -> Tensor:
    """Mean over 2·radius + 1 pixels along `dim`; summed in a fixed order, so that no batch changes a bit."""
    pads = [radius, radius, 0, 0] if dim == -1 else [0, 0, radius, radius]
    padded = F.pad(image, pads, mode="replicate")
    size = image.shape[dim]
    return sum(padded.narrow(dim, k, size) for k in range(2 * radius + 1)) / (2 * radius + 1)


def _check(rgb: Tensor, depth: Tensor | None, valid: Tensor | None) -> None:
    if rgb.ndim != 4 or rgb.shape[1] != 3 or not rgb.is_floating_point():
        raise ValueError(f"`rgb` must be float (B, 3, H, W) in [0, 1]; got {rgb.dtype} {tuple(rgb.shape)}")
    if (depth is None) != (valid is None):
        raise ValueError("`depth` and `valid` must both be given, or neither")
    if depth is not None:
        like = (len(rgb), 1, *rgb.shape[-2:])
        for name, tensor in (("depth", depth), ("valid", valid)):
            if tuple(tensor.shape) != like:
                raise ValueError(f"`{name}` must have the shape {like} of `rgb`; got {tuple(tensor.shape)}")
