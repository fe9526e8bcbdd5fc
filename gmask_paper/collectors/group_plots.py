"""Figure 1: individual attributions, word groups and weighted attributions of one pair."""

from __future__ import annotations

from pathlib import Path

from gmask_paper.collector import Collector, ExplainerName, columns_of, damaged
from gmask_paper.group_figures import draw_groups
from gmask_paper.paper_numbers import title
from gmask_paper.run_query import RunQuery
from gmask_pl.escaping import markdown, markdown_note
from gmask_pl.files import write_text
from gmask_pl.settings import checked
from gmask_pl.types import UserError


class GroupFigure(Collector):
    """One picture for each pair, model and dataset: ``individual`` and ``grouped`` explainer."""

    @checked
    def __init__(self, *, caption: str, individual: ExplainerName, grouped: ExplainerName) -> None:
        self.caption, self.individual, self.grouped = caption, individual, grouped

    def __call__(self, query: RunQuery) -> list[Path]:
        files: list[Path] = []
        lines = [f"# {markdown(self.caption)}", ""]
        for column in columns_of(query):
            where = f"{title('models', column.model)}, {title('datasets', column.dataset)}"
            both = [column.of(name) for name in (self.individual, self.grouped)]
            if not all(both):
                cell = {"model": [column.model], "dataset": [column.dataset]}
                told = f"{where}: no run yet: `{query.command('explain', **cell)}`"
                lines.append(f"- {markdown_note(told)}")
                continue
            alone, together = (entries[0].runs[0] for entries in both)
            for number, (id, grouped) in enumerate(together.explanations.items(), start=1):
                if id in both[0][0].without:
                    continue
                if grouped.groups is None:
                    raise UserError(f"{together.where}: {self.grouped} found no groups")
                name = f"{query.name}_{column.dataset}_{column.model}_{number}"
                heading = f"{where}: predicted {together.labels[grouped.prediction]}"
                files += draw_groups(query.folder / name, heading, alone.explanations[id], grouped)
                told = markdown(f"{where}, pair {id}")
                lines.append(f"- {told}: ![{markdown(heading)}]({name}.png)")
        lines += [f"- {markdown_note(note)}" for note in damaged(query)]
        report = write_text(query.folder / f"{query.name}.md", "\n".join(lines) + "\n")
        return [*files, report]
