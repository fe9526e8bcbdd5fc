"""Several explanations, in the order of their pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, SupportsIndex, overload

from gmask_pl.explanation import Explanation, pandas_for, top_counted
from gmask_pl.types import UserError

SHOWN = 20  # in a notebook


class Explanations(list[Explanation]):
    """A list of explanations of one model, which is also a table, a page and a file.

    >>> from gmask_pl import PairExplainer
    >>> def shared(pairs):
    ...     return [float(len(set(a.split()) & set(b.split()))) for a, b in pairs]
    >>> explain = PairExplainer(shared, method="occlusion")
    >>> found = explain.many([("two dogs run", "dogs sleep"), ("a cat", "a dog")])
    >>> found.to_frame()[["value", "top_words"]].to_dict("list")
    {'value': [1.0, 1.0], 'top_words': ['dogs dogs', 'a a']}
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the model. Raises UserError where the explanations are of several models.

        >>> from gmask_pl import Explanations, PairExplainer
        >>> explain = PairExplainer(lambda pairs: [[0.2, 0.8] for _ in pairs], labels=["no", "yes"])
        >>> explain.many([("a dog", "a cat")]).labels
        ('no', 'yes')
        """
        found = list(dict.fromkeys(one.labels for one in self))
        if len(found) > 1:
            raise UserError(
                f"these explanations have the labels {list(found[0])} and {list(found[1])}: keep "
                "those of one model together"
            )
        return found[0] if found else ()

    @overload
    def __getitem__(self, place: SupportsIndex) -> Explanation: ...

    @overload
    def __getitem__(self, place: slice) -> Explanations: ...

    def __getitem__(self, place: SupportsIndex | slice) -> Explanation | Explanations:
        found = super().__getitem__(place)
        return Explanations(found) if isinstance(found, list) else found

    def __add__(self, others: Iterable[Explanation]) -> Explanations:  # type: ignore[override]
        return Explanations([*self, *others])

    def to_frame(self, *, top: int = 4) -> Any:
        """A pandas DataFrame with a row for every pair.

        top: how many words with the highest positive scores ``top_words`` has. Raises UserError
        where pandas is missing.
        """
        rows = [
            {
                "id": e.id,
                "text1": e.text1 or " ".join(e.words1),
                "text2": e.text2 or " ".join(e.words2),
                "label": None if e.label is None else e.labels[e.label] if e.labels else e.label,
                "predicted": e.predicted,
                "question": e.question,
                "value": e.value,
                "top_words": " ".join(word for word, _ in top_counted(e, top)),
                "top_group": " ".join(e.top_group),
                "enough": e.enough,
                "needed": e.needed,
                "evaluations": e.evaluations,
                "seconds": e.seconds,
                "warnings": "; ".join(e.warnings),
            }
            for e in self
        ]
        return pandas_for("to_frame").DataFrame(rows)

    def to_parquet(self, path: str | Path) -> Path:
        """Writes a file as a run leaves it, which `read_explanations` reads back.

        >>> import tempfile
        >>> from gmask_pl import PairExplainer, read_explanations
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain.many([("the dog", "a cat"), ("a dog", "a bird")])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = found.to_parquet(f"{folder}/dogs.parquet")
        ...     list(read_explanations(path)) == found
        True
        """
        from gmask_pl.files import check_name
        from gmask_pl.store import write_explanations  # takes long to import

        path = Path(path)
        check_name(path)
        write_explanations(path, self, self.labels)
        return path

    def save(self, path: str | Path) -> Path:
        """Writes a page (``.html``) of all of them. Raises UserError for another kind of file.

        >>> import tempfile
        >>> from gmask_pl import PairExplainer
        >>> explain = PairExplainer(lambda p: [float("dog" in a) for a, _ in p], method="occlusion")
        >>> found = explain.many([("the dog", "a cat"), ("a dog", "a bird")])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(f"{folder}/dogs.html").name
        'dogs.html'
        """
        from gmask_pl.drawing.saving import PAGES, save_page

        path = Path(path)
        if path.suffix.lower() not in PAGES:
            raise UserError(f"{path}: save a list as .html, or one explanation as .svg or .png")
        return save_page(self, path, title=f"{len(self)} explanations", labels=self.labels)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first of them."""
        from gmask_pl.drawing.html import fragment

        more = f"<p>The first {SHOWN} of {len(self):,}.</p>" if len(self) > SHOWN else ""
        return fragment(self[:SHOWN]) + more

    def __repr__(self) -> str:
        lines = ",\n ".join(map(repr, self))
        return f"[{lines}]"
