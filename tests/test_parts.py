"""Models that read a pair in two parts, against plain loops over their own calls."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TEXTS, untrained
from sentence_transformers import CrossEncoder, SentenceTransformer
from test_question import head

from gmask_pl.api import NotExplained, PairExplainer, Truncated
from gmask_pl.data.in_memory import Given, texts_of
from gmask_pl.explainers.methods import METHODS
from gmask_pl.explainers.shapley import Shapley
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.function import FunctionClassifier
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.parts import BiEncoder, Compared, compared_example
from gmask_pl.pipeline.own_things import implied
from gmask_pl.types import PairExample, UserError

PAIR = ("two dogs run", "dogs run fast")
QUERY, A, B = "two dogs run", "dogs run fast", "she sleeps here"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    """The body of a small BERT, whose tokens are averaged."""
    folder = tmp_path_factory.mktemp("embedder")
    model = untrained("bert_tiny")
    model.network.bert.save_pretrained(folder)  # type: ignore[operator, union-attr]
    model.tokenizer.save_pretrained(folder)  # type: ignore[operator, union-attr]
    return SentenceTransformer(str(folder), device="cpu").eval()


def cosine(embedder: SentenceTransformer, one: str, two: str) -> float:
    return float(embedder.similarity(embedder.encode([one]), embedder.encode([two])))


def kept(text: str, keep: tuple[bool, ...]) -> str:
    return " ".join(itertools.compress(text.split(), keep))


def example_of(one: str, two: str, labels: tuple[str, ...] = ("a", "b")) -> PairExample:
    (example,) = Given(texts_of([(one, two)]), labels, clean=False).pairs
    return example


def test_an_embedder_is_asked_about_each_masked_text_once(embedder: SentenceTransformer) -> None:
    """Every mask has the cosine of the texts that are left; 2^3 + 2^3 texts are encoded."""
    model = BiEncoder(embedder)
    masked = MaskedModel(
        model, model.encoder("word")([example_of(*PAIR)]), "delete", token_budget=512
    )
    keeps = list(itertools.product([False, True], repeat=6))
    found = masked.logits(torch.tensor([keeps]))[0, :, 0].tolist()
    texts = [(kept(PAIR[0], keep[:3]), kept(PAIR[1], keep[3:])) for keep in keeps]
    assert found == pytest.approx([cosine(embedder, *pair) for pair in texts], abs=1e-5)
    assert model.asked <= 2**3 + 2**3


@pytest.mark.parametrize("method", ["occlusion", "lime", "kernel_shap", "gmask", "gmask_two_sided"])
def test_an_embedder_is_explained(embedder: SentenceTransformer, method: str) -> None:
    explain = PairExplainer(embedder, method=method, budget=300)
    for pair, found in zip(TEXTS, explain.many(TEXTS), strict=True):
        assert found.value == pytest.approx(cosine(embedder, *pair), abs=1e-5)
        assert (found.question, found.probabilities) == ("cosine similarity", ())
        assert found.prediction == (found.value >= 0.5)
    verdict = explain.check()
    assert [name for name, trial in verdict.removals.items() if trial.ok] == [
        "pad",
        "mask",
        "delete",
    ]


@pytest.mark.parametrize("kept", [False, True])
def test_other_weights_give_other_answers(
    embedder: SentenceTransformer, tmp_path: Path, kept: bool
) -> None:
    """Encodings are kept within a batch, and answers on disk for the weights that gave them."""
    own = copy.deepcopy(embedder)
    explain = PairExplainer(own, method="occlusion", cache=tmp_path if kept else None)
    before = explain(*PAIR)
    with torch.no_grad():
        for weight in own.parameters():
            weight.mul_(1.3)
    after = explain(*PAIR)
    assert after.value == pytest.approx(cosine(own, *PAIR), abs=1e-5)
    assert after.value != pytest.approx(before.value, abs=1e-4)
    assert explain(*PAIR).scores == pytest.approx(after.scores, abs=1e-6)
    compared = explain.compare(QUERY, A, B).value
    assert compared == pytest.approx(cosine(own, QUERY, A) - cosine(own, QUERY, B), abs=1e-5)
    with torch.no_grad():
        for weight in own.parameters():
            weight.mul_(0.7)
    again = explain.compare(QUERY, A, B).value
    assert again == pytest.approx(cosine(own, QUERY, A) - cosine(own, QUERY, B), abs=1e-5)


MODELS: dict[str, tuple[Any, str | None, Any]] = {
    "score": (lambda: head(1, problem_type="regression"), None, lambda z: z[0]),
    "one logit": (lambda: head(1), None, lambda z: z[1]),
    "two classes": (lambda: head(2), None, lambda z: z[1] - z[0]),
    "three": (lambda: head(3), "L2", lambda z: (z.softmax(0)[2] / (1 - z.softmax(0)[2])).log()),
    "labels": (
        lambda: head(3, problem_type="multi_label_classification"),
        "L1",
        lambda z: z[1],
    ),
    "words": (lambda: untrained("dattn"), "neutral", lambda z: z[1] - z[[0, 2]].logsumexp(0)),
}


def number(model: PairClassifier, read: Any, removal: str, pair: PairExample, keep: Any) -> float:
    """Of the model's own call on a pair without some words."""
    batch = model.encoder("word")([pair])
    owners = batch.word_of_token[0]
    gone = (owners >= 0) & ~torch.tensor(keep)[owners.clamp_min(0)]
    with torch.no_grad():
        return float(read(model.direct(pair, removal, gone).float()))


@pytest.mark.parametrize("removal", ["delete", "pad"])
@pytest.mark.parametrize("kind", MODELS)
def test_two_documents_are_the_difference_of_their_scores(kind: str, removal: str) -> None:
    make, target, read = MODELS[kind]
    model = make()
    if kind == "words" and removal == "pad":
        model.usual_removal = "pad"
    compared = Compared(model, target)
    a, b = example_of(QUERY, A), example_of(QUERY, B)
    batch = compared.encoder("word")([compared_example(a, b)])
    masked = MaskedModel(compared, batch, removal, question=compared.question(), token_budget=2048)
    n = batch.word_valid.shape[1]
    assert n == 9
    drawn = torch.rand(40, n, generator=torch.Generator().manual_seed(0)) < 0.6
    # Without any word the plain call of the model of words has nothing to read.
    drawn[:, 0] |= kind == "words"
    keeps = [*drawn.tolist(), [True] * n, *([] if kind == "words" else [[False] * n])]
    found = masked.values(torch.tensor([keeps]))[0].tolist()
    expected = [
        number(model, read, removal, a, keep[:6])
        - number(model, read, removal, b, keep[:3] + keep[6:])
        for keep in keeps
    ]
    assert found == pytest.approx(expected, abs=1e-4)


def test_each_document_is_asked_about_by_itself() -> None:
    """A table of 3 words of each text: 2^6 masks of query and document each, not 2^9."""
    compared = Compared(head(1))
    batch = compared.encoder("word")([compared_example(example_of(QUERY, A), example_of(QUERY, B))])
    masked = MaskedModel(compared, batch, "delete", question=compared.question(), token_budget=2048)
    Shapley(k=9, context="keep", word_filter=METHODS["random"]())(masked)
    assert int(masked.evaluations) >= 2**9
    assert compared.asked <= 2 * 2**6


@pytest.mark.parametrize("kind", ["function", "embedder"])
def test_any_model_compares(kind: str, embedder: SentenceTransformer) -> None:
    def shared(pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len({*a.split()} & {*b.split()})) for a, b in pairs]

    model = FunctionClassifier(shared) if kind == "function" else embedder
    explain = PairExplainer(model, method="occlusion", removal="delete")
    found = explain.compare(QUERY, A, B)

    def score(query: str, text: str) -> float:
        return shared([(query, text)])[0] if kind == "function" else cosine(embedder, query, text)

    whole = score(QUERY, A) - score(QUERY, B)
    assert found.value == pytest.approx(whole, abs=1e-5)
    assert found.words2 == (*A.split(), *B.split())
    by_hand = []
    for text in (QUERY, A, B):
        words = text.split()
        for i in range(len(words)):
            left = " ".join(words[:i] + words[i + 1 :])
            q, one, two = (left if text is own else own for own in (QUERY, A, B))
            by_hand.append(whole - (score(q, one) - score(q, two)))
    assert list(found.scores) == pytest.approx(by_hand, abs=1e-5)


def test_what_compares_and_what_does_not_is_told() -> None:
    three = PairExplainer(head(3), method="lime", budget=50)
    with pytest.raises(UserError, match="target: name one of L0, L1, L2, by which A and B compare"):
        three.compare(QUERY, A, B)
    with pytest.raises(UserError, match="target=L7: the model's labels are L0, L1, L2"):
        three.compare(QUERY, A, B, target="L7")
    assert three.compare(QUERY, A, B, target="L1").question == "score of A less score of B"
    with pytest.raises(UserError, match="document 2: text 2 is empty"):
        three.compare(QUERY, A, " ", target="L1")
    with pytest.raises(UserError, match=r"text 2 is 3 \(int\)"):
        three.compare(QUERY, 3, A, target="L1")  # type: ignore[arg-type]
    with pytest.warns(Truncated, match="a document is longer than the model reads"):
        three.compare(QUERY, " ".join([A] * 40), B, target="L1")
    gradients = PairExplainer(head(2), method="imask_released")
    with pytest.raises(UserError, match="Compared has no gradients"):
        gradients.compare(QUERY, A, B)
    function = PairExplainer(lambda pairs: [len(a + b) for a, b in pairs], method="lime", budget=9)
    assert function.compare(QUERY, A, B).evaluations <= 9
    with pytest.raises(NotExplained, match="budget=5"):
        PairExplainer(head(2), method="occlusion", budget=5).compare(QUERY, A, B)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_cross_encoder_is_its_network(outputs: int, tmp_path: Path) -> None:
    """With the activation that it answers by."""
    model = head(outputs)
    model.save(tmp_path)
    encoder = CrossEncoder(str(tmp_path), device="cpu")
    explain = PairExplainer(encoder, method="occlusion")
    found = explain.many(TEXTS)
    direct = PairExplainer(model.network, model.tokenizer, method="occlusion")
    for pair, own, other in zip(TEXTS, found, direct.many(TEXTS), strict=True):
        answer = encoder.predict([pair], convert_to_tensor=True)[0]
        if outputs == 1:
            assert own.probabilities[1] == pytest.approx(float(answer), abs=1e-5)
        else:
            assert own.probabilities == pytest.approx(answer.softmax(-1).tolist(), abs=1e-5)
        assert own.scores == pytest.approx(other.scores, abs=1e-5)
    if outputs == 1:
        encoder.activation_fn = torch.nn.Identity()
        scored = PairExplainer(encoder, method="occlusion")(*TEXTS[0])
        assert scored.value == pytest.approx(float(encoder.predict([TEXTS[0]])[0]), abs=1e-5)
        encoder.activation_fn = torch.nn.Tanh()
        with pytest.raises(
            UserError, match="goes through Tanh, which is not known here: say what it"
        ):
            PairExplainer(encoder, method="occlusion")
        said = PairExplainer(encoder, method="occlusion", outputs="score")(*TEXTS[0])
        assert said.value == pytest.approx(scored.value)
        tanh = {"activation_fn": "torch.nn.modules.activation.Tanh"}
        with pytest.raises(UserError, match="goes through Tanh"):
            head(1, sentence_transformers=tanh)


def test_an_embedder_that_is_read_otherwise_is_refused(embedder: SentenceTransformer) -> None:
    with pytest.raises(UserError, match="labels: an embedder has its own"):
        PairExplainer(embedder, labels=["a", "b"])
    with pytest.raises(UserError, match="unit=token: of a bi-encoder words are explained"):
        PairExplainer(embedder, unit="token")
    with pytest.raises(UserError, match="has no gradients in masks"):
        PairExplainer(embedder, method="gradient_x_input")
    embedder.default_prompt_name = "query"
    try:
        with pytest.raises(UserError, match="puts a prompt before every text"):
            PairExplainer(embedder)
    finally:
        embedder.default_prompt_name = None


@pytest.fixture(scope="module")
def stored(embedder: SentenceTransformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedder as sentence-transformers saves it."""
    folder = tmp_path_factory.mktemp("stored")
    embedder.save_pretrained(str(folder), create_model_card=False)
    return folder


def test_an_embedder_is_read_from_its_folder(embedder: SentenceTransformer, stored: Path) -> None:
    ours = PairExplainer.from_pretrained(stored, method="occlusion")(*PAIR)
    same = PairExplainer(embedder, method="occlusion")(*PAIR)
    assert ours.question == "cosine similarity"
    assert ours.scores == pytest.approx(same.scores, abs=1e-6)
    assert implied(["dataset=pairs", f"weights={stored}"]) == ["model=embedder"]
    named = BiEncoder.from_weights(stored, labels=("unlike", "alike"))
    assert named.labels == ("unlike", "alike")
    with pytest.raises(UserError, match="a similarity decides between two labels"):
        BiEncoder.from_weights(stored, labels=("a", "b", "c"))
    with pytest.raises(UserError, match="max_length: an embedder has its own"):
        PairExplainer.from_pretrained(stored, max_length=10)


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        ("modules.json", ("sentence_transformers.", "evil."), "code of its own"),
        ("modules.json", ("1_Pooling", "../1_Pooling"), "outside of it"),
        (
            "config_sentence_transformers.json",
            ('"SentenceTransformer"', '"SparseEncoder"'),
            "it holds a SparseEncoder of sentence-transformers, which is not known",
        ),
        ("modules.json", ("[", "{"), "the files of a model are there"),
    ],
)
def test_a_folder_that_brings_code_is_refused(
    stored: Path, tmp_path: Path, file: str, change: tuple[str, str], why: str
) -> None:
    folder = shutil.copytree(stored, tmp_path / "model")
    text = (folder / file).read_text("utf-8")
    assert change[0] in text
    (folder / file).write_text(text.replace(*change), "utf-8")
    with pytest.raises(UserError, match=why):
        PairExplainer.from_pretrained(folder)


def test_a_pickle_of_a_module_is_refused(stored: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stored, tmp_path / "model")
    (folder / "1_Pooling" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"1_Pooling/pytorch_model.bin is a pickle"):
        PairExplainer.from_pretrained(folder)
    shutil.copy(folder / "model.safetensors", folder / "1_Pooling")
    PairExplainer.from_pretrained(folder, method="random")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no safetensors model could be loaded"):
        PairExplainer.from_pretrained(folder)


def test_a_stored_re_ranker_says_what_its_output_means(tmp_path: Path) -> None:
    """sentence-transformers keeps the activation beside config.json, not in it."""
    network = head(1)
    for name, activation in (("logit", torch.nn.Sigmoid()), ("score", torch.nn.Identity())):
        folder = tmp_path / name
        network.network.save_pretrained(folder)
        network.tokenizer.save_pretrained(folder)
        encoder = CrossEncoder(str(folder), device="cpu", activation_fn=activation)
        encoder.save_pretrained(str(folder), create_model_card=False)
        found = PairExplainer.from_pretrained(folder, method="occlusion")(*PAIR)
        assert bool(found.probabilities) == (name == "logit")
        expected = float(encoder.predict([PAIR])[0])
        value = found.value if name == "score" else found.probabilities[1]
        assert value == pytest.approx(expected, abs=1e-5)


def test_an_embedding_that_is_cut_is_asked_as_it_is_cut(embedder: SentenceTransformer) -> None:
    cut = copy.deepcopy(embedder)
    cut.truncate_dim = 8
    found = PairExplainer(cut, method="occlusion")(*PAIR)
    assert found.value == pytest.approx(cosine(cut, *PAIR), abs=1e-6)
    assert found.value != pytest.approx(cosine(embedder, *PAIR), abs=1e-3)


def test_a_pickle_below_a_module_is_refused(stored: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stored, tmp_path / "model")
    deep = folder / "1_Pooling" / "deep"
    deep.mkdir()
    (deep / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"deep/pytorch_model.bin is a pickle"):
        PairExplainer.from_pretrained(folder)
    (deep / "pytorch_model.bin").unlink()
    index = {"weight_map": {"x": "../../outside.bin"}}
    (deep / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(UserError, match="names '../../outside.bin'"):
        PairExplainer.from_pretrained(folder)
