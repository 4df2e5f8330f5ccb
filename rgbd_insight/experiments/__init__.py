"""Campaigns: many runs trained and extracted, their tables made, and the small copies that the book is built on."""

from rgbd_insight.experiments.archives import arrive, pack, prepare, unpack
from rgbd_insight.experiments.campaign import WEIGHED, copies, everything, run_all, run_claims, ship, tabulate, weigh
from rgbd_insight.experiments.encodings import COMPARED, compare
from rgbd_insight.experiments.isolation import isolation_tables
from rgbd_insight.experiments.plane import plane_choice, plane_plans, plane_table, position_plane, write_plane
from rgbd_insight.experiments.plans import Plan, encoding_plans, overlap_plans, zoo_plans
from rgbd_insight.experiments.positions import (
    clear_differences,
    hidden_bound,
    label_shares,
    position_plans,
    position_tables,
)
from rgbd_insight.experiments.pretrained import ENCODER, pretrained_plans, pretrained_tables, run_pretrained
from rgbd_insight.experiments.steps import JobName, finished, zoo_jobs
from rgbd_insight.experiments.three import three_modalities
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "COMPARED",
    "ENCODER",
    "WEIGHED",
    "JobName",
    "Plan",
    "arrive",
    "compare",
    "copies",
    "encoding_plans",
    "everything",
    "finished",
    "isolation_tables",
    "overlap_plans",
    "plane_choice",
    "plane_plans",
    "plane_table",
    "position_plane",
    "position_plans",
    "position_tables",
    "pack",
    "prepare",
    "pretrained_plans",
    "pretrained_tables",
    "run_all",
    "run_claims",
    "run_pretrained",
    "ship",
    "tabulate",
    "three_modalities",
    "clear_differences",
    "hidden_bound",
    "label_shares",
    "unpack",
    "weigh",
    "write_plane",
    "zoo_jobs",
    "zoo_plans",
]

explain_arguments(globals())
