"""Sphinx extension: a box under each executed chapter that says how, when and from what it was made.

It names the run of the chapter, and every features directory that the chapter's code loads (any quoted path with
``features/NAME`` in it): the devices it was extracted on, as its execution.json says for each run, dates, commits,
seeds and the digest of its SHA256SUMS.
"""

import datetime
import functools
import hashlib
import json
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

BOOK = Path(__file__).resolve().parents[1]
FEATURES = re.compile(r"""["'](?:[^"'\s]*/)?features/([\w.+-]+)/?["']""")
PACKAGES = ("rgbd-insight", "torch", "numpy", "pandas", "seaborn")


@functools.cache
def commit() -> str:
    """Name of the commit that the book is built from, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=BOOK, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown (no git history here)"
    return found.stdout.strip()


def code_of(path: Path) -> str:
    """The source of a notebook's code cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def loaded(code: str) -> list[str]:
    """Names of the features directories that the code mentions."""
    return sorted(set(FEATURES.findall(code)))


def device_name(run: dict) -> str:
    """Device of one run as a reader would write it: "CPU" or "GPU (its name)"."""
    device = run.get("device") or {}
    kind = {"cuda": "GPU", "cpu": "CPU", "mps": "GPU (Apple)"}.get(device.get("type"), device.get("type") or "unknown")
    name = device.get("name")
    return f"{kind} ({name})" if name and name != device.get("type") else kind


def values(runs: list[dict], key: str) -> str:
    """The different values under a key, in order, or "not recorded"."""
    found = sorted({str(r[key]) for r in runs if r.get(key) not in (None, "")})
    return ", ".join(found) or "not recorded"


def dates(runs: list[dict]) -> str:
    """One day, or the first and the last."""
    days = sorted({str(r["date"])[:10] for r in runs if r.get("date")})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "date not recorded"


def describe(folder: Path) -> list[str]:
    """One line for each device that a features directory was extracted on, and one for the whole."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    execution = json.loads((folder / "execution.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()
    runs = manifest["runs"]
    runs = list(runs.values()) if isinstance(runs, dict) else runs
    seeds = ", ".join(str(s) for s in sorted({r["seed"] for r in runs if r.get("seed") is not None}))
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}, seeds {seeds or 'not recorded'}"
    lines = [f"Features {folder.name}: {count}, SHA-256 of SHA256SUMS {digest[:12]}…"]
    devices: dict[str, list[dict]] = {}
    for run in execution["runs"]:
        devices.setdefault(device_name(run), []).append(run)
    for device, made in sorted(devices.items()):
        lines.append(
            f"{len(made)} of them extracted on a {device}, {dates(made)}, commit {values(made, 'commit')}, "
            f"torch {values(made, 'torch')}."
        )
    return lines


def installed(name: str) -> str:
    """Name and version of a distribution."""
    try:
        return f"{name} {version(name)}"
    except ModuleNotFoundError:
        return f"{name} (not installed)"


def lines_for(run: dict, source: Path) -> list[str]:
    """All lines of the box under one chapter."""
    when = datetime.datetime.fromtimestamp(run["mtime"], datetime.UTC)
    took = f"{run['runtime']:.1f} s" if run.get("runtime") is not None else "a time that was not recorded"
    lines = [
        f"Chapter run in {took} on {when:%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, "
        f"{', '.join(map(installed, PACKAGES))}, commit {commit()}."
    ]
    for name in loaded(code_of(source)):
        folder = source.parent / "features" / name
        if (folder / "manifest.json").is_file():
            lines += describe(folder)
    return lines


def add_box(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Append the box to a chapter that was executed."""
    run = getattr(app.env, "nb_metadata", {}).get(docname, {}).get("exec_data")
    if not run:
        return
    box = nodes.admonition(classes=["provenance", "dropdown"])
    box += nodes.title(text="How this page was made")
    items = nodes.bullet_list()
    for line in lines_for(run, Path(app.env.doc2path(docname))):
        items += nodes.list_item("", nodes.paragraph(text=line))
    box += items
    target = next(doctree.findall(nodes.section), doctree)
    target += box


def setup(app: Sphinx) -> dict:
    """Register the extension."""
    app.connect("doctree-resolved", add_box)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
