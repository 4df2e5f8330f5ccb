"""What a network may be given in place of metric depth: inverse, logarithm, normals, HHA."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rgbd_insight.data.depth import Intrinsics, surface_normals
from rgbd_insight.utils.messages import unknown

GROUND = 0.005  # share of an image's points that may lie below what is taken for the ground
ROUNDS = (45.0,) * 5 + (15.0,) * 5  # degrees from gravity within which a normal counts as of a floor, or of a wall

Encoded = tuple[Tensor, Tensor]


def metric(depth: Tensor) -> Encoded:
    """Depth itself, in metres, and where there is a reading.

    Parameters
    ----------
    depth : Tensor of float (B, 1, H, W)
        In metres; 0 = missing.

    Returns
    -------
    (Tensor, Tensor)
        Float (B, 1, H, W), 0 where missing, and bool (B, 1, H, W), True where there is a value.

    Examples
    --------
    >>> metric(torch.tensor([[[[2.0, 0.0]]]]))
    (tensor([[[[2., 0.]]]]), tensor([[[[ True, False]]]]))
    """
    return depth, _there(depth)


def inverse(depth: Tensor) -> Encoded:
    """Inverse depth 1/z, in 1/m: disparity but for focal length and baseline; as `metric`.

    Examples
    --------
    >>> inverse(torch.tensor([[[[2.0, 0.0]]]]))[0]
    tensor([[[[0.5000, 0.0000]]]])
    """
    there = _there(depth)
    return torch.where(there, 1 / torch.where(there, depth, 1), 0), there


def log(depth: Tensor) -> Encoded:
    """ln(z / 1 m): equal steps for equal ratios. 1 m is 0 too, so the mask alone marks what is missing; as `metric`.

    Examples
    --------
    >>> log(torch.tensor([[[[1.0, 0.0]]]]))
    (tensor([[[[0., 0.]]]]), tensor([[[[ True, False]]]]))
    """
    there = _there(depth)
    return torch.where(there, depth, 1).log(), there


def normals(depth: Tensor, intrinsics: Intrinsics | Sequence[float]) -> Encoded:
    """Unit normals of the visible surfaces, facing the camera: x right, y down, z ahead.

    Parameters
    ----------
    depth : Tensor of float (B, 1, H, W)
        In metres; 0 = missing.
    intrinsics : Intrinsics or sequence of float
        (fx, fy, cx, cy) in pixels of this image.

    Returns
    -------
    (Tensor, Tensor)
        Float (B, 3, H, W), a floor is (0, -1, 0), and bool (B, 1, H, W), False where depth or too many neighbours miss.

    Examples
    --------
    >>> normals(torch.full((1, 1, 8, 8), 2.0), (8, 8, 3.5, 3.5))[0][0, :, 4, 4] + 0.0
    tensor([ 0.,  0., -1.])
    """
    found = surface_normals(depth, intrinsics)  # (B, 3, H, W)
    return found, (found != 0).any(1, keepdim=True)


def hha(
    depth: Tensor,
    intrinsics: Intrinsics | Sequence[float],
    *,
    gravity: Tensor | Sequence[float] | None = None,
    camera_height: float | None = None,
) -> Encoded:
    """Inverse depth (1/m), height above ground (m), angle between normal and up (degrees: 0 floor, 90 wall).

    Parameters
    ----------
    depth : Tensor of float (B, 1, H, W)
        In metres; 0 = missing.
    intrinsics : Intrinsics or sequence of float (4,)
        (fx, fy, cx, cy) in pixels of this image.
    gravity : Tensor or sequence of float (3,) or (B, 3), optional
        The direction down in camera axes; None estimates it for each image, see `gravity_of`.
    camera_height : float, optional
        Of the lens above the ground, in metres; None takes the ground to be the height that half a percent of the
        image's points lie below.

    Returns
    -------
    (Tensor, Tensor)
        Float (B, 3, H, W), 0 where there is no value, and bool (B, 1, H, W), False where depth or its normal is
        missing.

    Notes
    -----
    With the point P = z·((u - cx)/fx, (v - cy)/fy, 1) and the direction down g, height is h₀ - P·g, where h₀ is
    `camera_height`, and the angle is acos(-n·g). The original scales the three to bytes; here they keep their units.

    References
    ----------
    S. Gupta, R. Girshick, P. Arbeláez, J. Malik, Learning rich features from RGB-D images for object detection and
    segmentation, ECCV 2014.

    Examples
    --------
    >>> wall = torch.full((1, 1, 8, 8), 2.0)
    >>> values, valid = hha(wall, (8, 8, 3.5, 3.5), gravity=(0, 1, 0), camera_height=1.5)
    >>> values[0, :, 3, 4].tolist()
    [0.5, 1.625, 90.0]
    """
    given = [*(() if gravity is None else torch.as_tensor(gravity).flatten().tolist()), camera_height or 0.0]
    if not all(map(math.isfinite, given)):
        raise ValueError(f"`gravity` and `camera_height` must be finite; got {gravity} and {camera_height}")
    surface, valid = normals(depth, intrinsics)  # (B, 3, H, W), (B, 1, H, W)
    down = gravity_of(surface) if gravity is None else torch.as_tensor(gravity, dtype=depth.dtype, device=depth.device)
    down = torch.nn.functional.normalize(down.expand(len(depth), 3), dim=1)[:, :, None, None]  # (B, 3, 1, 1)
    below = (_points(depth, intrinsics) * down).sum(1, keepdim=True)  # (B, 1, H, W), metres below the lens
    if camera_height is None:
        ground = _ground(below.flatten(1), _there(depth).flatten(1))
    else:
        ground = torch.full((len(depth),), float(camera_height), dtype=depth.dtype, device=depth.device)
    height = ground[:, None, None, None] - below
    angle = torch.rad2deg(torch.acos(-(surface * down).sum(1, keepdim=True).clamp(-1, 1)))
    values = torch.cat([inverse(depth)[0], height, angle], 1)
    return torch.where(valid, values, 0), valid


def gravity_of(surface: Tensor) -> Tensor:
    """The direction down, in camera axes, that floors and walls imply.

    Parameters
    ----------
    surface : Tensor of float (B, 3, H, W)
        Unit normals, 0 where there is none.

    Returns
    -------
    Tensor of float (B, 3)
        Unit vectors; (0, 1, 0), the image's own down, where an image has no normal.

    Notes
    -----
    From g = (0, 1, 0), ten times: g becomes the unit vector that minimises Σ_walls (n·g)² + Σ_floors (1 - (n·g)²),
    where floors (and ceilings) are the normals within 45° (the last five times 15°) of ±g, walls those within as much
    of being upright to it. A camera held more than 45° off is beyond it.

    Examples
    --------
    >>> floor = torch.zeros(1, 3, 4, 4)
    >>> floor[:, 1] = -1
    >>> gravity_of(floor)
    tensor([[0., 1., 0.]])
    """
    found = []
    for image in surface:
        n = image.flatten(1).T.double().cpu()  # (H·W, 3)
        n = n[n.any(1)]
        down = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
        for degrees in ROUNDS if len(n) else ():
            reach = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
            along = (n @ down).abs()
            walls, floors = n[along < reach.sin()], n[along > reach.cos()]
            _, vectors = torch.linalg.eigh(walls.T @ walls - floors.T @ floors)  # ascending
            down = vectors[:, 0] * torch.sign(vectors[1, 0] + 1e-12)
        found.append(down)
    return torch.stack(found).to(surface)


ENCODINGS: dict[str, Callable[..., Encoded]] = {
    "metric": metric,
    "inverse": inverse,
    "log": log,
    "normals": normals,
    "hha": hha,
}
NEED_INTRINSICS = ("normals", "hha")


def encode(depth: Tensor, name: str, intrinsics: Intrinsics | Sequence[float] | None = None) -> Encoded:
    """The encoding called `name`: "metric", "inverse", "log", "normals" or "hha".

    Parameters
    ----------
    depth : Tensor of float (B, 1, H, W)
        In metres; 0 = missing.
    name : str
        Of the encoding.
    intrinsics : Intrinsics or sequence of float, optional
        (fx, fy, cx, cy), for the last two.

    Returns
    -------
    (Tensor, Tensor)
        Float (B, C, H, W), C = 1 or 3, 0 where there is no value, and bool (B, 1, H, W), where there is one.

    Raises
    ------
    ValueError
        For an unknown name, or where intrinsics miss.

    Examples
    --------
    >>> encode(torch.tensor([[[[4.0]]]]), "inverse")[0].item()
    0.25
    """
    if name not in ENCODINGS:
        raise ValueError(unknown("name", name, ENCODINGS))
    if name in NEED_INTRINSICS and intrinsics is None:
        raise ValueError(f"`intrinsics` must be given for {name!r}; got None: (fx, fy, cx, cy) in pixels of this image")
    return ENCODINGS[name](depth, intrinsics) if name in NEED_INTRINSICS else ENCODINGS[name](depth)


def _points(depth: Tensor, intrinsics: Intrinsics | Sequence[float]) -> Tensor:
    """Points (B, 3, H, W) in camera axes."""
    fx, fy, cx, cy = intrinsics
    h, w = depth.shape[-2:]
    x = ((torch.arange(w, device=depth.device, dtype=depth.dtype) - cx) / fx).expand(h, w)
    y = ((torch.arange(h, device=depth.device, dtype=depth.dtype) - cy) / fy)[:, None].expand(h, w)
    return depth * torch.stack([x, y, torch.ones_like(x)])


def _ground(below: Tensor, there: Tensor) -> Tensor:
    """Metres from the lens down to the ground (B,), from (B, P); 0 where nothing is seen."""
    count = there.sum(1, keepdim=True)  # (B, 1)
    rank = ((1 - GROUND) * count).round().long().clamp_min(1) - 1
    rising = torch.where(there, below, torch.inf).sort(1).values
    return torch.where(count > 0, rising.gather(1, rank), 0)[:, 0]


def _there(depth: Tensor) -> Tensor:
    if depth.ndim != 4 or depth.shape[1] != 1 or not depth.is_floating_point():
        got = f"{depth.dtype} {tuple(depth.shape)}"
        raise ValueError(f"`depth` must be float (B, 1, H, W) in metres; got {got}. Use depth[:, None].float().")
    return depth > 0
