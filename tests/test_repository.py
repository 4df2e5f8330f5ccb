"""What holds for the repository as a whole: its README, its shape, and what must not be in it."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ALLOWED = {
    ".ci",
    ".github",
    ".gitignore",
    "book",
    "rgbd_insight",
    "tests",
    "_config.yml",
    "environment.yml",
    "Makefile",
    "pyproject.toml",
    "requirements.txt",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
}
HEADINGS = (
    "found",
    "read online",
    "two commands",
    "your own model",
    "four questions",
    "teach",
    "gpu",
    "platforms",
    "cite",
    "licence",
)
TEXT = {".py", ".md", ".yml", ".yaml", ".toml", ".txt", ".cff", ".json", ".ipynb", ".css", ".svg", ".bib", ".html", ""}
# Hosts that a page, a docstring, a licence or a workflow may point a reader or a machine to.
HOSTS = {
    "127.0.0.1",
    "arxiv.org",
    "choosealicense.com",
    "colab.research.google.com",
    "creativecommons.org",
    "cs.nyu.edu",
    "doi.org",
    "download.pytorch.org",
    "github.com",
    "jmlr.org",
    "json-schema.org",
    "keepachangelog.com",
    "mybinder.org",
    "openaccess.thecvf.com",
    "openreview.net",
    "proceedings.mlr.press",
    "rgbd.cs.princeton.edu",
    "semver.org",
    "www.jmlr.org",
    "www.w3.org",
}
PRIVATE = re.compile(
    r"(?<![\w.])/(?:home|Users|root|mnt|work\w*)/\w|[A-Z]:\\\\Users\\\\|\b(?:10\.\d+|192\.168)\.\d+\.\d+\b"
)
README = ROOT / "README.md"
needs_readme = pytest.mark.skipif(not README.is_file(), reason="README.md is not written yet")


@cache
def files():
    """Files that are, or would be, under version control."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def texts():
    """Path and text of every file that is text."""
    return [(p, p.read_text(encoding="utf-8")) for p in files() if p.suffix in TEXT]


def modules():
    """Python modules of the package and of the book's tools."""
    return sorted([*(ROOT / "rgbd_insight").rglob("*.py"), *(ROOT / "book" / "_tools").glob("*.py")])


def name(path):
    return path.relative_to(ROOT).as_posix()


def blocks(language):
    """The README's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)


@needs_readme
def test_readme_python_runs_as_it_stands(tmp_path):
    (tmp_path / "book").symlink_to(ROOT / "book", target_is_directory=True)
    code = "\n".join(blocks("python"))
    assert code, "the README has no python block"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr


@needs_readme
def test_readme_headings_are_in_order():
    text = re.sub(r"^```.*?^```$", "", README.read_text(encoding="utf-8"), flags=re.M | re.S)
    levels = [(len(m[1]), m[2].lower()) for m in re.finditer(r"^(#+) (.+)$", text, re.M)]
    assert [level for level, _ in levels].count(1) == 1 and levels[0][0] == 1
    assert all(after - before <= 1 for (before, _), (after, _) in zip(levels, levels[1:], strict=False))
    sections = [title for level, title in levels if level == 2]
    assert len(sections) == len(HEADINGS)
    assert all(word in title for word, title in zip(HEADINGS, sections, strict=True)), f"order of {sections}"


@needs_readme
def test_readme_is_short_and_says_that_it_is_independent():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "independent of the paper's authors" in text


@needs_readme
def test_readme_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    local = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", t)]
    assert not [target for target in local if not (ROOT / target).exists() and not target.startswith("_build/")]


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 50


def test_top_level_holds_only_what_belongs_there():
    assert {p.relative_to(ROOT).parts[0] for p in files()} <= ALLOWED


@pytest.mark.parametrize("path", modules(), ids=name)
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [f"{f.name}: {n} lines" for f in functions if (n := code_lines(f)) > 60]


def code_lines(function):
    """Lines of a function without its docstring (which may hold a formula, references and an example)."""
    has_docstring = ast.get_docstring(function) is not None
    first = function.body[0]
    documented = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - documented


@pytest.mark.parametrize("path", sorted((ROOT / "rgbd_insight").rglob("*.py")), ids=name)
def test_library_has_no_asserts_for_users_and_no_cuda_calls(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [f"line {n.lineno}" for n in ast.walk(tree) if isinstance(n, ast.Assert)]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    assert not [f"line {n.lineno}" for n in calls if n.func.attr == "cuda"]


def test_no_private_paths():
    assert not [f"{name(p)}: {m[0]}" for p, t in texts() if p != Path(__file__) for m in PRIVATE.finditer(t)]


def test_no_unknown_hosts():
    own = {re.sub(r"^\w+://|/.*", "", address)} if (address := repository()) else set()
    found = {(name(p), host) for p, t in texts() for host in re.findall(r"\bhttps?://([\w.-]+)", t)}
    assert not sorted((where, host) for where, host in found if host not in HOSTS | own)


def repository():
    """The repository's address, or None where pyproject.toml does not set it."""
    return PYPROJECT["project"].get("urls", {}).get("Repository")


def test_address_of_the_repository_stands_once():
    address = repository()
    if address is None:
        pytest.skip("the repository's address is not set in pyproject.toml")
    needle = re.sub(r"^\w+://", "", address.rstrip("/"))
    chapters = {p for p in files() if p.suffix == ".ipynb"}  # `make buttons` writes it there
    places = [name(p) for p, t in texts() if p not in chapters for _ in range(t.count(needle))]
    assert places == ["pyproject.toml"]


PACKAGE = ROOT / "rgbd_insight"
SMALL = 40  # lines: what is shorter belongs to a module that it serves
REGISTRIES = {"rgbd_insight/__init__.py"}


def test_the_house_is_one_that_is_known_on_sight():
    rooms = [p for p in PACKAGE.iterdir() if p.name not in ("__init__.py", "__init__.pyi", "py.typed", "__pycache__")]
    assert len(rooms) <= 18
    assert not [p.name for p in rooms if p.name.startswith("_")]
    assert len(list(PACKAGE.rglob("*.py"))) <= 210


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name)
def test_no_module_is_too_small_to_be_one(path):
    assert path.name in ("__init__.py", "__main__.py") or len(path.read_text(encoding="utf-8").splitlines()) >= SMALL


def test_every_package_says_what_is_public():
    for path in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), name(path)
        public = [n for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__"]
        assert public or path.parent.name in ("utils",), name(path)


def test_the_layers_name_every_package_and_module():
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    assert contract["exhaustive"] is True  # import-linter then refuses a module that no layer names
    placed = set(re.findall(r"\w+", " ".join(contract["layers"])))
    there = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert placed == there - {"__init__"}


def imported(tree):
    """(module, name) of everything that a file takes from the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rgbd_insight"):
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.startswith("rgbd_insight"))


def private(module, imported_name):
    return any(part.startswith("_") and not part.startswith("__") for part in [*module.split("."), imported_name])


@pytest.mark.parametrize("path", [p for p in files() if p.suffix in (".py", ".ipynb")], ids=name)
def test_nobody_takes_what_is_private_of_another_package(path):
    parts = path.relative_to(ROOT).parts
    own = parts[1] if parts[0] in ("rgbd_insight", "tests") and len(parts) > 2 else None
    if path.suffix == ".py":
        sources = [path.read_text(encoding="utf-8")]
    else:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        sources = ["\n".join(line for line in text.split("\n") if line[:1] not in "%!") for text in code]
    taken = [pair for text in sources for pair in imported(ast.parse(text))]
    assert not [pair for pair in taken if private(*pair) and pair[0].split(".")[1:2] != [own]]


def test_importing_the_package_needs_no_widgets():
    code = "import sys, rgbd_insight; sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


def test_weights_and_pickles_are_not_committed():
    assert not [name(p) for p in files() if p.suffix in {".pt", ".pth", ".pkl", ".pickle", ".npy", ".ckpt"}]


def test_committed_features_fit():
    sizes = {p: p.stat().st_size for p in files() if p.is_relative_to(ROOT / "book" / "features")}
    assert sum(sizes.values()) <= 24 * 2**20
    assert not [name(p) for p, size in sizes.items() if size > 8 * 2**20]


def test_citation_names_the_paper_as_a_reference_only():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PYPROJECT["project"]["version"]
    assert citation["authors"] == [{"name": "The rgbd_insight authors"}]
    assert any("2308.10019" in str(r) for r in citation["references"])


def test_contents_of_the_book_exist():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    entries = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    missing = [e for e in entries if not any((ROOT / "book" / f"{e}{s}").is_file() for s in (".md", ".ipynb"))]
    assert not missing
