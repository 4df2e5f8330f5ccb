import math

import pytest
import torch

from rgbd_insight.data.depth import Intrinsics, Sensor, sense, surface_normals

OFF = {"quantum": 0, "noise": 0, "shadow": 0, "dropout": 0}
CAMERA = Intrinsics.centred(40, (32, 48))


def plane(normal, distance, size=(32, 48), camera=CAMERA):
    """Depth (1, 1, H, W) of the plane whose unit normal, facing the camera, is `normal`; 0 where it is not ahead."""
    v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
    rays = torch.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, torch.ones_like(u)], -1)
    facing = -(rays @ torch.tensor(normal, dtype=torch.float64))
    return torch.where(facing > 1e-3, distance / facing.clamp_min(1e-3), 0).float()[None, None]


def room(batch=3):
    source = torch.Generator().manual_seed(5)
    return 1 + 6 * torch.rand(batch, 1, 24, 32, generator=source)


def test_a_perfect_sensor_reads_what_is_there():
    depth = room()
    depth[0, 0, :4] = 0
    reading, valid = sense(depth, Sensor(**OFF), [1, 2, 3])
    assert torch.equal(reading, depth)
    assert torch.equal(valid, depth > 0)


def test_a_sample_depends_on_its_own_seed_alone():
    depth, seeds = room(), [3, 2**62 - 1, 9]
    reading, valid = Sensor()(depth, seeds)
    for i in (2, 0, 1):
        one = Sensor()(depth[i : i + 1], seeds[i : i + 1])
        assert torch.equal(one[0], reading[i : i + 1]) and torch.equal(one[1], valid[i : i + 1])
    assert not torch.equal(reading, Sensor()(depth, [4, 5, 6])[0])


def test_missing_stays_missing_and_reads_zero():
    depth = room()
    depth[:, :, 5:9, 5:9] = 0
    reading, valid = Sensor(dropout=0.2)(depth, [1, 2, 3])
    assert not valid[:, :, 5:9, 5:9].any()
    assert torch.equal(reading == 0, ~valid)


def test_readings_are_whole_steps_of_disparity():
    sensor = Sensor(**OFF | {"quantum": 0.003})
    reading, valid = sensor(room(), [1, 2, 3])
    steps = 1 / (reading[valid].double() * 0.003)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert ((reading - room())[valid].abs() <= 0.003 * room()[valid] ** 2 * 0.6).all()


@pytest.mark.parametrize("z", [1.0, 2.0, 4.0])
def test_noise_grows_with_depth_squared(z):
    reading, _ = Sensor(**OFF | {"noise": 0.01})(torch.full((1, 1, 200, 200), z), [1])
    assert float(reading.std()) == pytest.approx(0.01 * z * z, rel=0.03)


def test_dropout_loses_its_share():
    _, valid = Sensor(**OFF | {"dropout": 0.3})(torch.full((1, 1, 200, 200), 2.0), [1])
    assert float(valid.float().mean()) == pytest.approx(0.7, abs=0.01)


def test_a_step_throws_a_shadow_to_its_left_as_wide_as_the_disparity():
    depth = torch.full((1, 1, 4, 100), 4.0)
    depth[..., 60:80] = 1.0
    _, valid = Sensor(**OFF | {"shadow": 0.1, "focal": 1.0})(depth, [1])  # 10 px·m: 10 - 2.5 = 7.5 pixels
    assert valid[0, 0, 0].logical_not().nonzero()[:, 0].tolist() == list(range(53, 60))


def test_out_of_reach_is_not_read():
    depth = torch.tensor([0.3, 0.5, 3.0, 5.5]).reshape(1, 1, 1, 4)
    assert Sensor(**OFF, reach=(0.4, 5.0))(depth, [0])[1].flatten().tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    "values, name",
    [
        ({"noise": -1}, "noise"),
        ({"dropout": 1.5}, "dropout"),
        ({"quantum": math.nan}, "quantum"),
        ({"reach": (2, 1)}, "reach"),
    ],
)
def test_impossible_sensors_are_refused(values, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Sensor(**values)


def test_wrong_depth_and_seeds_are_refused():
    with pytest.raises(ValueError, match="`depth` must be"):
        sense(torch.ones(2, 4, 4), Sensor(), [0, 1])
    with pytest.raises(ValueError, match="`seeds` must hold one"):
        sense(torch.ones(2, 1, 4, 4), Sensor(), [0])


@pytest.mark.parametrize(
    "normal",
    [(0, 0, -1), (0, -1, 0), (0, 1, 0), (0.6, 0, -0.8), (-1 / 3, -2 / 3, -2 / 3), (0, -0.8, -0.6)],
)
def test_normals_of_planes_are_exact(normal):
    depth = plane(normal, 1.5)
    normals = surface_normals(depth, CAMERA)[0].movedim(0, -1)  # (H, W, 3)
    fitted = (normals != 0).any(-1)
    assert fitted.sum() > 0.3 * (depth > 0).sum()
    assert (normals[fitted] @ torch.tensor(normal, dtype=torch.float32) > 0.999).all()


def test_normals_keep_to_one_surface_at_a_step():
    depth = torch.full((1, 1, 32, 48), 4.0)
    depth[..., 20:] = 2.0
    normals = surface_normals(depth, CAMERA)
    assert torch.allclose(normals, torch.tensor([0.0, 0, -1]).reshape(1, 3, 1, 1).expand_as(normals), atol=1e-3)


def test_no_normal_without_a_reading():
    depth = plane((0, 0, -1), 2.0)
    depth[..., 10:20, 10:20] = 0
    normals = surface_normals(depth, CAMERA)
    assert (normals[..., 10:20, 10:20] == 0).all()
    assert normals.isfinite().all() and (surface_normals(torch.zeros(1, 1, 8, 8), CAMERA) == 0).all()


def test_a_camera_follows_crop_and_size():
    """A point keeps its ray: the same plane, seen cropped and halved, has the same normal."""
    small = CAMERA.fitted((4, 28, 8, 40), (12, 16))
    depth = plane((-1 / 3, -2 / 3, -2 / 3), 1.5, (12, 16), small)
    normals = surface_normals(depth, small)[0].movedim(0, -1)
    assert (normals[6, 8] @ torch.tensor([-1 / 3, -2 / 3, -2 / 3])) > 0.999
