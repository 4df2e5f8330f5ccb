"""Every link inside the built book leads to a page, a file or a place that is there. Needs no browser."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.site.conftest import HTML

PAGES = sorted(HTML.glob("*.html"))

pytestmark = pytest.mark.skipif(not PAGES, reason="_build/html is not there: make book")


class Anchors(HTMLParser):
    """Links of a page and the places in it that links can lead to."""

    def __init__(self):
        super().__init__()
        self.links, self.places = [], set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        target = attrs.get("href") if tag in ("a", "link") else attrs.get("src")
        if target:
            self.links.append(target)


@cache
def anchors(path):
    """The anchors of one page."""
    found = Anchors()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def dead(path):
    """Links of a page that lead nowhere."""
    wrong = []
    for link in anchors(path).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        place = unquote(parts.fragment)
        if not target.exists():
            wrong.append(f"{link}: no such file")
        elif place and target.suffix == ".html" and place not in anchors(Path(target)).places:
            wrong.append(f"{link}: no such place")
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_internal_links_lead_somewhere(path):
    assert not dead(path)


def test_a_dead_link_is_seen(tmp_path):
    (tmp_path / "b.html").write_text('<p id="here">', encoding="utf-8")
    links = ["b.html", "b.html#here", "b.html#gone", "c.html", "#gone", "https://arxiv.org"]
    page = tmp_path / "a.html"
    page.write_text("".join(f'<a href="{link}">x</a>' for link in links), encoding="utf-8")
    assert [w.split(":")[0] for w in dead(page)] == ["b.html#gone", "c.html", "#gone"]
