"""Encodings of depth, against surfaces whose answer is known exactly."""

import math

import pytest
import torch

from rgbd_insight.data.depth import Intrinsics
from rgbd_insight.data.encodings import ENCODINGS, NEED_INTRINSICS, encode, gravity_of, hha, normals

SIZE = (60, 80)
CAMERA = Intrinsics.centred(70, SIZE)
HIGH = 1.4  # metres from the floor to the lens


def turn(pitch, roll):
    """Rotation from the room's axes (y down) to the camera's, degrees."""
    a, b = math.radians(pitch), math.radians(roll)
    tilt = torch.tensor([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    lean = torch.tensor([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1.0]])
    return (lean @ tilt).double()


def room(pitch=0.0, roll=0.0):
    """Depth (1, 1, H, W) of floor, ceiling and walls; true height and angle (H, W), down (3,), which plane (H, W)."""
    rotation = turn(pitch, roll)
    v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SIZE), indexing="ij")
    rays = torch.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, torch.ones_like(u)], -1)  # (H, W, 3)
    in_room = rays @ rotation  # the transpose turns back
    planes = [
        ((0, 1, 0), HIGH, 0),
        ((0, -1, 0), 2.6 - HIGH, 180),
        ((0, 0, 1), 3.0, 90),
        ((1, 0, 0), 1.5, 90),
        ((-1, 0, 0), 1.2, 90),
    ]
    reach, angle = torch.full(SIZE, math.inf, dtype=torch.float64), torch.zeros(SIZE, dtype=torch.float64)
    which = torch.zeros(SIZE)
    for k, (direction, distance, degrees) in enumerate(planes):
        towards = in_room @ torch.tensor(direction, dtype=torch.float64)
        t = torch.where(towards > 1e-9, distance / towards, math.inf)
        angle, which = torch.where(t < reach, degrees, angle), torch.where(t < reach, k, which)
        reach = torch.minimum(t, reach)
    height = HIGH - (in_room * reach[..., None])[..., 1]
    return reach.float()[None, None], height, angle, rotation[:, 1], which


def inside(which):
    """Pixels whose 5 x 5 neighbours lie on one plane, bool (H, W)."""
    same = torch.nn.functional.unfold(which[None, None], 5, padding=2).reshape(25, *SIZE)
    return (same == same[12]).all(0)


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (20, 0), (-15, 10), (30, -12)])
def test_hha_of_a_room_is_exact(pitch, roll):
    depth, height, angle, down, which = room(pitch, roll)
    values, valid = hha(depth, CAMERA, gravity=down, camera_height=HIGH)
    sure = inside(which) & valid[0, 0]
    assert sure.float().mean() > 0.6
    assert torch.allclose(values[0, 0][sure], 1 / depth[0, 0][sure])
    assert (values[0, 1].double() - height)[sure].abs().max() < 1e-4
    assert (values[0, 2].double() - angle)[sure].abs().max() < 0.1


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (20, 5), (-15, 10), (28, -12)])
def test_gravity_and_ground_are_found(pitch, roll):
    depth, height, angle, down, which = room(pitch, roll)
    found = gravity_of(normals(depth, CAMERA)[0])[0].double()
    assert math.degrees(math.acos(min(1.0, float(found @ down)))) < 0.5
    values, valid = hha(depth, CAMERA)
    sure = inside(which) & valid[0, 0]
    if bool((angle == 0).any()):  # the floor is in view
        assert (values[0, 1].double() - height)[sure].abs().max() < 0.05
    assert (values[0, 2].double() - angle)[sure].abs().max() < 1


@pytest.mark.parametrize("name", ENCODINGS)
def test_missing_stays_missing(name):
    depth = room()[0]
    depth[..., 20:30, 30:50] = 0
    values, valid = encode(depth, name, CAMERA if name in NEED_INTRINSICS else None)
    assert values.shape[1] == (3 if name in NEED_INTRINSICS else 1) and values.isfinite().all()
    assert not valid[..., 20:30, 30:50].any() and (values[:, :, 20:30, 30:50] == 0).all()
    assert valid.float().mean() > 0.8
    assert not encode(torch.zeros(2, 1, 8, 8), name, CAMERA)[1].any()


def test_a_sample_does_not_depend_on_its_batch():
    two = torch.cat([room(0)[0], room(25)[0]])
    assert torch.equal(hha(two, CAMERA)[0][1:], hha(two[1:], CAMERA)[0])


def test_inverse_and_log():
    depth = torch.tensor([0.5, 1.0, 4.0]).reshape(1, 1, 1, 3)
    assert encode(depth, "inverse")[0].flatten().tolist() == [2.0, 1.0, 0.25]
    assert torch.allclose(encode(depth, "log")[0], depth.log()) and torch.equal(encode(depth, "metric")[0], depth)


def test_wrong_calls():
    with pytest.raises(ValueError, match="'hh': the nearest are hha"):
        encode(torch.ones(1, 1, 2, 2), "hh")
    with pytest.raises(ValueError, match="`intrinsics` must be given for 'hha'"):
        encode(torch.ones(1, 1, 2, 2), "hha")
    with pytest.raises(ValueError, match="`depth` must be float"):
        encode(torch.ones(2, 2), "inverse")
