"""Features: a directory of unit responses that every question reads and no model is needed for."""

from rgbd_insight.features.cells import cell_blocks, choose_cells, choose_units
from rgbd_insight.features.files import MANIFEST, SUMS
from rgbd_insight.features.isolation import MEASURED, SAME, Guests, Parts, guests, partners, parts
from rgbd_insight.features.quantise import write_quantised
from rgbd_insight.features.reader import Features, load
from rgbd_insight.features.schema import (
    ROLES,
    USUAL_SHARE,
    Ablation,
    AblationName,
    Concept,
    FeaturesError,
    Modality,
    RunId,
    TensorKey,
)
from rgbd_insight.features.tables import read_table, write_table
from rgbd_insight.features.writer import FeatureWriter
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "Ablation",
    "AblationName",
    "Concept",
    "FeatureWriter",
    "Features",
    "FeaturesError",
    "Guests",
    "MANIFEST",
    "MEASURED",
    "Modality",
    "Parts",
    "ROLES",
    "RunId",
    "SAME",
    "SUMS",
    "TensorKey",
    "USUAL_SHARE",
    "cell_blocks",
    "choose_cells",
    "choose_units",
    "guests",
    "load",
    "partners",
    "parts",
    "read_table",
    "write_quantised",
    "write_table",
]

explain_arguments(globals())
