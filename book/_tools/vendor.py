"""Fetch the browser files that the built book ships itself, so that its pages make no outside request.

Runs ``npm pack`` (nothing is installed, no script is run), checks each archive's SHA-512 and copies only the needed
files to ``book/_vendor``: what the pages load to ``site/vendor``; what only the site's tests load, axe-core, to
``checks``; what only the workshop's slides hold to ``slides``. Without npm, or without a network, the book is built all
the same: its pages then load MathJax and the widget manager from their public CDN, and this script says so.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DEST = Path(__file__).resolve().parents[1] / "_vendor"
PACKS = {  # package@version: (SHA-512 of the archive, folder → files to keep)
    "mathjax@3.2.2": (
        "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
        {
            "site/vendor/mathjax": [
                "es5/tex-chtml.js",
                "es5/output/chtml/fonts/",
                "es5/input/tex/extensions/",
                "es5/a11y/",
                "es5/sre/mathmaps/base.json",
                "es5/sre/mathmaps/en.json",
                "LICENSE",
            ],
            "slides": ["es5/tex-svg.js"],
        },
    ),
    "reveal.js@5.2.1": (
        "r7//6mIM5p34hFiDMvYfXgyjXqGRta+/psd9YtytsgRlrpRzFv4RbH76TXd2qD+7ZPZEbpBDhdRhJaFgfQ7zNQ==",
        {"slides": ["dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js", "LICENSE"]},
    ),
    "requirejs@2.3.8": (
        "7/cTSLOdYkNBNJcDMWf+luFvMriVm7eYxp4BcFCsAX0wF421Vyce5SXP17c+Jd5otXKGNehIonFlyQXSowL6Mw==",
        {"site/vendor/requirejs": ["require.js"]},
    ),
    "@jupyter-widgets/html-manager@1.0.15": (
        "5thBIV6ymNgmPVOHvzx+gGy8ZSKmSazhtGw4/c4xJDVzRhG9PTeQsRjF3FUTopvFi//SABeNz1yp47bCrJ3CQA==",
        {"site/vendor/html-manager": ["dist/embed-amd.js", "dist/*.woff2", "dist/*.woff", "dist/*.ttf"]},
    ),
    "axe-core@4.10.3": (
        "Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg==",
        {"checks/axe-core": ["axe.min.js", "LICENSE"]},
    ),
}
# RequireJS derives each bundled module's address from its name; without these paths the widgets' fonts are asked for
# beside the page and are not found.
WIDGETS_CONFIG = """(function () {
  var dist = document.currentScript.src.replace(/[^/]*$/, "") + "html-manager/dist";
  require.config({ paths: { "@jupyter-widgets/html-manager/dist": dist, "@jupyter-widgets": dist } });
})();
"""


def download(spec: str, folder: Path) -> Path:
    """Path of the package's archive as npm delivers it."""
    command = ["npm", "pack", "--silent", "--fetch-retries=1", spec]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    (archive,) = folder.glob("*.tgz")
    return archive


def wanted(name: str, keep: list[str]) -> bool:
    """Whether the archive's member is one of the files or lies in one of the folders to keep."""
    return any(name == k or (k.endswith("/") and name.startswith(k)) or Path(name).match(k) for k in keep)


def unpack(archive: Path, folder: Path, keep: list[str]) -> None:
    """Copy the wanted members of an archive."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = member.name.split("/", 1)[-1]
            if member.isfile() and ".." not in name and wanted(name, keep):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())


def main() -> None:
    """Fill the folder anew, or leave none."""
    shutil.rmtree(DEST, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory() as tmp:
            for place, (spec, (digest, folders)) in enumerate(PACKS.items()):
                inside = Path(tmp) / str(place)
                inside.mkdir()
                archive = download(spec, inside)
                found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
                if found != digest:
                    sys.exit(f"{spec}: its SHA-512 is {found}, not {digest}; it is not used")
                for folder, keep in folders.items():
                    unpack(archive, Path(tmp) / "made" / folder, keep)
            (Path(tmp) / "made" / "site" / "vendor" / "widgets-config.js").write_text(WIDGETS_CONFIG, encoding="utf-8")
            shutil.copytree(Path(tmp) / "made", DEST)
    except FileNotFoundError:
        print("npm is not installed: the book's pages will load MathJax and the widget manager from a CDN")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        print("npm could not fetch the browser files: the book's pages will load MathJax and the widgets from a CDN")


if __name__ == "__main__":
    main()
