"""What a depth camera does to exact depth, and the surface normals that depth implies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_NEIGHBOURS = 8  # of the 24 around a pixel, on the same surface, for its normal to be fitted
SAME_SURFACE = 0.2  # largest relative difference in inverse depth between neighbours on one surface


class Intrinsics(NamedTuple):
    """A pinhole camera, in pixels of the image at hand.

    Attributes
    ----------
    fx, fy : float
        Focal lengths.
    cx, cy : float
        Principal point.

    Examples
    --------
    >>> Intrinsics.centred(58.0, (48, 64))
    Intrinsics(fx=58.0, fy=58.0, cx=31.5, cy=23.5)
    """

    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def centred(cls, focal: float, size: Sequence[int]) -> Intrinsics:
        """Return a camera of one `focal` length (pixels) that looks through the middle of an image of `size` (H, W)."""
        return cls(focal, focal, (size[1] - 1) / 2, (size[0] - 1) / 2)

    def fitted(self, crop: Sequence[int], size: Sequence[int]) -> Intrinsics:
        """Return the same camera after cutting rows and columns `crop` (r0, r1, c0, c1) and resizing to `size` (H, W).

        Examples
        --------
        >>> Intrinsics(100, 100, 49.5, 39.5).fitted((0, 80, 0, 100), (40, 50))
        Intrinsics(fx=50.0, fy=50.0, cx=24.5, cy=19.5)
        """
        top, bottom, left, right = crop
        down, across = size[0] / (bottom - top), size[1] / (right - left)
        cx, cy = (self.cx - left + 0.5) * across - 0.5, (self.cy - top + 0.5) * down - 0.5
        return Intrinsics(self.fx * across, self.fy * down, cx, cy)


@dataclass(frozen=True)
class Sensor:
    """How a structured-light depth camera spoils exact depth; each fault is switched off by its 0.

    Attributes
    ----------
    quantum : float
        Step of inverse depth, in 1/m; readings are z = 1/(k·quantum). The default is 1/8 pixel of disparity at 580
        pixels focal length and 75 mm baseline: 3 mm steps at 1 m, 26 mm at 3 m.
    noise : float
        Axial noise has the standard deviation noise·z² metres. The default is 1.9 mm at 1 m.
    shadow : float
        Projector baseline in metres. A surface in front of another keeps the projector's light from a strip to the left
        of it, which then has no reading.
    focal : float
        Focal length as a share of the image's width; with `shadow` it says how wide that strip is.
    dropout : float
        In [0, 1]; share of the pixels that lose their reading at random.
    reach : (float, float)
        Nearest and farthest depth that is read, in metres.

    Raises
    ------
    ValueError
        For a negative value, `dropout` > 1 or a `reach` that is not 0 < near < far.

    Notes
    -----
    In this order: shadow, axial noise, quantisation, reach, dropout. With b = shadow and f = focal·W, the pixel at x is
    in shadow where b·f·(1/z(x+k) - 1/z(x)) ≥ k for any k ≥ 1.

    References
    ----------
    K. Khoshelham and S. O. Elberink, Accuracy and resolution of Kinect depth data, Sensors 12 (2012): noise and steps
    that grow with z².

    Examples
    --------
    >>> reading, valid = Sensor(dropout=0.5)(torch.full((1, 1, 4, 6), 2.0), [7])
    >>> bool(((reading == 0) == ~valid).all()), 0 < int(valid.sum()) < 24
    (True, True)
    """

    quantum: float = 1 / (8 * 580 * 0.075)
    noise: float = 0.0019
    shadow: float = 0.075
    focal: float = 0.9
    dropout: float = 0.01
    reach: tuple[float, float] = (0.4, 10.0)

    def __post_init__(self) -> None:
        for field in fields(self)[:5]:
            value = getattr(self, field.name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"`{field.name}` must be a finite number ≥ 0; got {value}. Use 0 to switch it off.")
        if self.dropout > 1:
            raise ValueError(f"`dropout` must be in [0, 1]; got {self.dropout}. Give a share, not a percentage.")
        if len(self.reach) != 2 or not 0 < self.reach[0] < self.reach[1]:
            raise ValueError(f"`reach` must be (near, far) with 0 < near < far; got {self.reach}. Give metres.")

    def __call__(self, depth: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return `sense(depth, self, seeds)`."""
        return sense(depth, self, seeds)


def sense(depth: Tensor, sensor: Sensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What `sensor` reads of exact `depth`: a reading in metres, 0 where it has none.

    Parameters
    ----------
    depth : Tensor of float (B, 1, H, W)
        In metres; 0 = missing, and stays missing.
    sensor : Sensor
        The camera's faults.
    seeds : sequence of int
        B integers ≥ 0. A sample's noise depends on its own seed alone, not on the batch; it is drawn on the CPU.

    Returns
    -------
    (Tensor, Tensor)
        Reading, float (B, 1, H, W), and bool (B, 1, H, W), False where there is no reading.

    Raises
    ------
    ValueError
        Where the shapes or the number of seeds do not fit.
    """
    _check_depth(depth)
    if len(seeds) != len(depth):
        raise ValueError(f"`seeds` must hold one integer a sample; got {len(seeds)} for {len(depth)} samples")
    normal, uniform = [], []
    for seed in seeds:
        source = torch.Generator().manual_seed(int(seed))
        normal.append(torch.randn(depth.shape[1:], generator=source))
        uniform.append(torch.rand(depth.shape[1:], generator=source))
    noise, luck = torch.stack(normal).to(depth), torch.stack(uniform).to(depth)  # (B, 1, H, W) each
    valid = (depth > 0) & ~_shadow(depth, sensor)
    reading = depth + sensor.noise * depth * depth * noise
    if sensor.quantum > 0:
        # A reading behind the camera, or beyond the last step, has no disparity.
        steps = (1 / (reading.clamp_min(1e-3) * sensor.quantum)).round()
        valid &= steps > 0
        reading = 1 / (steps.clamp_min(1) * sensor.quantum)
    near, far = sensor.reach
    valid = valid & (reading >= near) & (reading <= far) & (luck >= sensor.dropout)
    return torch.where(valid, reading, 0), valid


def _shadow(depth: Tensor, sensor: Sensor) -> Tensor:
    """Where the projector's light does not reach, bool (B, 1, H, W)."""
    scale = sensor.shadow * sensor.focal * depth.shape[-1]  # pixels times metres
    disparity = _inverse(depth) * scale  # (B, 1, H, W) in pixels
    dark = torch.zeros_like(depth, dtype=torch.bool)
    for k in range(1, min(int(scale / sensor.reach[0]) + 1, depth.shape[-1])):
        dark[..., :-k] |= disparity[..., k:] - disparity[..., :-k] >= k
    return dark


def surface_normals(depth: Tensor, intrinsics: Intrinsics | Sequence[float]) -> Tensor:
    """Unit normals of the surfaces that `depth` shows, facing the camera; 0 where none can be fitted.

    Parameters
    ----------
    depth : Tensor of float (B, 1, H, W)
        In metres; 0 = missing.
    intrinsics : Intrinsics or sequence of float
        (fx, fy, cx, cy) in pixels of this image.

    Returns
    -------
    Tensor of float (B, 3, H, W)
        x right, y down, z into the scene: a floor is (0, -1, 0), a wall ahead (0, 0, -1). All three are 0 where depth
        is missing or fewer than 8 neighbours lie on the same surface.

    Notes
    -----
    For a plane, inverse depth is linear in the image: with P = z·(x, y, 1) and N·P = 1, 1/z = N·(x, y, 1). N is fitted
    by least squares to the 5 x 5 pixels around (every H/96-th pixel where the image is higher than that), those left
    out whose inverse depth differs by more than a fifth. A window that passes an occlusion so keeps to one surface.

    Examples
    --------
    >>> surface_normals(torch.full((1, 1, 8, 8), 2.0), (8, 8, 3.5, 3.5))[0, :, 4, 4] + 0.0
    tensor([ 0.,  0., -1.])
    """
    _check_depth(depth)
    fx, fy, cx, cy = intrinsics
    h, w = depth.shape[-2:]
    inverse = _inverse(depth)[:, 0]  # (B, H, W)
    across, down, middle, fitted = _plane_fit(inverse, max(1, round(h / 96)))  # each (B, H, W)
    x = (torch.arange(w, device=depth.device, dtype=depth.dtype) - cx) / fx  # (W,)
    y = ((torch.arange(h, device=depth.device, dtype=depth.dtype) - cy) / fy)[:, None]  # (H, 1)
    a, b = across * fx, down * fy
    c = middle - a * x - b * y
    length = (a * a + b * b + c * c).sqrt()
    fitted = fitted & (length > 0)
    normals = -torch.stack([a, b, c], 1) / torch.where(fitted, length, 1)[:, None]  # (B, 3, H, W)
    return torch.where(fitted[:, None], normals, 0)


def _plane_fit(inverse: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fit inverse depth (B, H, W) around each pixel: slope a pixel across and down, value, and where there is one."""
    h, w = inverse.shape[-2:]
    padded = F.pad(inverse, [2 * step] * 4)  # 0 = missing
    limit = SAME_SURFACE * inverse
    sums = [torch.zeros_like(inverse) for _ in range(9)]
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            top, left = (dy + 2) * step, (dx + 2) * step
            neighbour = padded[..., top : top + h, left : left + w]
            rise = neighbour - inverse
            keep = ((neighbour > 0) & (rise.abs() <= limit)).to(inverse)
            rise *= keep
            weights = ((keep, (1, dx, dy, dx * dx, dx * dy, dy * dy)), (rise, (1, dx, dy)))
            terms = [(term, weight) for term, factors in weights for weight in factors]
            for total, (term, weight) in zip(sums, terms, strict=True):
                if weight:
                    total.add_(term, alpha=weight)
    n, sx, sy, sxx, sxy, syy, sr, sxr, syr = sums
    n = n.clamp_min(1)
    xx, xy, yy = sxx - sx * sx / n, sxy - sx * sy / n, syy - sy * sy / n
    xr, yr = sxr - sx * sr / n, syr - sy * sr / n
    determinant = xx * yy - xy * xy
    fitted = (inverse > 0) & (n > MIN_NEIGHBOURS) & (determinant > 1)
    determinant = torch.where(fitted, determinant, 1)
    across, down = (yy * xr - xy * yr) / determinant, (xx * yr - xy * xr) / determinant
    middle = inverse + (sr - across * sx - down * sy) / n
    return across / step, down / step, middle, fitted


def _inverse(depth: Tensor) -> Tensor:
    """1/depth, 0 where depth is missing."""
    there = depth > 0
    return torch.where(there, 1 / torch.where(there, depth, 1), 0)


def _check_depth(depth: Tensor) -> None:
    if depth.ndim != 4 or depth.shape[1] != 1 or not depth.is_floating_point():
        got = f"{depth.dtype} {tuple(depth.shape)}"
        raise ValueError(f"`depth` must be float (B, 1, H, W) in metres; got {got}. Use depth[:, None].float().")
