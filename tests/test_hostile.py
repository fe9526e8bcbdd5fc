"""Any text goes from a file to a page, or ends in one message: never a crash, never markup.

`pytest tests/test_hostile.py --hypothesis-profile=fuzz --hypothesis-show-statistics` runs 5,500
cases of one to three pairs, almost 11,000 pairs.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from conftest import CONF, LABELS, UNNAMED, explainer_of, kept, untrained
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from gmask_pl.data.pairs import Pairs
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explanation import Explanation
from gmask_pl.loops import ExplainLoop, ScoreLoop
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.report.logged import explanation_row
from gmask_pl.pipeline.report.page import write_page
from gmask_pl.pipeline.scoring import Metrics, configured_metrics
from gmask_pl.store import read_explanations, write_explanations
from gmask_pl.types import PairExample, PairScore, UserError

PIECES = (
    *("the cat sat", "Don't", "2.5", "U.S.", "running", "?!?!", "...", "'", "-", "a", "I"),
    *("👩‍👩‍👧‍👦", "🏴\U000e0067\U000e007f", "e\u0301\u0302\u0327", "Z͑ͫ̓a̴͘l͠g̵o", "ǅ", "ß", "İ", "ﬁ"),
    *("שָׁלוֹם", "مرحبا", "\u202eevil\u202c", "\u2066x\u2069", "नमस्ते", "我每天", "ก็", "한국"),
    *("\u200b", "\u200d", "\ufeff", "\u00ad", "\u2060", "\u00a0", "\u2028", "\u3000", "\x85"),
    *(
        "\x00",
        "\x07",
        "\x08",
        "\x1b[31m",
        "\x7f",
        "\r",
        "\n",
        "\t",
        "\v",
        "\x1c",
        "\ufffe",
        "\uffff",
    ),
    *("\ud800", "\udfff", "\udc80", "a\ud83d", "\U0010ffff", "\ue000"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table>", "&lt;", "&#0;"),
    *("<!--", "-->", "<![CDATA[", "]]>", '" onmouseover="x', "javascript:x", "<style>*{}</style>"),
    *(
        '=HYPERLINK("http://x","y")',
        "+1+1",
        "@SUM(A1)",
        "=cmd|' /C calc'!A0",
        "%0A",
        "{{7*7}}",
        "{% x %}",
    ),
    *("\\input{x}", "$\\%#&_{}~^", "| a | b |", "`x`", "**b**", "[l](http://x)", "${dataset.path}"),
    *("[SEP]", "[CLS]", "[PAD]", "[MASK]", "[UNK]", "<pad>", "<unk>", "##ing", "<s>", "</s>"),
)
EXPLAINERS: dict[str, tuple[str, ...]] = {
    "attention": (),
    "gmask": ("explainer.k=3", "explainer.fit.epochs=5", "explainer.word_filter.epochs=1"),
    "gmask_two_sided": (
        "explainer.k=3",
        "explainer.fit.epochs=5",
        "explainer.word_filter.samples_per_word=4",
    ),
    "gradient_x_input": (),
    "imask": ("explainer.epochs=1",),
    "integrated_gradients": ("explainer.n_steps=3",),
    "interaction": ("explainer.k=3",),
    "kernel_shap": ("explainer.samples=20",),
    "lime": ("explainer.samples=20",),
    "occlusion": (),
    "oracle": ("explainer.beam=1",),
    "paired_ridge": ("explainer.samples_per_word=4",),
    "random": (),
    "shapley": ("explainer.k=3",),
}
METRICS = ("aopc", "naopc", "post_hoc_accuracy", "degradation", "comprehensiveness", "sufficiency")
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map(" ".join),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
    st.text(st.characters(), max_size=30),
    st.integers(100, 400).map("x".__mul__),
    st.lists(st.sampled_from(PIECES[:11]), min_size=60, max_size=120).map(" ".join),
)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3)


class Structure(HTMLParser):
    """The elements and attributes of a page, without its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment",))

    def handle_decl(self, decl: str) -> None:
        self.found.append((decl,))


@cache
def model(kind: str) -> PairClassifier:
    return untrained(kind)


def read(pairs: list[tuple[str, str]], *, clean: bool) -> list[PairExample]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        lines = (json.dumps({"text1": one, "text2": two}) for one, two in pairs)
        path.write_text("\n".join(lines) + "\n", "ascii")
        return Pairs(name="pairs", path=str(path), clean=clean, labels=LABELS, **UNNAMED).load(
            "test"
        )


@cache
def explainer(name: str, removal: str) -> Explainer:
    found: Explainer = explainer_of(name, f"explainer.removal={removal}", *EXPLAINERS[name])
    return found


@cache
def metrics(removal: str) -> Metrics:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = f"metric=[{','.join(METRICS)}]"
        searched = ("metric.naopc.cache=null", "metric.naopc.beam=1", "metric.naopc.exact_words=3")
        searched += ("metric.naopc.max_removed=3",)
        return configured_metrics(
            compose("explain", [chosen, f"metric.removal={removal}", *searched])
        )


def explained(
    classifier: PairClassifier, examples: list[PairExample], unit: str, removal: str, name: str
) -> list[Explanation]:
    """Explained, and scored by every metric that asks the model."""
    batch = classifier.encoder(unit)(examples)
    whole = MaskedModel(classifier, batch, removal, token_budget=4096)
    untouched = classifier.read(batch).softmax(-1)
    assert torch.allclose(whole.probabilities, untouched, atol=1e-4)
    found: dict[int, list[Explanation]] = {}
    rows: dict[int, list[PairScore]] = {}
    own = explainer(name, removal)
    ExplainLoop(classifier, own, [0], kept(found), token_budget=4096).predict_step(batch, 0)
    asked = metrics(removal).asked
    loop = ScoreLoop(classifier, asked, [0], found.__getitem__, kept(rows), token_budget=4096)
    loop.predict_step(batch, 0)
    assert all(math.isfinite(number) for score in rows[0] for number in score.row)
    return found[0]


def check(
    pairs: list[tuple[str, str]], *, clean: bool, kind: str, unit: str, removal: str, name: str
) -> None:
    try:
        examples = read(pairs, clean=clean)
    except UserError as error:
        event(f"refused: {len(pairs)} pairs")
        assert re.search(r"no pair: .*pairs\.jsonl:\d+: text [12] is empty", str(error)), error
        assert str(error).isprintable()
        return
    event(f"explained: {len(examples)} of {len(pairs)} pairs")
    for e in examples:
        assert e.words1
        assert e.words2
        assert all(word and word == word.strip() for word in e.words1 + e.words2)
    found = explained(model(kind), examples, unit, removal, name)
    for e in found:
        assert len(e.scores) == len(e.words1) + len(e.words2)
        assert all(map(torch.isfinite, torch.tensor(e.scores)))
        assert sum(e.probabilities) == pytest.approx(1, abs=1e-5)
    names: dict[str, str] = {}  # the page counts words that are the same but for their case

    def named(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.setdefault(word.lower(), f"w{len(names)}") for word in words)

    harmless = [replace(e, id="1", words1=named(e.words1), words2=named(e.words2)) for e in found]
    with tempfile.TemporaryDirectory() as folder:
        write_explanations(Path(folder) / "e.parquet", found, LABELS)
        assert list(read_explanations(Path(folder) / "e.parquet")) == found
        pages = [
            write_page(
                Path(folder) / "report.html",
                title="t",
                settings={},
                metrics={},
                explanations=shown,
                labels=LABELS,
                max_pairs=5,
            ).read_text("utf-8")
            for shown in (found, harmless)
        ]
    assert Structure(pages[0]).found == Structure(pages[1]).found
    for e in found:
        row = json.dumps(explanation_row(e, LABELS), ensure_ascii=False)
        row.encode("utf-8")


@given(
    pairs=PAIRS,
    clean=st.booleans(),
    kind=st.sampled_from(("dattn", "bert_tiny")),
    unit=st.sampled_from(("word", "token")),
    removal=st.sampled_from(("pad", "mask", "zero", "delete")),
    name=st.sampled_from(sorted(EXPLAINERS)),
)
@example([("\x1b", "\x1b")], False, "bert_tiny", "token", "pad", "gmask")
@example([("\x07", "\x07")], False, "bert_tiny", "word", "pad", "gmask_two_sided")
@example([("\x07", "\x07"), ("a dog", "sat")], False, "bert_tiny", "word", "pad", "paired_ridge")
@example([("\x1b", "a dog"), ("a", "\x1b")], False, "bert_tiny", "word", "mask", "shapley")
@example([("[SEP] [CLS] [PAD]", "[MASK]")], False, "bert_tiny", "word", "pad", "occlusion")
@example([("\ud800 lone", "surrogates \udfff")], False, "dattn", "word", "pad", "occlusion")
@example([("the cat " * 5000, "x" * 5000)], False, "bert_tiny", "word", "pad", "occlusion")
@example([("x" * 5000, "a dog sat")], True, "dattn", "word", "mask", "occlusion")
@settings(suppress_health_check=list(HealthCheck))
def test_any_pair_is_explained_and_shown_or_refused_in_one_message(
    pairs: list[tuple[str, str]], clean: bool, kind: str, unit: str, removal: str, name: str
) -> None:
    if name in ("gradient_x_input", "integrated_gradients"):
        removal = "zero"  # of the embedding
    elif explainer(name, removal).differentiates_masks and removal == "delete":
        removal = "pad"  # deletion has no gradient
    check(pairs, clean=clean, kind=kind, unit=unit, removal=removal, name=name)
