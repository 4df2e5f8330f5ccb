"""Every published map prepares images as its source says: against a second reading of those files, in numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rgbd_insight.data import Scenes, hha
from rgbd_insight.features import Modality
from rgbd_insight.models import Adapter, Inputs, published, published_networks

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
DATA = Scenes(2)
THERMAL = SimpleNamespace(modalities=(DATA.modalities[0], Modality("thermal", "counts", 0.0, 255.0)))


def by_imagenet(image):
    return (image / 255 - MEAN) / STD


def acnet(image, metres):
    mean = [0.4850042694973687, 0.41627756261047333, 0.3981809741523051]
    std = [0.26415541082494515, 0.2728415392982039, 0.2831175140191598]
    return (image / 255 - mean) / std, (metres[..., None] - 2.8424503515351494) / 0.9932836506164299


def esanet(image, metres):
    stored = 1000 * metres[..., None]
    depth = (stored - 2841.94941272766) / 1417.2594281672277
    depth[stored == 0] = 0
    return by_imagenet(image), depth


def rednet(image, metres):
    return by_imagenet(image), (8 * 1000 * metres[..., None] - 19050) / 9650


def hha_image(metres):
    """Red disparity, green height, blue angle, as getHHA.py and a png written from it have them."""
    values = hha(torch.from_numpy(metres)[None, None].float(), DATA.intrinsics)[0][0].numpy()
    bytes_ = np.stack(
        [31000 / np.maximum(100 / np.maximum(values[0], 1e-9), 100), 100 * values[1], values[2] + 128 - 90]
    )
    return np.minimum(np.rint(bytes_), 255).clip(0).transpose(1, 2, 0)


def where_read(depth, metres):
    return depth * (metres > 0)[..., None]


def sagate(image, metres):
    return by_imagenet(image), where_read(by_imagenet(hha_image(metres)), metres)


def cmx(image, metres):
    return by_imagenet(image[..., ::-1]), where_read(by_imagenet(hha_image(metres)[..., ::-1]), metres)


def cmnext(image, metres):
    return by_imagenet(image), where_read(hha_image(metres) / 255, metres)


def cmx_thermal(image, counts):
    return by_imagenet(image[..., ::-1]), by_imagenet(np.repeat(counts[..., None], 3, -1))


def cmnext_thermal(image, counts):
    return by_imagenet(image), np.repeat(counts[..., None], 3, -1) / 255


def cen(image, metres):
    return by_imagenet(image), np.repeat(5000 * metres[..., None], 3, -1) / 5000


def gemini(image, metres):
    return by_imagenet(image), np.repeat(25.5 * metres[..., None], 3, -1) / 255


def dformer(image, metres):
    return by_imagenet(image[..., ::-1]), (np.repeat(25.5 * metres[..., None], 3, -1) / 255 - 0.48) / 0.28


def sigma(image, metres):
    return by_imagenet(image), by_imagenet(np.repeat(25.5 * metres[..., None], 3, -1))


def multimae(image, metres):
    readings = np.sort(metres[metres > 0])
    middle = readings[int(0.1 * len(readings)) : int(0.9 * len(readings))]
    depth = (metres - middle.mean()) / np.sqrt(middle.var(ddof=1) + 1e-6)
    return by_imagenet(image), where_read(depth[..., None], metres)


SAID = {
    "ESANet": esanet,
    "ESANet-add": esanet,
    "RedNet": rednet,
    "ACNet": acnet,
    "SA-Gate": sagate,
    "CMX": cmx,
    "CMX-Swin": cmx,
    "CMX-thermal": cmx_thermal,
    "CMNeXt": cmnext,
    "CMNeXt-thermal": cmnext_thermal,
    "CEN": cen,
    "TokenFusion": cen,
    "GeminiFusion": gemini,
    "GeminiFusion-Swin": gemini,
    "DFormer": dformer,
    "DFormerv2": dformer,
    "AsymFormer": acnet,
    "Sigma": sigma,
    "MultiMAE": multimae,
    "SegFormer-pair": gemini,
}


@pytest.mark.parametrize("name", published_networks())
def test_images_are_prepared_as_the_source_says(name):
    thermal = name.endswith("thermal")
    data = THERMAL if thermal else DATA
    batch, draw = DATA.batch([1]), np.random.default_rng(3)
    image = draw.integers(0, 256, (*DATA.size, 3)).astype(np.uint8)
    second = batch.inputs["depth"][0, 0].double().numpy()
    second[:3, :5] = 0
    second = draw.integers(0, 256, DATA.size).astype(float) if thermal else second
    found = (
        published(name)
        .adapt.on(data)
        .images(
            torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(second)[None, None].float()
        )
    )
    for got, wanted in zip(found, SAID[name](image.astype(float), second), strict=True):
        np.testing.assert_allclose(got[0].permute(1, 2, 0).numpy(), wanted, atol=2e-4)
    images = published(name).adapt.images
    assert images.source and all(address.startswith("https://github.com/") for address in images.source)
    assert not images.unknown or all(f"not known: {text}" in images.lines() for text in images.unknown)


def test_what_the_data_cannot_give_is_said():
    with pytest.raises(ValueError, match="depth in metres for a network that wants 'ahh' depth; thermal has"):
        published("CMX").adapt.on(THERMAL)
    with pytest.raises(ValueError, match="must have intrinsics, from which HHA is made"):
        published("CMX").adapt.on(SimpleNamespace(modalities=DATA.modalities))
    with pytest.raises(ValueError, match="must know the lens to make HHA"):
        published("CMX").adapt.images(torch.rand(1, 3, 4, 4), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Inputs(order="gbr"), "`order` must be one of rgb, bgr; got 'gbr'"),
        (lambda: Inputs(encoding="disparity"), "`encoding` must be one of metric"),
        (lambda: Inputs(missing="nan"), "`missing` must be one of zero, value"),
        (lambda: Inputs(mean=0.5), "`mean` and `deviation` must come together"),
        (lambda: Inputs(mean=0.5, deviation=0.0), "`deviation` must be above 0; got 0.0"),
        (lambda: Inputs(mean=(0.5, float("nan"), 0.5), deviation=1.0), "`mean` must be finite"),
        (lambda: Inputs(scale=float("inf")), "`scale` must be finite"),
        (lambda: Inputs(reach=(3.0, 3.0)), "`reach` rise from low to high"),
        (lambda: Adapter("pairs"), "`inputs` must be one of pair, list"),
    ],
)
def test_words_that_are_none(made, words):
    with pytest.raises(ValueError, match=words):
        made()


def test_an_adapter_is_named_by_what_it_changes():
    assert repr(Adapter()) == "Adapter(inputs='pair')"
    text = repr(published("ESANet").adapt.on(DATA))
    assert "depth_mean=2.84" in text and "intrinsics" in text and "github" not in text
    wants = [repr(published(name).adapt.on(THERMAL if name.endswith("thermal") else DATA)) for name in SAID]
    assert len(set(wants)) > 10


class Dicts(torch.nn.Module):
    def forward(self, images):
        return images["a"] + images["b"]


def test_the_two_images_under_two_keys():
    rgb, depth = torch.rand(1, 3, 2, 2), torch.rand(1, 1, 2, 2)
    assert torch.equal(Adapter("dict", names=("a", "b"))(Dicts(), rgb, depth), rgb + depth)


def test_an_image_without_readings_is_nothing():
    _, depth = Inputs(encoding="standardised")(torch.rand(1, 3, 2, 2), torch.zeros(1, 1, 2, 2))
    assert not depth.any()


def test_a_network_of_two_inputs_is_not_given_three():
    three = SimpleNamespace(modalities=(*DATA.modalities, Modality("thermal", "counts", 0.0, 255.0)))
    for adapt in (Inputs(), Adapter("list", images=Inputs(channels=3))):
        with pytest.raises(
            ValueError, match="`data` must have two modalities .* got rgb, depth, thermal: give an `adapt`"
        ):
            adapt.on(three)
