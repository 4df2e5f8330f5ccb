"""Sphinx extension: the prediction questions of a chapter with their answers unfolded, for the instructors' page.

``{predictions} trust`` takes the section *Before you read on* out of the chapter as it is built. Question, answer and
every number in it are so written once, in the chapter, and come from its run.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

SECTION = "Before you read on"


class placeholder(nodes.General, nodes.Element):  # noqa: N801  (docutils writes nodes so)
    """Where the questions of a chapter will stand."""


class Predictions(SphinxDirective):
    """The prediction questions of one chapter, with their answers."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A place for what is known only after every page was read."""
        return [placeholder(chapter=self.arguments[0])]


def unfolded(doctree: nodes.document, page: str) -> list[nodes.Node]:
    """Questions and answers of a chapter's tree, nothing folded, as part of another page; empty where it has none.

    Examples
    --------
    >>> from docutils.frontend import get_default_settings
    >>> from docutils.utils import new_document
    >>> tree = new_document("trust", get_default_settings())
    >>> fold = nodes.container("", nodes.rubric("", "Answer"), nodes.paragraph("", "Yes."), design_component="dropdown")
    >>> tree += nodes.section("", nodes.title("", SECTION), nodes.paragraph("", "Is it?"), fold, ids=["a"])
    >>> [part.astext() for part in unfolded(tree, "instructors")]
    ['Is it?', 'Answer. Yes.']
    """
    for section in doctree.findall(nodes.section):
        if section[0].astext() == SECTION:
            found = [part.deepcopy() for part in section[1:]]
            break
    else:
        return []
    whole = nodes.container("", *found)
    for fold in [c for c in whole.findall(nodes.container) if c.get("design_component") == "dropdown"]:
        said = [child for child in fold if not isinstance(child, nodes.rubric)]
        said[0].insert(0, [nodes.strong("", "Answer."), nodes.Text(" ")])
        fold.parent.replace(fold, said)
    for element in whole.findall(nodes.Element):
        element["ids"], element["names"] = [], []  # they are the chapter's
        if "refdoc" in element:
            element["refdoc"] = page
    return list(whole.children)


class Place(SphinxPostTransform):
    """Put the questions in, before references are resolved (at priority 10)."""

    default_priority = 5

    def run(self, **kwargs: object) -> None:
        """Replace every placeholder of a page."""
        for place in list(self.document.findall(placeholder)):
            chapter = place["chapter"]
            known = chapter in self.env.found_docs
            found = unfolded(self.env.get_doctree(chapter), self.env.docname) if known else []
            if not found:
                logging.getLogger(__name__).warning("no chapter %r with a section %r", chapter, SECTION)
            place.replace_self(found)


def setup(app: Sphinx) -> dict:
    """Register the extension."""
    app.add_node(placeholder)
    app.add_directive("predictions", Predictions)
    app.add_post_transform(Place)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
