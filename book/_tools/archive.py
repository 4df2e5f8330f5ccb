"""Pack what a repository such as Zenodo keeps: `make archive`.

``_build/archive/rgbd_insight-VERSION.zip`` holds the committed tree (package, chapters, features, tables, locks), the
built book and ``SHA256SUMS`` of all of them; beside it lies ``.zenodo.json``, made from CITATION.cff. The same tree and
book give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml
from readme import BOOK

ROOT = BOOK.parent
HTML = ROOT / "_build" / "html"
OUT = ROOT / "_build" / "archive"
DATE = (1980, 1, 1, 0, 0, 0)  # of every entry: the archive is of what the files hold
DEPOSIT = {"upload_type": "software", "access_right": "open", "license": "BSD-3-Clause"}


def committed() -> list[Path]:
    """Files under version control, as they lie in the tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in sorted(filter(None, listed.split("\0"))) if (ROOT / name).is_file()]


def contents() -> dict[str, Path]:
    """Name in the archive → file."""
    book = sorted(p for p in HTML.rglob("*") if p.is_file())
    named = {path.relative_to(ROOT).as_posix(): path for path in committed()}
    return named | {f"html/{path.relative_to(HTML).as_posix()}": path for path in book}


def pack(named: dict[str, Path], archive: Path) -> str:
    """Write the archive with its sums; the SHA-256 of the archive itself."""
    sums = []
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, path in named.items():
            held = path.read_bytes()
            sums.append(f"{hashlib.sha256(held).hexdigest()}  {name}\n")
            out.writestr(zipfile.ZipInfo(name, DATE), held, zipfile.ZIP_DEFLATED)
        out.writestr(zipfile.ZipInfo("SHA256SUMS", DATE), "".join(sums), zipfile.ZIP_DEFLATED)
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def deposit(citation: dict) -> dict:
    """What Zenodo is told, from CITATION.cff."""
    authors = [a.get("name") or f"{a['family-names']}, {a['given-names']}" for a in citation["authors"]]
    return DEPOSIT | {
        "title": citation["title"],
        "version": str(citation["version"]),
        "description": citation["abstract"],
        "creators": [{"name": name} for name in authors],
        "keywords": citation.get("keywords", []),
    }


def main() -> None:
    """Write the archive and what is said of it."""
    if not (HTML / "index.html").is_file():
        sys.exit("the book is not built; type: make book")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    OUT.mkdir(parents=True, exist_ok=True)
    archive = OUT / f"rgbd_insight-{citation['version']}.zip"
    named = contents()
    digest = pack(named, archive)
    (OUT / ".zenodo.json").write_text(json.dumps(deposit(citation), indent=2) + "\n", encoding="utf-8")
    print(
        f"{archive.relative_to(ROOT)}: {len(named)} files, {archive.stat().st_size / 2**20:.0f} MiB, SHA-256 {digest}"
    )


if __name__ == "__main__":
    main()
