"""The built book in a headless browser: nothing leaves the site, nothing fails, everything is drawn, fits and answers.

Needs `_build/html` (make book), playwright and Chromium; where one of them is missing the tests are skipped. CHROMIUM
may name the browser's executable. `test_faults.py` plants a fault for every check and sees it found.
"""

import pytest

from tests.site import _look as look
from tests.site.conftest import HTML, ROOT

OWN_FILES = ROOT / "book" / "_vendor" / "site" / "vendor"  # MathJax and the widget manager, where npm could fetch them
PAGES = sorted(p.name for p in HTML.glob("*.html"))

pytestmark = pytest.mark.skipif(not PAGES, reason="_build/html is not there: make book")
offline = pytest.mark.skipif(not OWN_FILES.is_dir(), reason="the book was built without npm and loads from a CDN")
audited = pytest.mark.skipif(not look.AXE.is_file(), reason="axe-core is not there: npm could not fetch it")


@pytest.fixture(scope="module", params=PAGES)
def seen(browser, site, request):
    """A page that was loaded once for all that is looked at in daylight."""
    with look.visit(browser, site + request.param) as (page, wrong):
        yield page, wrong


@offline
def test_page_is_whole_and_stays_on_the_site(seen):
    page, wrong = seen
    assert not look.undrawn(page) + look.unlabelled(page) + look.too_wide(page) + wrong


@pytest.mark.parametrize("by", ["click", "keyboard"])
def test_widgets_switch_without_a_kernel(seen, by):
    page, wrong = seen
    assert not look.stuck(page, by) + wrong


def test_page_fits_a_phone(seen):
    page, size = seen[0], seen[0].viewport_size
    page.set_viewport_size(size | {"width": 390})
    try:
        assert not look.too_wide(page)
    finally:
        page.set_viewport_size(size)
        page.wait_for_timeout(500)  # the sidebars slide back


def test_page_fits_paper(seen):
    assert not look.cut_off(seen[0])


@audited  # last, as axe looks for files of its own
def test_page_has_no_barrier_of_ours(seen):
    assert not look.barriers(seen[0])


@offline
@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_without_a_server(browser, name):
    base = HTML.as_uri() + "/"
    with look.visit(browser, base + name, own=base) as (page, wrong):
        assert not look.undrawn(page) + look.unlabelled(page) + look.too_wide(page) + wrong


@pytest.mark.parametrize("name", PAGES)
def test_page_can_be_read_in_dark_mode(browser, site, name):
    with look.visit(browser, site + name, scheme="dark") as (page, _):
        assert not look.dark_figures(page)
        # the page of names has 40 seconds' worth of the same few colours, which the others have too
        if look.AXE.is_file() and name != "api.html":
            assert not look.barriers(page, ["color-contrast", "link-in-text-block"])
