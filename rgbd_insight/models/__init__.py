"""Two-stream segmentation networks that differ in their fusion operator alone, and the way to networks of others."""

from rgbd_insight.models import exchange, gates  # noqa: F401  (each enters its operators in FUSIONS)
from rgbd_insight.models.checkpoints import load_weights
from rgbd_insight.models.cost import cost
from rgbd_insight.models.encoder import backbones
from rgbd_insight.models.fusion import FUSIONS, Fusion, register
from rgbd_insight.models.imported import import_model
from rgbd_insight.models.inputs import Adapter, Inputs
from rgbd_insight.models.network import Network, build
from rgbd_insight.models.published import TapMap, published, published_networks, read_tap_map
from rgbd_insight.models.weights import load, save
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "Adapter",
    "FUSIONS",
    "Fusion",
    "Inputs",
    "Network",
    "TapMap",
    "backbones",
    "build",
    "cost",
    "import_model",
    "load",
    "load_weights",
    "published_networks",
    "published",
    "read_tap_map",
    "register",
    "save",
]

explain_arguments(globals())
