"""Every chapter is run from start to finish in a fresh kernel, once a session, and what it made is looked at."""

import ast
import importlib
import importlib.util
import re
from html.parser import HTMLParser

import pytest

from tests.book._chapters import BOOK, CHAPTERS, outputs, read, run

SECONDS, TOGETHER = 60, 450  # a quiet machine of two cores takes 45 at most; here other tests run beside them

pytestmark = pytest.mark.skipif(not CHAPTERS, reason="book/ has no chapters yet")


@pytest.fixture(params=CHAPTERS, ids=lambda p: p.stem)
def path(request):
    return request.param


class Images(HTMLParser):
    """Collects the alt texts of the images in a piece of HTML (None where there is none)."""

    def __init__(self):
        super().__init__()
        self.alts = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.alts.append(dict(attrs).get("alt"))


def html_alts(html):
    """Alt texts of the images in `html`."""
    parser = Images()
    parser.feed(html)
    return parser.alts


def alts(notebook):
    """(alt text or None, where) of every image that the chapter shows: figures, HTML, pages of widgets."""
    for cell, output in outputs(notebook):
        data = output.get("data", {})
        if any(kind.startswith("image/") for kind in data):
            yield cell.metadata.get("mystnb", {}).get("image", {}).get("alt"), cell.source
        for alt in html_alts(data.get("text/html", "")):
            yield alt, cell.source
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    for model in states.values():
        for alt in html_alts(str(model.get("state", {}).get("value", ""))):
            yield alt, "a widget"


def test_runs_within_its_time(path):
    assert run(path)[1] < SECONDS


def test_writes_nothing_to_stderr(path):
    said = [o.text for _, o in outputs(run(path)[0]) if o.output_type == "stream" and o.name == "stderr"]
    assert not said


def test_every_image_has_alternative_text(path):
    without = [where for alt, where in alts(run(path)[0]) if not alt or len(alt) <= 20]
    assert not without


def test_calls_the_package(path):
    code = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    assert re.search(r"^(import|from) rgbd_insight\b", code, re.M)
    assert re.search(r"\bri\.\w+", code)


def test_takes_only_what_is_in_a_public_list(path):
    code = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    lines = [line for line in code.split("\n") if line[:1] not in "%!"]
    taken = [n for n in ast.walk(ast.parse("\n".join(lines))) if isinstance(n, ast.ImportFrom)]
    for node in (n for n in taken if n.module.startswith("rgbd_insight.")):  # packages themselves are public
        source = importlib.import_module(node.module)
        single = node.module.count(".") == 1 and not hasattr(source, "__path__")  # result and widgets are modules
        hidden = {a.name for a in node.names} - set(getattr(source, "__all__", vars(source) if single else ()))
        assert not hidden, f"{node.module} does not list {hidden}"


def test_is_committed_without_outputs(path):
    notebook = read(path)
    assert not [cell.source for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    assert "widgets" not in notebook.metadata
    assert notebook.metadata["kernelspec"]["name"] == "python3"


@pytest.mark.skipif(not (BOOK / "index.ipynb").is_file(), reason="the first page is no notebook")
def test_readme_says_what_the_first_page_computes():
    spec = importlib.util.spec_from_file_location("readme", BOOK / "_tools" / "readme.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = tool.README.read_text(encoding="utf-8")
    for name, part in tool.parts(run(BOOK / "index.ipynb")[0]).items():
        assert f"<!-- {name} -->\n{part}\n<!-- /{name} -->" in text, "make figure"
    assert tool.PICTURE.is_file()


def test_all_chapters_together_stay_within_their_time():
    assert sum(run(path)[1] for path in CHAPTERS) < TOGETHER
