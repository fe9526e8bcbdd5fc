"""What the site does beyond MkDocs: see mkdocs.yml.

- README.md is its first page, and a few other files of the repository are pages, too. A link that
  leads to them in the repository leads to them on the site.
- Mathematics becomes MathML when the site is built: a block that is fenced as ``math``, and
  ``$`...`$`` within a line, as on GitHub. No script is needed to show it.
- A notebook is a page with the outputs that are saved in it. Nothing is run.
- A page that would fetch something from the network is an error.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md"}
PAGES |= {name: name for name in ("CHANGELOG.md",)}
PAGES |= {
    f"gmask_paper/results/{path.name}": f"results/{path.name}"
    for path in sorted((ROOT / "gmask_paper/results").glob("*.md"))
}
SOURCES = {site: source for source, site in PAGES.items()}
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    fences = config["mdx_configs"].setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "math", "format": _block}]
    config["markdown_extensions"].append(InlineMath())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, site in PAGES.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / source)))
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            files.append(
                Notebook(file.src_uri, file.src_dir, file.dest_dir, config.use_directory_urls)
            )
    return files


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    if not isinstance(page.file, Notebook):
        return None
    cells = json.loads(page.file.content_string)["cells"]
    return "\n\n".join(_cell(number, cell) for number, cell in enumerate(cells))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text with its links as they lead on the site."""
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        if target not in PAGES and not target.startswith("docs/"):
            return link[0]
        site = PAGES.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(site, posixpath.dirname(here) or '.')}{link[2] or ''})"

    return LINK.sub(moved, markdown)


def on_page_content(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if not isinstance(page.file, Notebook):
        return text
    cells = json.loads(page.file.content_string)["cells"]
    for number, cell in enumerate(cells):
        shown = "".join(_output(output) for output in cell.get("outputs", ()))
        text = text.replace(_place(number), f'<div class="output">{shown}</div>' if shown else "")
    return text


def on_post_build(config: MkDocsConfig) -> None:
    """Raises PluginError for a page that fetches something."""
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        if found := FETCHED.search(path.read_text("utf-8")):
            raise PluginError(f"{path}: it would fetch from the network: {found[0][:200]}")


class Notebook(File):
    """A Jupyter notebook as a page."""

    def is_documentation_page(self) -> bool:
        return True


def _cell(number: int, cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    return f"```python\n{text}\n```\n\n{_place(number)}" if text.strip() else ""


def _place(number: int) -> str:
    return f"<!-- output {number} -->"


def _output(output: dict[str, Any]) -> str:
    """What a cell has left, as HTML: its richest form that needs no script."""
    if output["output_type"] == "error":
        raise PluginError(f"a notebook holds an error: {output['ename']}: {output['evalue']}")
    data = output.get("data", {"text/plain": output.get("text", "")})
    forms = {kind: "".join(text) for kind, text in data.items() if not isinstance(text, dict)}
    if "text/html" in forms:
        return forms["text/html"]
    if "image/svg+xml" in forms:
        return forms["image/svg+xml"]
    if "image/png" in forms:
        return f'<img alt="" src="data:image/png;base64,{forms["image/png"].strip()}">'
    return f"<pre>{html.escape(forms.get('text/plain', ''))}</pre>"


def _block(source: str, *_: Any, **__: Any) -> str:
    return f'<div class="math">{convert(source, display="block")}</div>'


class InlineMath(Extension):
    """$`...`$ as MathML."""

    def extendMarkdown(self, md: Markdown) -> None:  # the name is Markdown's
        md.inlinePatterns.register(_Inline(r"\$`(.+?)`\$", md), "math", 195)


class _Inline(InlineProcessor):
    def handleMatch(  # type: ignore[override]
        self, m: re.Match[str], data: str
    ) -> tuple[str, int, int]:
        return self.md.htmlStash.store(convert(m[1])), m.start(0), m.end(0)
