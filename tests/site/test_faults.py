"""A fault is planted for every check of the site, and the check must find it, and nothing on the page without it.

| check | planted fault |
|---|---|
| undrawn | a formula that the typesetter never saw; a formula with an error; a widget without its manager |
| unlabelled | an image without alternative text; one whose file is missing; a list without a name |
| too_wide | a table wider than the window |
| cut_off | a line of code that scrolls on the screen |
| stuck | buttons and a list that change nothing |
| dark_figures | a figure without its light card |
| barriers | grey on grey; an empty button |
| visit | a request to another host; a missing file; an error in a script |
| dead links, misspellings, false verdicts | see test_links.py and ../test_prose.py |
"""

import pytest

from tests.site import _look as look

PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
OTHER = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw=="
SOUND = f"""<!doctype html><html lang="en" data-theme="THEME"><head>
<title>A page</title><link rel="icon" href="data:,"></head><body><main class="bd-article">
<h1>A page</h1><p>Text.</p>
<span class="math"><mjx-container></mjx-container></span>
<div class="cell_output" ><img alt="a white square of one pixel" src="{PICTURE}" style="background:#fff"></div>
<script type="application/vnd.jupyter.widget-view+json"></script>
<div class="widget-subarea"><label for="s">Level</label>
<select id="s" onchange="show(this.value)"><option>1</option><option>2</option></select>
<img id="shown" alt="what level 1 tells" src="{PICTURE}" style="background:#fff"></div>
<script type="application/vnd.jupyter.widget-view+json"></script>
<div class="widget-subarea"><div class="widget-toggle-buttons"><button type="button" onclick="pick(1)">one</button>
<button type="button" onclick="pick(2)">two</button></div>
<img id="picked" alt="what network one tells" src="{PICTURE}" style="background:#fff"></div>
<script>const pictures = ["{PICTURE}", "{OTHER}"];
function show(v) {{ document.getElementById("shown").src = pictures[v - 1]; }}
function pick(v) {{ document.getElementById("picked").src = pictures[v - 1]; }}</script>
</main></body></html>"""
FAULTS = {  # name: (what it is replaced in, by what, the check, a part of what it must say)
    "formula": ("<p>Text.", '<p><span class="math">x</span>', look.undrawn, "1 formulas not typeset"),
    "formula with an error": ("<p>Text.", "<p><mjx-merror></mjx-merror>", look.undrawn, "1 formulas with an error"),
    "widget": (
        "<p>Text.",
        "<p><script type='application/vnd.jupyter.widget-view+json'></script>",
        look.undrawn,
        "1 widgets not drawn",
    ),
    "no alternative text": (' alt="a white square of one pixel"', "", look.unlabelled, "no alternative text"),
    "missing image": ("<p>Text.", '<p><img alt="not there at all" src="gone.png">', look.unlabelled, "not loaded"),
    "no name": ('<label for="s">Level</label>', "", look.unlabelled, "no name: <select"),
    "wide": ("<p>Text.", '<div style="width:3000px">wide</div><p>', look.too_wide, "in a window of 1280"),
    "paper": (
        "<p>Text.",
        f"<pre style='overflow:auto'>{'x' * 500}</pre><p>",
        look.cut_off,
        "cut off on paper: pre: xxx",
    ),
    "stuck list": ('onchange="show(this.value)"', "", look.stuck, "widget 1"),
    "stuck buttons": ('onclick="pick(2)"', "", look.stuck, "widget 2"),
    "contrast": ("<p>Text.", '<p style="color:#aaa;background:#bbb">Grey.</p><p>', look.barriers, "color-contrast"),
    "empty button": ("<p>Text.", "<p><button></button>", look.barriers, "button-name"),
}
WRONG = {  # name: (what is put in, a part of what `visit` must say)
    "outside": ('<img alt="x" src="http://127.0.0.1:9/x.png">', "leaves the site"),
    "missing file": ('<script src="gone.js"></script>', "404"),
    "error": ("<script>nothing.there</script>", "page error"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def show(folder, serve, browser):
    address = serve(folder)

    def write(html, theme="light", **options):
        (folder / "page.html").write_text(html.replace("THEME", theme), encoding="utf-8")
        return look.visit(browser, address + "page.html", scheme=theme, **options)

    return write


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(look.settle, "__defaults__", (1,))


def need_axe(check):
    if check is look.barriers and not look.AXE.is_file():
        pytest.skip("axe-core is not there: npm could not fetch it")


@pytest.mark.parametrize(
    "check", [look.undrawn, look.unlabelled, look.too_wide, look.cut_off, look.stuck, look.barriers]
)
def test_a_sound_page_passes(show, check):
    need_axe(check)
    with show(SOUND) as (page, wrong):
        assert not check(page) + wrong


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(show, name):
    old, new, check, said = FAULTS[name]
    need_axe(check)
    assert SOUND.count(old) == 1
    with show(SOUND.replace(old, new)) as (page, _):
        assert any(said in complaint for complaint in check(page))


@pytest.mark.parametrize("name", ["stuck list", "stuck buttons"])
def test_the_keyboard_is_tried_too(show, name):
    old, new, check, said = FAULTS[name]
    with show(SOUND) as (page, _):
        assert not check(page, "keyboard")
    with show(SOUND.replace(old, new)) as (page, _):
        assert any(said in complaint for complaint in check(page, "keyboard"))


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_while_loading_is_found(show, name):
    html, said = WRONG[name]
    with show(SOUND.replace("<p>Text.", html + "<p>")) as (_, wrong):
        assert any(said in complaint for complaint in wrong)


def test_a_figure_on_a_dark_ground_is_found(show):
    with show(SOUND, "dark") as (page, _):
        assert not look.dark_figures(page)
    with show(SOUND.replace(' style="background:#fff"></div>\n<script type', "></div>\n<script type", 1), "dark") as (
        page,
        _,
    ):
        assert any("dark ground" in complaint for complaint in look.dark_figures(page))
    with show(SOUND, "light") as (page, _):
        assert look.dark_figures(page) == ["the page is light, not dark"]
