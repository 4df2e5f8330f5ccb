"""Features: a directory of unit responses that every question reads and no model is needed for."""

from rgbd_insight.features.cells import cell_blocks, choose_cells, choose_units
from rgbd_insight.features.files import GRID, MANIFEST, SUMS
from rgbd_insight.features.isolation import MEASURED, SAME, Guests, Parts, guests, partners, parts
from rgbd_insight.features.joining import read_mask, read_own
from rgbd_insight.features.quantise import choose_images, write_quantised
from rgbd_insight.features.reader import Features, load
from rgbd_insight.features.schema import (
    LOOKS,
    ROLES,
    SAMPLE_COLUMNS,
    USUAL_MODALITIES,
    USUAL_SHARE,
    Ablation,
    AblationName,
    Concept,
    FeaturesError,
    Modality,
    RunId,
    TensorKey,
    in_words,
    orders,
    subsets,
    usual_subsets,
)
from rgbd_insight.features.tables import read_table, write_table
from rgbd_insight.features.tasks import (
    AGREEMENT,
    COUNTED,
    IGNORE,
    SCORES,
    TASKS,
    Scoring,
    Task,
    find_task,
    misfit,
    occurrences,
    task_of_labels,
)
from rgbd_insight.features.writer import FeatureWriter
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "AGREEMENT",
    "Ablation",
    "AblationName",
    "COUNTED",
    "Concept",
    "FeatureWriter",
    "Features",
    "FeaturesError",
    "GRID",
    "Guests",
    "IGNORE",
    "LOOKS",
    "MANIFEST",
    "MEASURED",
    "Modality",
    "Parts",
    "ROLES",
    "RunId",
    "SAME",
    "SAMPLE_COLUMNS",
    "SCORES",
    "SUMS",
    "Scoring",
    "TASKS",
    "Task",
    "TensorKey",
    "USUAL_MODALITIES",
    "USUAL_SHARE",
    "cell_blocks",
    "choose_cells",
    "choose_images",
    "choose_units",
    "find_task",
    "guests",
    "in_words",
    "load",
    "misfit",
    "occurrences",
    "partners",
    "parts",
    "read_mask",
    "read_own",
    "read_table",
    "orders",
    "subsets",
    "usual_subsets",
    "task_of_labels",
    "write_quantised",
    "write_table",
]

explain_arguments(globals())
