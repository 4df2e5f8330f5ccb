"""What a page is looked at for: each function says what is wrong, an empty list where nothing is."""

from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "book" / "_vendor" / "checks" / "axe-core" / "axe.min.js"
VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
LOOK = """() => ({
    math: document.querySelectorAll('.math').length,
    typeset: document.querySelectorAll('.math mjx-container').length,
    errors: document.querySelectorAll('mjx-merror').length,
    views: document.querySelectorAll('VIEW').length,
    drawn: [...document.querySelectorAll('.widget-subarea')].filter(w => w.childElementCount > 0).length,
    images: [...document.querySelectorAll('main img')].map(i => ({
        alt: i.getAttribute('alt'), loaded: i.complete && i.naturalWidth > 0, source: i.outerHTML.slice(0, 120)})),
    unnamed: [...document.querySelectorAll('main select, main input')].filter(
        i => i.type !== 'hidden' && i.offsetParent !== null && !(i.labels && i.labels.length)
             && !i.getAttribute('aria-label') && !i.title).map(i => i.outerHTML.slice(0, 120)),
    width: document.documentElement.scrollWidth,
    window: window.innerWidth,
})""".replace("VIEW", VIEW)
# The picture that each widget shows now: its address, shortened to what tells it from the others.
SHOWN = """() => [...document.querySelectorAll('.widget-subarea')].map(w => {
    const seen = [...w.querySelectorAll('img')].filter(i => i.offsetParent !== null);
    return seen.map(i => i.src.length + i.src.slice(-4000)).join();
})"""
# Figures in dark mode: the ground they stand on, and how light it is (0 to 1).
GROUND = """() => [...document.querySelectorAll('.bd-article :is(.cell_output, figure) img:not(.dark-light)')]
    .filter(i => i.offsetParent !== null)
    .map(i => getComputedStyle(i).backgroundColor.match(/[\\d.]+/g).map(Number))
    .map(c => (c.length > 3 && c[3] === 0) ? 0 : (0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]) / 255)"""
# On paper: code, tables and pictures that go on beyond their box or the page, where nobody can scroll.
CUT = """() => { const main = document.querySelector('.bd-article') || document.body;
    const edge = main.getBoundingClientRect().right;
    return [...main.querySelectorAll('pre, table, img, svg, .cell_output')].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width > 0 && (box.right > edge + 2
            || (e.scrollWidth > e.clientWidth + 2 && getComputedStyle(e).overflowX !== 'visible'));
    }).map(e => e.tagName.toLowerCase() + ': ' + (e.textContent || e.alt || '').trim().slice(0, 60)); }"""
PAPER = 720  # pixels between the margins of a sheet of A4
# Faults of the theme and of its extensions that this book cannot mend: axe's rule, and a part of the element's HTML.
THEIRS = (
    ("region", "logo__image"),  # the logo stands outside of every landmark
    ("aria-allowed-role", "doc-biblioentry"),  # sphinxcontrib-bibtex
    ("aria-deprecated-role", "doc-biblioentry"),
    ("aria-required-children", "citation-list"),
)


@contextmanager
def visit(browser, address, *, width=1280, scheme="light", own=None):
    """A loaded page and the list of what went wrong while it loaded (filled until it is closed)."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, wrong = context.new_page(), []
    own = own or address.rsplit("/", 1)[0]
    page.on("request", lambda r: r.url.startswith((own, "data:", "blob:")) or wrong.append(f"leaves the site: {r.url}"))
    page.on("requestfailed", lambda r: wrong.append(f"request failed: {r.url}"))
    page.on("response", lambda r: r.status >= 400 and wrong.append(f"{r.status}: {r.url}"))
    page.on("console", lambda m: m.type == "error" and wrong.append(f"console: {m.text[:200]}"))
    page.on("pageerror", lambda e: wrong.append(f"page error: {str(e)[:200]}"))
    try:
        page.goto(address, wait_until="load")
        page.wait_for_load_state("networkidle", timeout=30000)
        settle(page)
        yield page, wrong
    finally:
        context.close()


def settle(page, seconds=20):
    """Wait until everything is typeset and drawn, or the time is up; what is missing then is a fault."""
    for _ in range(seconds * 4):
        page.wait_for_timeout(250)
        now = page.evaluate(LOOK)
        if now["typeset"] >= now["math"] and now["drawn"] >= now["views"]:
            return


def undrawn(page):
    """Formulas that are not typeset and widgets that are not drawn."""
    now = page.evaluate(LOOK)
    parts = [(now["math"] - now["typeset"], "formulas not typeset"), (now["errors"], "formulas with an error")]
    parts += [(now["views"] - now["drawn"], "widgets not drawn")]
    return [f"{count} {what}" for count, what in parts if count > 0]


def unlabelled(page):
    """Images without alternative text or that did not load, and form elements without a name."""
    now = page.evaluate(LOOK)
    wrong = [f"not loaded: {i['source']}" for i in now["images"] if not i["loaded"]]
    wrong += [f"no alternative text: {i['source']}" for i in now["images"] if not i["alt"] or "_images/" in i["alt"]]
    return wrong + [f"no name: {element}" for element in now["unnamed"]]


def too_wide(page):
    """Whether the page is wider than its window."""
    now = page.evaluate(LOOK)
    return [f"{now['width']} pixels in a window of {now['window']}"] if now["width"] > now["window"] else []


def cut_off(page):
    """Code, tables and pictures that are cut off where the page is printed on A4."""
    size = page.viewport_size
    page.set_viewport_size(size | {"width": PAPER})
    page.emulate_media(media="print")
    page.wait_for_timeout(300)
    found = page.evaluate(CUT)
    page.emulate_media(media="screen")
    page.set_viewport_size(size)
    page.wait_for_timeout(500)  # the sidebars slide back
    return [f"cut off on paper: {what}" for what in found]


def stuck(page, by="click"):
    """Widgets whose picture does not change when another choice is made, by mouse or by keyboard."""
    wrong = []
    page.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
    for index, area in enumerate(page.query_selector_all(".widget-subarea")):
        controls = area.query_selector_all("select, .widget-toggle-buttons")
        control = next((c for c in controls if c.is_visible() and _entries(c) > 1), None)
        if control is None:  # one choice at most
            continue
        before = page.evaluate(SHOWN)[index]
        _choose(control, by)
        if not _changes(page, index, before):
            wrong.append(f"widget {index + 1} shows the same after another choice ({by})")
    return wrong


def _entries(control):
    return len(control.query_selector_all("option, button"))


def _choose(control, by):
    """Choose another entry of a list or of a row of buttons: the second, or the first where the second is chosen."""
    if control.evaluate("c => c.tagName") == "SELECT":
        now = control.evaluate("c => c.selectedIndex")
        if by == "click":
            control.select_option(index=int(now != 1))
        else:
            control.focus()
            control.press("ArrowUp" if now == 1 else "ArrowDown")
        return
    buttons = control.query_selector_all("button")
    other = buttons[int("mod-active" not in (buttons[1].get_attribute("class") or ""))]
    if by == "click":
        other.click()
    else:
        other.focus()
        other.press("Enter")


def _changes(page, index, before):
    for _ in range(20):
        page.wait_for_timeout(100)
        if page.evaluate(SHOWN)[index] not in ("", before):
            return True
    return False


def dark_figures(page):
    """Figures that stand on a dark ground in dark mode, where their labels cannot be read."""
    theme = page.evaluate("document.documentElement.dataset.theme")
    if theme != "dark":
        return [f"the page is {theme}, not dark"]
    return [f"figure {i + 1} stands on a dark ground" for i, light in enumerate(page.evaluate(GROUND)) if light < 0.8]


def barriers(page, rules=None):
    """Violations that axe-core finds, but for the theme's own known ones."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"resultTypes": ["violations"]} | ({"runOnly": {"type": "rule", "values": rules}} if rules else {})
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in found
        for node in violation["nodes"]
        if not any(violation["id"] == rule and part in node["html"] for rule, part in THEIRS)
    ]
