import colorsys

import pytest
import torch

from rgbd_insight.data.concepts import COLOUR_FAMILIES, concept_maps, image_concepts, image_maps

CONCEPTS, FAMILIES = image_concepts()


def names(maps, family):
    """Names of one family's plane of the first image, None where it says nothing."""
    plane = maps[0, FAMILIES.index(family)]
    return [[CONCEPTS[k].name if k >= 0 else None for k in row] for row in plane.tolist()]


def flat(colour, size=(8, 8)):
    return torch.tensor(colour, dtype=torch.float32).reshape(1, 3, 1, 1).expand(1, 3, *size).contiguous()


def look(rgb, depth=None, **camera):
    depth = torch.full((len(rgb), 1, *rgb.shape[-2:]), 2.0) if depth is None else depth
    return image_maps(rgb, depth, depth > 0, **camera)


@pytest.mark.parametrize(
    "degrees, name",
    [
        (0, "red"),
        (350, "red"),
        (30, "orange"),
        (60, "yellow"),
        (120, "green"),
        (180, "cyan"),
        (225, "blue"),
        (270, "purple"),
        (315, "pink"),
    ],
)
@pytest.mark.parametrize("saturation, value", [(1.0, 1.0), (0.5, 0.4)])
def test_hues_have_their_usual_names(degrees, name, saturation, value):
    rgb = flat(colorsys.hsv_to_rgb(degrees / 360, saturation, value))
    assert names(look(rgb), "hue")[3][3] == name


@pytest.mark.parametrize("level, name", [(0.0, "black"), (0.15, "black"), (0.5, "grey"), (0.95, "white")])
def test_greys_have_no_hue(level, name):
    assert names(look(flat([level] * 3)), "hue")[3][3] == name
    assert names(look(flat([level + 0.03, level, level])), "hue")[3][3] == name


def test_every_pixel_has_a_hue_a_texture_and_a_range():
    rgb = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = look(rgb)
    assert (maps[:, [FAMILIES.index(name) for name in ("hue", "texture", "depth range")]] >= 0).all()


def test_texture_is_contrast_at_a_fine_scale():
    stripes = (torch.arange(16) // 2 % 2).float().expand(1, 3, 16, 16)
    for contrast, name in ((0.0, "smooth"), (0.08, "medium texture"), (0.5, "strong texture")):
        assert names(look(0.5 + contrast * (stripes - 0.5)), "texture")[8][8] == name


def test_a_colour_edge_is_where_colours_meet_even_at_one_brightness():
    rgb = flat([0.8, 0.2, 0.2])
    rgb[..., 4:] = torch.tensor([0.2, 0.506, 0.2]).reshape(3, 1, 1)
    assert names(look(rgb), "colour edge")[4] == [None] * 3 + ["colour edge"] * 2 + [None] * 3


def test_a_depth_edge_is_a_step_and_no_slope():
    slope = 1 / torch.linspace(0.25, 1.0, 12).expand(1, 1, 12, 12)  # a plane: inverse depth is linear
    assert not any(map(any, names(look(flat([0.5] * 3, (12, 12)), slope), "depth edge")))
    step = torch.full((1, 1, 12, 12), 2.0)
    step[..., 6:] = 2.4
    assert names(look(flat([0.5] * 3, (12, 12)), step), "depth edge")[6] == [None] * 5 + ["depth edge"] * 2 + [None] * 5


def test_a_hole_in_depth_is_no_edge():
    depth = torch.full((1, 1, 12, 12), 2.0)
    depth[..., 4:8, 4:8] = 0
    maps = look(flat([0.5] * 3, (12, 12)), depth)
    assert not any(map(any, names(maps, "depth edge")))
    for family in ("depth range", "orientation"):
        assert names(maps, family)[5][5] is None


def test_depth_ranges():
    depth = torch.tensor([1.0, 1.5, 2.4, 3.9, 4.0, 9.0, 0.0]).expand(1, 1, 7, 7)
    expected = ["near", "middle", "middle", "far", "farthest", "farthest", None]
    assert names(look(flat([0.5] * 3, (7, 7)), depth), "depth range")[2] == expected


@pytest.mark.parametrize("camera", [{"focal": 30.0}, {"intrinsics": (30.0, 30.0, 15.5, 11.5)}])
def test_floor_wall_and_ceiling(camera):
    y = ((torch.arange(24) - 11.5) / 30)[:, None].expand(24, 32)
    depth = torch.minimum(torch.full_like(y, 6.0), 1.2 / y.abs().clamp_min(1e-3))[None, None]  # a corridor 2.4 m high
    seen = names(look(flat([0.5] * 3, (24, 32)), depth, **camera), "orientation")
    assert seen[1][16] == "ceiling-like" and seen[12][16] == "wall-like" and seen[22][16] == "floor-like"


def test_readings_that_are_not_valid_are_not_used():
    rgb, depth = flat([0.5] * 3), torch.full((1, 1, 8, 8), 2.0)
    valid = torch.ones_like(depth, dtype=torch.bool)
    valid[..., :4] = False
    assert torch.equal(image_maps(rgb, depth, valid), image_maps(rgb, depth * valid, valid))


def test_labels_come_first_and_ignored_ones_say_nothing():
    classes = ("wall", "red")
    labels = torch.tensor([[0, 1], [255, 1]])[None]
    depth = torch.full((1, 1, 2, 2), 2.0)
    maps = concept_maps(flat([1.0, 0, 0], (2, 2)), depth, depth > 0, labels, classes)
    concepts, families = image_concepts(classes)
    assert maps.dtype == torch.int16 and maps.shape == (1, len(families), 2, 2)
    assert maps[0, 0].tolist() == [[0, 1], [-1, 1]]
    assert concepts[maps[0, 1, 0, 0]].name == "red (hue)"
    assert len({c.name for c in concepts}) == len(concepts)
    for plane, family in zip(maps[0], families, strict=True):
        assert {concepts[k].family for k in plane.flatten().tolist() if k >= 0} <= {family}


def test_without_metric_depth_only_colour_speaks():
    concepts, families = image_concepts(["wall"], depth=False)
    maps = concept_maps(flat([0.5] * 3), None, None, torch.zeros(1, 8, 8, dtype=torch.uint8), ["wall"])
    assert families == ("class", *COLOUR_FAMILIES) and maps.shape[1] == len(families)
    assert int(maps.max()) < len(concepts)


def test_maps_do_not_depend_on_the_batch():
    source = torch.Generator().manual_seed(1)
    rgb, depth = torch.rand(5, 3, 17, 23, generator=source), 1 + torch.rand(5, 1, 17, 23, generator=source)
    whole = look(rgb, depth)
    for i in (4, 0, 2):
        assert torch.equal(look(rgb[i : i + 1], depth[i : i + 1]), whole[i : i + 1])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rgb": torch.zeros(1, 8, 8)}, "`rgb` must be"),
        ({"depth": torch.zeros(1, 1, 4, 4)}, "`depth` must have the shape"),
        ({"valid": None}, "`depth` and `valid`"),
        ({"labels": torch.full((1, 8, 8), 2)}, "`labels` must be in 0…1 or 255"),
        ({"labels": torch.zeros(1, 4, 4)}, "`labels` must have the shape"),
        ({"classes": ()}, "`classes` must hold"),
    ],
)
def test_wrong_input_is_refused(change, message):
    depth = torch.full((1, 1, 8, 8), 2.0)
    good = {"rgb": flat([0.5] * 3), "depth": depth, "valid": depth > 0, "labels": torch.zeros(1, 8, 8).long()}
    with pytest.raises(ValueError, match=message):
        concept_maps(**{"classes": ("wall", "floor"), **good, **change})
