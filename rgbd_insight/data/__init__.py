"""Where aligned images of several modalities come from: planted scenes, folders of images, worlds of latents."""

from rgbd_insight.data.attributes import WithConcepts, WithLabels, with_concepts, with_labels
from rgbd_insight.data.batch import IGNORE, Batch, Dataset, Held, batches
from rgbd_insight.data.catalogue import THINGS
from rgbd_insight.data.checkup import Checkup, Finding, check
from rgbd_insight.data.convert import nyuv2, sunrgbd
from rgbd_insight.data.depth import Intrinsics, Sensor
from rgbd_insight.data.driving import eventscape, mfnet
from rgbd_insight.data.encodings import ENCODINGS, NEED_INTRINSICS, encode, hha
from rgbd_insight.data.folder import Folder
from rgbd_insight.data.latents import Knobs, drawn
from rgbd_insight.data.scenes import Scenes, redraw
from rgbd_insight.data.worlds import World
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "Batch",
    "Checkup",
    "Dataset",
    "ENCODINGS",
    "Finding",
    "Folder",
    "Held",
    "IGNORE",
    "Intrinsics",
    "Knobs",
    "NEED_INTRINSICS",
    "Scenes",
    "Sensor",
    "THINGS",
    "WithConcepts",
    "WithLabels",
    "World",
    "batches",
    "check",
    "drawn",
    "encode",
    "eventscape",
    "hha",
    "mfnet",
    "nyuv2",
    "redraw",
    "sunrgbd",
    "with_concepts",
    "with_labels",
]

explain_arguments(globals())
