"""The claims of the abstract, each with its test, stated beforehand in `claims.toml`, its effect and its verdict."""

from rgbd_insight.claims.intervention import answer
from rgbd_insight.claims.ledger import Ledger, claims, digest, specification
from rgbd_insight.claims.rows import VERDICTS, written
from rgbd_insight.utils.arguments import explain_arguments

__all__ = ["Ledger", "VERDICTS", "answer", "claims", "digest", "specification", "written"]

explain_arguments(globals())
