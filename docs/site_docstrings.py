"""The docstrings of the code as Markdown.

They are text with lists, but for three habits: ``::`` before an indented block, a list that follows
a line without a blank one between them, and examples that begin with ``>>>``.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class AsMarkdown(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    text = re.sub(r"^((?!- |  )\S.*)\n(?=- )", r"\1\n\n", text, flags=re.MULTILINE)
    blocks = text.split("\n\n")
    return "\n\n".join(
        f"```pycon\n{block}\n```" if block.startswith(">>> ") else block for block in blocks
    )
