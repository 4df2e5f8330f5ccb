"""House style of the book's prose: bearable paragraphs and sentences, British spelling, the words of the field."""

import re
from functools import cache
from pathlib import Path

import codespell_lib
import plain

PARAGRAPH, SENTENCE = 110, 40  # words at most; an interval belongs to its number and is no words of its own
CODE = 88  # letters of a line
PLAIN = {  # no technical terms, or not English → write instead
    r"things?": "object, concept, property, question …",
    r"told": "decoded, found, known …",
    r"(?:colour|depth|modality|modalities|camera|one|alone|only|nothing|neither|both) shows?": "is visible to …",
    r"(?:speaks?|spoken|tells?) of": "encodes, holds, is about …",
    r"for certain|beyond doubt": "clearly, beyond the interval",
    r"by luck": "by chance",
    r"in the place of": "instead of",
    r"(?:laid|lay|lays) down": "stated beforehand",
    r"mend(?:s|ed)?|nobody's|bearable": "correct; no one's …",
    r"(?:is|are|was|were|be) asked (?:of|for)": "is measured, required …",
    r"as it must|what must hold": "as expected",
    r"in silence": "silently",
}
BANNED = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in PLAIN), re.I)
BOTH_WAYS = set("biased check disk draft license licenses meter meters practice program programs story tire".split())
INTERVAL = re.compile(r"\(?[−+-]?\d+(?:\.\d+)?(?:\s*%)? to [−+-]?\d+(?:\.\d+)?(?:\s*%)?\)?")


@cache
def _american():
    lines = (Path(codespell_lib.__file__).parent / "data" / "dictionary_en-GB_to_en-US.txt").read_text("utf-8")
    return {line.partition("->")[2].strip(" ,") for line in lines.splitlines() if "->" in line} - BOTH_WAYS


def american(text):
    """American spellings in a text, by codespell's own list, less those that British English has in another meaning."""
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word in _american()]


def rendered(notebook, values):
    """All prose of a chapter after its run: its text and what it displays as text, with glued values; captions."""
    shown = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    for cell in notebook.cells:
        shown.append(cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", ""))
        shown += [output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", [])]
    return plain.markdown("\n\n".join(shown), values, {})


def paragraphs(text):
    """Paragraphs, list items and definitions of markdown, without headings, tables, code and formulas."""
    text = re.sub(r"^(`{3,})(?!\{(?!math)).*?^\1\s*$", "\n\n", text, flags=re.M | re.S)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|(?<=\])\([^)]*\)", "", text)
    text = re.sub(r"\$\$.*?\$\$(?: \([\w-]+\))?", "\n\n", text, flags=re.S)
    text = re.sub(r"\$[^$\n]*(?:\n[^$\n]+)?\$|`[^`\n]*`", "X", text)
    text = re.sub(r"^ *(?:\|.*|#+ .*|-{3,}|<!--.*-->|\{[^}]*\})$", "", text, flags=re.M)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.|:) )", text)
    return [" ".join(block.split()) for block in blocks if re.search(r"\w", block)]


def sentences(paragraph):
    """The sentences of a paragraph."""
    return re.split(r"(?<=[.?!])[)*”\"]*\s+(?=[*(“\"_]*[A-Z0-9])| · ", paragraph)


def words(text):
    """How many words a text has."""
    return len(re.findall(r"[^\s—–·|]*\w[^\s—–·|]*", INTERVAL.sub("", text)))


def faults(text):
    """What is wrong with the style of a page, each with its place."""
    found = []
    for paragraph in paragraphs(text):
        if words(paragraph) > PARAGRAPH:
            found.append(f"a paragraph of {words(paragraph)} words: {paragraph[:90]}…")
        found += [f"a sentence of {words(s)} words: {s[:90]}…" for s in sentences(paragraph) if words(s) > SENTENCE]
        found += [f"“{m[0]}”: …{paragraph[max(m.start() - 40, 0) : m.end() + 30]}…" for m in BANNED.finditer(paragraph)]
        found += [f"American spelling: {word}" for word in american(paragraph)]
    return found
