"""Figure 1: individual attributions, word groups and weighted attributions of one pair."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gmask_paper.collector import Collector, ExplainerName, columns_of
from gmask_paper.curve_figures import save
from gmask_paper.run_query import RunQuery
from gmask_pl.drawing.cards import strengths
from gmask_pl.escaping import markdown, markdown_note, visible
from gmask_pl.explanation import Explanation
from gmask_pl.files import write_text
from gmask_pl.pipeline.report.figures import INK, STYLE
from gmask_pl.settings import checked
from gmask_pl.types import UserError

ORANGE, PURPLE = "#d9480f", "#5b3fa8"
LEFT, WORDS, GROUPS, RIGHT = 0.0, 0.9, 4.6, 6.6  # x of the three columns, and of their words
BLOCK = 0.7


class GroupFigure(Collector):
    """One picture for each pair, model and dataset: ``individual`` and ``grouped`` explainer."""

    @checked
    def __init__(self, *, caption: str, individual: ExplainerName, grouped: ExplainerName) -> None:
        self.caption, self.individual, self.grouped = caption, individual, grouped

    def __call__(self, query: RunQuery) -> list[Path]:
        files: list[Path] = []
        lines = [f"# {markdown(self.caption)}", ""]
        for column in columns_of(query):
            both = [column.of(name) for name in (self.individual, self.grouped)]
            if not all(both):
                cell = {"model": [column.model], "dataset": [column.dataset]}
                told = f"{column.where}: no run yet: `{query.command('explain', cell)}`"
                lines.append(f"- {markdown_note(told)}")
                continue
            alone, together = (entries[0].runs[0] for entries in both)
            for number, (id, grouped) in enumerate(together.explanations.items(), start=1):
                if id in both[0][0].without:
                    continue
                if grouped.groups is None:
                    raise UserError(f"{together.where}: {self.grouped} found no groups")
                stem = query.stem(f"_{column.dataset}_{column.model}_{number}")
                heading = f"{column.where}: predicted {together.labels[grouped.prediction]}"
                files += draw_groups(stem, heading, alone.explanations[id], grouped)
                told = markdown(f"{column.where}, pair {id}")
                lines.append(f"- {told}: ![{markdown(heading)}]({stem.name}.png)")
        lines += [f"- {markdown_note(note)}" for note in query.left_out]
        report = write_text(query.stem(".md"), "\n".join(lines) + "\n")
        return [*files, report]


def draw_groups(
    stem: Path, heading: str, individual: Explanation, grouped: Explanation
) -> list[Path]:
    """Draw individual attributions, groups and weighted attributions (Eq. 8) into two files.

    Blocks: the more colour, the more important. A line's saturation is phi, the probability that
    the word belongs to the group; words without lines were not among the candidates.
    """
    assert grouped.groups is not None
    words = tuple(map(visible, grouped.words))
    gap = 0.6  # between the sides
    y = [-(i + (gap if i >= len(grouped.words1) else 0)) for i in range(len(words))]
    height = 0.27 * (len(words) + 3)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": stem.name}):
        figure = Figure(figsize=(7.6, max(3.0, height)), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_title(visible(heading), fontsize=11, loc="left")
        axes.set_xlim(-0.3, 9.6)
        axes.set_ylim(y[-1] - 1, 2)
        headings = {LEFT: "Indiv. Attr.", GROUPS - 0.4: "Groups", RIGHT: "Weighted Attr."}
        for x, text in headings.items():
            axes.text(x, 1.2, text, fontsize=10, weight="bold", color=INK)
        _attributions(axes, LEFT, y, words, strengths(individual.scores))
        _groups(axes, y, grouped, max(map(len, words)))
        _attributions(axes, RIGHT, y, words, strengths(grouped.scores))
        return save(figure, stem)


def _attributions(
    axes: Axes, x: float, y: list[float], words: tuple[str, ...], strength: list[float]
) -> None:
    for place, word, share in zip(y, words, strength, strict=True):
        _block(axes, x, place, share)
        axes.text(x + WORDS, place, word, va="center", fontsize=9.5)


def _groups(axes: Axes, y: list[float], grouped: Explanation, longest: int) -> None:
    groups = grouped.groups
    assert groups is not None
    names = groups.names
    places = [y[0] - (i + 0.5) * (y[0] - y[-1]) / len(names) for i in range(len(names))]
    largest = max(groups.psi, default=1.0)
    start = LEFT + WORDS + 0.15 + 0.12 * longest
    for place, (group, name) in zip(places, names.items(), strict=True):
        for word, phi in zip(groups.candidates, groups.phi, strict=True):
            x, alpha = [start, GROUPS - 0.05], min(1.0, phi[group])
            axes.plot(x, [y[word], place], color=PURPLE, alpha=alpha, linewidth=1.6)
        _block(axes, GROUPS, place, groups.psi[group] / largest, size=0.9)
        told = f"{name}  ψ {groups.psi[group]:.2f}"
        axes.text(GROUPS + 0.8, place, told, va="center", fontsize=9)


def _block(axes: Axes, x: float, y: float, share: float, size: float = 0.78) -> None:
    color = tuple(1 - share * (1 - part) for part in to_rgb(ORANGE))
    corner = (x, y - size / 2)
    axes.add_patch(Rectangle(corner, BLOCK, size, facecolor=color, edgecolor=INK, linewidth=0.5))
