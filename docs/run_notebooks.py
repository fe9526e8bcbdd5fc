"""Runs the notebooks of docs/notebooks anew and stores their outputs: ``make notebooks``.

Kept are the outputs that a reader needs. What would be another at every run is not: times, versions
of the kernel, and what goes to standard error, such as progress bars and warnings.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from gmask_pl.files import write_text

NOTEBOOKS = Path(__file__).parent / "notebooks"
LONGEST = 3600  # seconds of one cell, on a busy machine too
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def run(path: Path) -> None:
    """Runs one notebook in an empty folder. One that fails stays as it is; its error is raised."""
    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as place:
        client = NotebookClient(
            book,
            timeout=LONGEST,
            kernel_name=KERNEL["name"],
            record_timing=False,
            resources={"metadata": {"path": place}},
        )
        client.execute()
    book.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in book.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = kept(cell.outputs)
    write_text(path, nbformat.writes(book) + "\n")


def kept(outputs: list[Any]) -> list[Any]:
    """The outputs that are stored; what is printed bit by bit is one output."""
    found: list[Any] = []
    for output in outputs:
        widget = any("widget" in kind for kind in output.get("data", ()))
        if widget or output.get("name") == "stderr":
            continue
        if output.output_type == "stream" and found and found[-1].output_type == "stream":
            found[-1].text += output.text
        else:
            found.append(output)
    return found


if __name__ == "__main__":
    chosen = [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in chosen:
        print(path, flush=True)
        run(path)
