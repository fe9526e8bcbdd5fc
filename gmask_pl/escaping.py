"""Text of others, as each medium can show it: data sets, labels, ids, words, names, archives.

Such text may hold anything: terminal escapes, marks that turn the writing direction around, halves
of characters, markup. One function a medium makes it harmless, and all of them show a character
that cannot be seen by its escape, as in ``\\x1b``. They are called where a medium is written, never
before, so that files of data hold texts as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import markupsafe

# These join letters of several scripts and the parts of an emoji, and are nothing by themselves.
_JOINERS = "\u200c\u200d"
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # printable to Unicode, seen by nobody
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# Before what begins a heading, a list or a rule at the start of a line.
_BLOCK = re.compile(r"^(?:\d{1,9}(?=[.)](?:\s|$))|(?=(?:#{1,6}|[-+])(?:\s|$)|---|>))")
_MARKUP = re.compile(
    r"[\\`*\[\]|~$]"
    r"|<(?=[a-z/!?])|&(?=#?\w+;)"  # of HTML
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word it is no emphasis
    r"|:(?=//)|(?<=www)\.|(?<=mailto):|(?<=xmpp):",  # of links
    re.IGNORECASE,
)
_FORMULA = tuple("=+-@＝＋－＠")


def visible(text: str) -> str:
    """Text on one line, each character of which can be seen; spaces of any width are one.

    Escaped are control characters, line breaks, marks of writing direction, invisible characters,
    halves of characters and what Unicode does not define. A joiner stays between letters that
    are not ASCII.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(text, i) for i in range(len(text)))


def terminal(text: str) -> str:
    """Text for a terminal or a log, which may have lines."""
    return "\n".join(map(visible, text.split("\n")))


def html(text: str) -> markupsafe.Markup:
    """Text within an HTML element or a quoted attribute."""
    return markupsafe.escape(visible(text))


def markdown(text: str) -> str:
    """Text that Markdown shows as it is: in a cell of a table, a heading or an item of a list.

    Without HTML, links, code, mathematics or emphasis.
    """
    text = _MARKUP.sub(r"\\\g<0>", visible(text))
    return _BLOCK.sub(r"\g<0>\\", " ".join(text.split()), count=1)


def markdown_note(text: str) -> str:
    """`markdown` of a line outside tables, in which a command may stand between backticks."""
    parts = re.split("(`[^`]+`)", visible(text))
    return "".join(part if i % 2 else _in_between(part) for i, part in enumerate(parts))


def entities(text: str) -> str:
    """Text that every Markdown shows as it is: each sign by the number of its character."""
    return re.sub(r"[^\w ]|_", lambda sign: f"&#{ord(sign[0])};", visible(text))


def latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    text = re.sub(r"[\\~^&%$#_{}<>]", lambda match: _LATEX[match[0]], visible(text))
    return text.replace("–", "--").replace("τ", r"$\tau$").replace("−", "$-$")


def latex_row(cells: Sequence[str]) -> str:
    """A row of a table, of cells in LaTeX."""
    row = " & ".join(cells)
    # After the end of the row above these would be its arguments.
    return ("{}" if row.startswith(("[", "*")) else "") + row + r" \\"


def csv_cell(value: object) -> str:
    """A cell of a CSV file: nothing for None, and text that no spreadsheet takes for a formula."""
    text = "" if value is None else visible(str(value))
    if not isinstance(value, str) or not text.startswith(_FORMULA) or _is_number(text):
        return text
    return f"'{text}"


def _seen(text: str, i: int) -> str:
    character = text[i]
    if character.isprintable() and character not in _BLANK:
        return character
    if character in "\u00a0\u1680\u202f\u205f\u3000" or "\u2000" <= character <= "\u200a":
        return " "
    if character in _JOINERS and 0 < i < len(text) - 1 and _joined(text[i - 1], text[i + 1]):
        return character
    return ascii(character)[1:-1]


def _joined(*neighbours: str) -> bool:
    return all(c > "\x7f" and c.isprintable() and c not in _BLANK for c in neighbours)


def _in_between(part: str) -> str:
    """`markdown` that keeps the spaces at both ends."""
    inner = part.strip(" ")
    if not inner:
        return part
    start = part.index(inner)
    return part[:start] + markdown(inner) + part[start + len(inner) :]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
