"""A run's results for TensorBoard: files in a folder, without an account or a server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gmask_pl.drawing.picture import draw
from gmask_pl.escaping import entities
from gmask_pl.explanation import Explanation
from gmask_pl.files import remove_ours
from gmask_pl.pipeline.report.logged import (
    COLUMNS,
    PAGE,
    TABLE,
    Cell,
    explanation_row,
    logged_curves,
    scalars,
)
from gmask_pl.types import UserError

if TYPE_CHECKING:
    from pytorch_lightning.loggers import TensorBoardLogger

PICTURES = 10  # TensorBoard shows no more of a name
EVENTS, SETTINGS = "events.out.tfevents.", "hparams.yaml"


def log_to_tensorboard(
    logger: TensorBoardLogger,
    metrics: Mapping[str, Any],
    explanations: Iterable[Explanation],
    page_path: Path | str,
    *,
    labels: Sequence[str],
    max_rows: int,
) -> None:
    """Log the metrics, the curves, a table of the first explanations, and pictures of some.

    TensorBoard shows no HTML: ``report`` says where the page is. The steps of a curve are its x,
    as whole numbers. Results of an earlier run in the same folder are replaced.
    """
    remove_ours(Path(logger.log_dir), lambda name: name.startswith(EVENTS) or name == SETTINGS)
    logger.log_hyperparams(dict(logger.hparams), metrics=dict(scalars(metrics)))
    writer = logger.experiment
    for curve in logged_curves(metrics):
        for x, y in curve.points:
            writer.add_scalar(curve.name, y, round(x))
    rows = []
    for number, explanation in enumerate(explanations):
        if number >= max_rows:
            break
        rows.append(explanation_row(explanation, labels))
        if number < PICTURES:
            writer.add_image(TABLE, _picture(explanation), number, dataformats="HWC")
    writer.add_text(TABLE, _table(rows))
    writer.add_text(PAGE, entities(str(Path(page_path).absolute())))


def _picture(explanation: Explanation) -> Any:
    """The picture of an explanation (height, width, 3), from 0 to 1."""
    from matplotlib.image import imread

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pair.png")
        draw(explanation, path)
        return imread(path)[..., :3]


def _table(rows: Iterable[Sequence[Cell]]) -> str:
    """Rows under COLUMNS in Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([_shown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return entities("" if cell is None else str(cell))


def check_tensorboard() -> None:
    """Raises UserError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "logger=tensorboard needs TensorBoard: pip install tensorboard, or leave it out by "
            "logger=csv"
        )


def tensorboard_logger(*, save_dir: str) -> TensorBoardLogger:
    """A logger of one run, which leaves its files in ``save_dir``."""
    from pytorch_lightning.loggers import TensorBoardLogger

    check_tensorboard()
    return TensorBoardLogger(save_dir, name="", version="", default_hp_metric=False)
