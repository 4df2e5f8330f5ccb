"""Sphinx extension: the empty corner cells of pandas' tables are no headers, and are written as plain cells.

A screen reader would announce them as headers without a name.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx

EMPTY = re.compile(r"<th(?P<attributes>[^>]*)>(?P<content>(?:\s|&nbsp;|\u00a0)*)</th>")


def plain_corners(html: str) -> str:
    """HTML in which no header cell is empty.

    Examples
    --------
    >>> plain_corners('<th class="blank level0" >&nbsp;</th><th>level</th><th></th>')
    '<td class="blank level0" >&nbsp;</td><th>level</th><td></td>'
    """
    return EMPTY.sub(r"<td\g<attributes>>\g<content></td>", html)


def mend(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Mend a page's body before it is written."""
    if "body" in context:
        context["body"] = plain_corners(context["body"])


def setup(app: Sphinx) -> dict:
    """Register the extension."""
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
