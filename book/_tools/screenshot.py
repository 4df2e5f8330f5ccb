"""Photograph a page of the built book as a reader sees it, for README.md: a switch and what it shows.

Needs ``_build/html``, playwright and Chromium (`CHROMIUM` may name its executable).
"""

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image

BOOK = Path(__file__).resolve().parents[1]
PAGE = BOOK.parent / "_build" / "html" / "consistency.html"
PICTURE = BOOK / "_static" / "page.png"
WINDOW = {"width": 1280, "height": 860}
COLOURS = 128  # enough for text and figures, and a third of the bytes
NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Write the picture."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("playwright is not installed; type: .venv/bin/python -m pip install playwright")
    if not PAGE.is_file():
        sys.exit(f"{PAGE} is not there; type: make book")
    if BROWSER is None:
        sys.exit("Chromium is not installed; name its executable: CHROMIUM=/path/to/it make screenshot")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        page = browser.new_page(viewport=WINDOW)
        page.goto(PAGE.as_uri(), wait_until="networkidle")
        widget = page.wait_for_selector(".widget-subarea img")
        widget.evaluate("w => window.scrollTo(0, w.getBoundingClientRect().top + scrollY - 200)")
        page.wait_for_timeout(1000)  # formulas are typeset and the page has scrolled
        image = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
