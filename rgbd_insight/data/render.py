"""Ray-cast a room and the things in it, batched, in pure torch: exact depth, colour and footprints.

Every thing lives in one cell of a grid of square windows, so all of them are drawn at once as (B, S, P, P) tensors
(S windows of P x P pixels) and folded back into images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS, COLUMNS, PATCH = 3, 4, 16
HEIGHT, WIDTH = ROWS * PATCH, COLUMNS * PATCH
FOCAL = 0.7 * WIDTH  # pixels
SLOTS = ROWS * COLUMNS

HUES = {
    "red": 0.0,
    "orange": 0.08,
    "yellow": 0.16,
    "green": 0.33,
    "cyan": 0.5,
    "blue": 0.63,
    "purple": 0.77,
    "pink": 0.9,
}
PATTERNS = ("plain", "bars", "stripes", "checker", "dots", "rings", "framed", "halves")
RELIEFS = ("dome", "block", "pyramid", "column", "beam", "ridges", "ripples", "ramp", "slope", "frame", "cross", "step")
SOLIDS = ("ball", "egg", "post", "pipe", "crate", "board")
SHAPES = RELIEFS + SOLIDS


@dataclass(frozen=True)
class Room:
    """Camera and room of each scene; all tensors (B,), lengths in metres, angles in radians."""

    height: Tensor  # of the camera above the floor
    pitch: Tensor
    yaw: Tensor
    left: Tensor  # distances from the camera to the walls
    right: Tensor
    back: Tensor
    ceiling: Tensor  # above the camera


def fold(patches: Tensor) -> Tensor:
    """(B, S, P, P, …) windows to (B, H, W, …) images."""
    b, _, p, _, *rest = patches.shape
    grid = patches.reshape(b, ROWS, COLUMNS, p, p, *rest).transpose(2, 3)
    return grid.reshape(b, HEIGHT, WIDTH, *rest)


def unfold(images: Tensor) -> Tensor:
    """(B, H, W, …) images to (B, S, P, P, …) windows."""
    b, _, _, *rest = images.shape
    grid = images.reshape(b, ROWS, PATCH, COLUMNS, PATCH, *rest).transpose(2, 3)
    return grid.reshape(b, SLOTS, PATCH, PATCH, *rest)


def _camera_rays(device: torch.device) -> Tensor:
    """Ray of each pixel in camera coordinates, (H, W, 3): x right, y down, z = 1, so that t along it is the depth."""
    v, u = torch.meshgrid(torch.arange(HEIGHT, device=device), torch.arange(WIDTH, device=device), indexing="ij")
    x = (u - (WIDTH - 1) / 2) / FOCAL
    y = (v - (HEIGHT - 1) / 2) / FOCAL
    return torch.stack([x, y, torch.ones_like(x)], -1)


def cast_room(room: Room) -> tuple[Tensor, Tensor]:
    """Depth (B, H, W) in metres and surface index (B, H, W): 0 floor, 1 ceiling, 2 left, 3 right, 4 back wall."""
    rays = _camera_rays(room.pitch.device)  # (H, W, 3)
    cos_p, sin_p = room.pitch.cos()[:, None, None], room.pitch.sin()[:, None, None]
    cos_y, sin_y = room.yaw.cos()[:, None, None], room.yaw.sin()[:, None, None]
    x, y, z = rays[..., 0], rays[..., 1], rays[..., 2]
    y, z = cos_p * y + sin_p * z, cos_p * z - sin_p * y  # (B, H, W), pitched
    x, z = cos_y * x + sin_y * z, cos_y * z - sin_y * x  # (B, H, W), turned
    heights = torch.stack([room.height, -room.ceiling, -room.left, room.right, room.back], -1)  # (B, 5)
    along = torch.stack([y, y, x, x, z], -1)  # (B, H, W, 5)
    t = heights[:, None, None] / torch.where(along.abs() < 1e-6, torch.full_like(along, 1e-6), along)
    t = torch.where(t > 0, t, torch.full_like(t, math.inf))
    depth, surface = t.min(-1)
    return depth, surface


def window_coordinates(centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (a, b), each (B, S, P, P), that run over [-1, 1] across a thing.

    Its `centre` (B, S, 2) and half size `half` (B, S) are in pixels.
    """
    grid = torch.arange(PATCH, device=half.device) - (PATCH - 1) / 2
    a = (grid[None, None, None, :] - centre[..., 0, None, None]) / half[..., None, None]
    b = (grid[None, None, :, None] - centre[..., 1, None, None]) / half[..., None, None]
    return torch.broadcast_tensors(a, b)


def patterns(a: Tensor, b: Tensor) -> Tensor:
    """All colour patterns at once, (len(PATTERNS), B, S, P, P), 0 or 1: 1 shows the hue, 0 its contrast."""
    r = (a * a + b * b).sqrt()
    wave = math.pi * 2
    dots = (torch.remainder(a * 2 + 0.5, 1) - 0.5) ** 2 + (torch.remainder(b * 2 + 0.5, 1) - 0.5) ** 2
    drawn = (
        torch.ones_like(a),
        (wave * b).sin() > 0,
        (wave * a).sin() > 0,
        ((wave * a * 0.75).sin() * (wave * b * 0.75).sin()) > 0,
        dots > 0.1,
        (wave * 1.25 * r).cos() > 0,
        (a.abs() < 0.6) & (b.abs() < 0.6),
        a + b > 0,
    )
    return torch.stack([d.to(a.dtype) for d in drawn])


def reliefs(a: Tensor, b: Tensor) -> Tensor:
    """All height profiles at once, (len(RELIEFS), B, S, P, P), in [0, 1]; 0 outside their footprint."""
    r2 = a * a + b * b
    inside = (a.abs() < 1) & (b.abs() < 1)
    wave = math.pi * 3
    drawn = (
        (1 - r2).clamp_min(0).sqrt(),
        torch.ones_like(a),
        1 - torch.maximum(a.abs(), b.abs()),
        (1 - a * a).clamp_min(0).sqrt(),
        (1 - b * b).clamp_min(0).sqrt(),
        0.5 + 0.5 * (wave * a).cos(),
        0.5 + 0.5 * (wave * b).cos(),
        (1 + a) / 2,
        (1 + b) / 2,
        (torch.maximum(a.abs(), b.abs()) > 0.55).to(a.dtype),
        ((a.abs() < 0.35) | (b.abs() < 0.35)).to(a.dtype),
        0.35 + 0.65 * (a > 0).to(a.dtype),
    )
    return torch.stack(drawn) * inside


def cast_solids(a: Tensor, b: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """Ray-cast the solids that stand in front of the surface.

    `a`, `b` (B, S, P, P) are window coordinates and `reach` (B, S, 1, 1) the solid's half size in metres at its own
    depth; within a window the rays are taken as parallel. Returns the distance in metres by which each solid comes
    forward of its own centre plane, and how much light its surface returns, both (len(SOLIDS), B, S, P, P); the
    distance is -inf where the ray misses.
    """
    miss = torch.full_like(a, -math.inf)

    def round_solid(wide: float, high: float) -> tuple[Tensor, Tensor]:
        inside = 1 - (a / wide) ** 2 - (b / high) ** 2
        out = inside.clamp_min(0).sqrt()
        return torch.where(inside > 0, out, miss), 0.45 + 0.55 * (0.6 * out - 0.35 * a - 0.45 * b).clamp(0, 1)

    def flat_solid(wide: float, high: float, deep: float) -> tuple[Tensor, Tensor]:
        hit = (a.abs() < wide) & (b.abs() < high)
        edge = torch.maximum(a.abs() / wide, b.abs() / high) > 0.8
        return torch.where(hit, torch.full_like(a, deep), miss), torch.where(edge, 0.65, 0.95).to(a.dtype)

    cast = (
        round_solid(0.95, 0.95),
        round_solid(1.0, 0.55),
        round_solid(0.4, math.inf),
        round_solid(math.inf, 0.4),
        flat_solid(0.8, 0.8, 0.9),
        flat_solid(0.45, 1.0, 0.4),
    )
    bounded = (a.abs() < 1) & (b.abs() < 1)
    forward = torch.stack([torch.where(bounded, d, miss) for d, _ in cast]) * reach
    return forward, torch.stack([light for _, light in cast])


def hue_to_rgb(hue: Tensor, saturation: float = 0.85, value: float = 0.85) -> Tensor:
    """(…) hue in [0, 1) to (…, 3) colour in [0, 1]."""
    offsets = torch.tensor([5.0, 3.0, 1.0], device=hue.device)
    k = torch.remainder(offsets + hue[..., None] * 6, 6)
    return value - value * saturation * torch.minimum(torch.minimum(k, 4 - k), torch.ones_like(k)).clamp_min(0)
