"""Where aligned pairs of colour and depth come from: planted scenes and folders of images."""

from rgbd_insight.data.batch import IGNORE, Batch, Dataset, batches
from rgbd_insight.data.checkup import Checkup, Finding, check
from rgbd_insight.data.convert import nyuv2, sunrgbd
from rgbd_insight.data.depth import Intrinsics, Sensor
from rgbd_insight.data.encodings import encode, hha
from rgbd_insight.data.folder import Folder
from rgbd_insight.data.scenes import Scenes, redraw

__all__ = [
    "Batch",
    "Checkup",
    "Dataset",
    "Finding",
    "Folder",
    "IGNORE",
    "Intrinsics",
    "Scenes",
    "Sensor",
    "batches",
    "check",
    "encode",
    "hha",
    "nyuv2",
    "redraw",
    "sunrgbd",
]
