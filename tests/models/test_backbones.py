"""Two-stream networks of `transformers` encoders, built offline from configurations, audited from start to finish."""

import builtins

import pytest
import torch

import rgbd_insight as ri
from rgbd_insight.models import backbones


def test_without_the_library_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith("transformers"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ValueError, match=r"rgbd-insight\[pretrained\]"):
        backbones("facebook/dinov2-small")


def configurations():
    transformers = pytest.importorskip("transformers", reason="transformers (the extra pretrained) is not installed")
    four = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    return {
        "ResNet": lambda: transformers.ResNetConfig(embedding_size=8, layer_type="basic", **four),
        "ConvNeXt": lambda: transformers.ConvNextConfig(**four),
        "Swin": lambda: transformers.SwinConfig(
            image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4
        ),
        "SegFormer": lambda: transformers.SegformerConfig(num_attention_heads=[1] * 4, **four),
        "DINOv2": lambda: transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=4, num_attention_heads=2, patch_size=8, image_size=64
        ),
    }


@pytest.mark.parametrize("name", ["ResNet", "ConvNeXt", "Swin", "SegFormer", "DINOv2"])
def test_a_network_of_two_is_audited(name, tmp_path):
    torch.set_num_threads(1)
    data, model = ri.data.Scenes(22), backbones(configurations()[name]())
    found = ri.extract(model, data, out=tmp_path / "f", run={"fusion": name}, draws=1, progress=False, device="cpu")
    assert found.levels(name) == (1, 2, 3, 4) and found.streams(name) == ("rgb", "depth", "fused")
    moved = found.purity(name).set_index(["stream", "level", "modality"])["moved"]
    assert all(moved["rgb", k, "depth"] == moved["depth", k, "rgb"] == 0 < moved["rgb", k, "rgb"] for k in range(1, 5))
    report = ri.audit(found, name, permutations=20)
    assert len(report.answers) == 6 and report.card["purity"].startswith("every stream is moved by its own")


def test_seeds_are_seeds_and_the_global_state_stays():
    make = configurations()["ResNet"]
    state = torch.random.get_rng_state()
    one, same, other = (backbones(make(), seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    key = "encoder_rgb.encoder.stages.0.layers.0.layer.0.convolution.weight"
    assert torch.equal(one[key], same[key]) and not torch.equal(one[key], other[key])
    assert not torch.equal(one[key], one[key.replace("_rgb", "_depth")])


def test_what_is_no_encoder(monkeypatch):
    make = configurations()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at import
    with pytest.raises(ValueError, match="'nobody/nothing-here' must be an encoder"):
        backbones("nobody/nothing-here")
    with pytest.raises(ValueError, match="must have the widths of `rgb`"):
        backbones(make["ResNet"](), make["DINOv2"]())
    with pytest.raises(ValueError, match="fewer `levels`"):
        backbones(make["SegFormer"](), levels=9)
