"""Kinds of models that are explained, each against a loop over its own plain call.

    python -m benchmarks.kinds

prints, of a small random model of each kind, the largest difference of what is asked for over 64
random masks of a pair, and what an explanation of that pair by gmask_two_sided costs.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from gmask_pl.api import PairExplainer
from gmask_pl.data.in_memory import Given, texts_of
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.bert_tiny import TinyBert
from gmask_pl.models.function import FunctionClassifier
from gmask_pl.models.judge import JudgeClassifier
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.parts import BiEncoder, Compared, compared_example
from gmask_pl.types import BETWEEN, PairExample

PAIR = ("a man plays the guitar on a stage", "a man makes music for many people")
OTHER = "two dogs run through the snow"
MASKS = 64
ACCURACY = 1e-5


def body() -> TinyBert:
    """A small random BERT with opinions, whose tokenizer all kinds use."""
    torch.manual_seed(0)
    words = Counter(word for text in (*PAIR, OTHER) for word in text.split())
    return TinyBert.from_data(
        labels=("no", "maybe", "yes"), word_counts=words, vocabulary_size=80, initializer_range=0.5
    ).eval()


def head(outputs: int, **config: Any) -> BertPairClassifier:
    made = body()
    network = copy.deepcopy(made.network)
    network.classifier = nn.Linear(network.config.hidden_size, outputs)
    network.num_labels = outputs  # type: ignore[assignment]
    network.config.id2label = {i: f"label {i}" for i in range(outputs)}
    for key, value in ({"problem_type": None} | config).items():
        setattr(network.config, key, value)
    return BertPairClassifier.from_network(network.eval(), made.tokenizer)


def another(network: Callable[[Any], nn.Module], config: Callable[..., Any]) -> BertPairClassifier:
    """A network of another family, with three labels."""
    tokenizer = body().tokenizer
    ids: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "bos_token_id": tokenizer.cls_token_id,
    }
    made = network(config(vocab_size=len(tokenizer), num_labels=3, init_std=0.5, **ids)).eval()
    return BertPairClassifier.from_network(made, tokenizer)  # type: ignore[arg-type]


def bart(**settings: Any) -> BartConfig:
    sizes: dict[str, Any] = {"encoder_layers": 2, "decoder_layers": 2, "d_model": 32}
    heads: dict[str, Any] = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return BartConfig(**settings, **sizes, **heads, encoder_ffn_dim=64, decoder_ffn_dim=64)


def gpt2(*, init_std: float, **settings: Any) -> GPT2Config:
    return GPT2Config(**settings, n_embd=32, n_layer=2, n_head=2, initializer_range=init_std)


def judge() -> JudgeClassifier:
    tokenizer = body().tokenizer
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes, **heads)
    network = LlamaForCausalLM(config).eval()
    template = "{text1} so {text2} is it"
    return JudgeClassifier(
        network=network, tokenizer=tokenizer, template=template, answers=("man", "dogs")
    )


def cross_encoder() -> BertPairClassifier:
    """As sentence-transformers stores one that ranks by a score."""
    activation = "torch.nn.modules.linear.Identity"
    return head(1, sentence_transformers={"activation_fn": activation})


def embedder() -> nn.Module:
    """A SentenceTransformer that averages the tokens of the small BERT."""
    from sentence_transformers import SentenceTransformer

    made = body()
    with tempfile.TemporaryDirectory() as folder:
        made.network.bert.save_pretrained(folder)  # type: ignore[operator, union-attr]
        made.tokenizer.save_pretrained(folder)
        return SentenceTransformer(folder, device="cpu").eval()


def overlap(pairs: list[tuple[str, str]]) -> list[float]:
    return [len({*a.split()} & {*b.split()}) / (1 + len(b.split())) for a, b in pairs]


def chances(pairs: list[tuple[str, str]]) -> list[list[float]]:
    return [[1 - p, p] for p in overlap(pairs)]


# What makes each, and what is asked of it.
KINDS: dict[str, tuple[Callable[[], PairClassifier], dict[str, Any]]] = {
    "encoder, classes": (lambda: head(3), {}),
    "encoder, a named class": (lambda: head(3), {"target": "label 1"}),
    "encoder, one class against another": (
        lambda: head(3),
        {"target": "label 2", "against": "label 0"},
    ),
    "one logit": (lambda: head(1), {}),
    "regression": (lambda: head(1, problem_type="regression"), {}),
    "several labels": (
        lambda: head(3, problem_type="multi_label_classification"),
        {"target": "label 1"},
    ),
    "encoder-decoder, classes": (lambda: another(BartForSequenceClassification, bart), {}),
    "decoder, classes": (lambda: another(GPT2ForSequenceClassification, gpt2), {}),
    "language model that judges": (judge, {}),
    "cross-encoder, a score": (cross_encoder, {}),
    "function, scores": (lambda: FunctionClassifier(overlap), {}),
    "function, probabilities": (lambda: FunctionClassifier(chances, labels=["no", "yes"]), {}),
    "embedder, a similarity": (lambda: BiEncoder(embedder()), {}),
    "two documents compared": (lambda: Compared(head(1)), {}),
}


def by_hand(model: PairClassifier, example: PairExample, keep: Tensor) -> Tensor:
    """The outputs (M,) of the model's own call on the pair without the other words."""
    if isinstance(model, FunctionClassifier | BiEncoder):
        one, two = texts_left(example, keep)
        if isinstance(model, BiEncoder):
            told: Any = model.embedder
            return told.similarity(told.encode([one]), told.encode([two]))[0]  # type: ignore[no-any-return]
        found = torch.tensor(model.function([(one, two)]))
        return found.log()[0] if found.dim() == 2 else found
    if isinstance(model, Compared):
        return difference(model, example, keep)
    batch = model.encoder("word")([example])
    owners = batch.word_of_token[0]
    gone = (owners >= 0) & ~keep[owners.clamp_min(0)]
    return model.direct(example, "delete", gone)


def texts_left(example: PairExample, keep: Tensor) -> tuple[str, str]:
    """The texts of the words that are kept, one space between them."""
    n1 = len(example.words1)
    sides = (example.words1, keep[:n1]), (example.words2, keep[n1:])
    one, two = (" ".join(itertools.compress(words, kept.tolist())) for words, kept in sides)
    return one, two


def difference(model: Compared, example: PairExample, keep: Tensor) -> Tensor:
    """The log-odds of one document less those of the other, each asked about by itself."""
    found = []
    texts = example.text2.split(BETWEEN)
    n1, n2 = len(example.words1), len(texts[0].split())
    for text, own in zip(texts, (keep[n1 : n1 + n2], keep[n1 + n2 :]), strict=True):
        (pair,) = Given(texts_of([(example.text1, text)]), model.labels, clean=False).pairs
        logits = by_hand(model.model, pair, torch.cat([keep[:n1], own]))
        found.append(logits[1] - logits[0])
    return (found[0] - found[1])[None]


def row(name: str) -> str:
    """A row of the table. Raises ValueError where the answers are not those of the model."""
    make, asked = KINDS[name]
    model = make().eval().requires_grad_(False)
    question = model.question(**asked)
    (example,) = Given(texts_of([PAIR]), model.labels, clean=False).pairs
    if isinstance(model, Compared):
        (other,) = Given(texts_of([(PAIR[0], OTHER)]), model.labels, clean=False).pairs
        example = compared_example(example, other)
    batch = model.encoder("word")([example])
    masked = MaskedModel(model, batch, "delete", question=question, token_budget=4096)
    n = int(batch.word_valid.sum())
    keeps = torch.rand(MASKS, n, generator=torch.Generator().manual_seed(0)) < 0.6
    keeps[:, 0] = True
    with torch.no_grad():
        outputs = torch.stack([by_hand(model, example, keep) for keep in keeps]).float()
        whole = by_hand(model, example, torch.ones(n, dtype=torch.bool))
    aim = question.aim(whole[None].float()).expand(MASKS)
    expected = question.value(outputs, aim)
    apart = float((masked.values(keeps[None])[0] - expected).abs().max())
    if not apart < ACCURACY * max(1.0, float(expected.abs().max())):
        raise ValueError(f"{name}: answers differ from the model's own by {apart:.1e}")
    explain = PairExplainer(
        model.model if isinstance(model, Compared) else model, removal="delete", **asked
    )

    def explanation() -> Any:
        if isinstance(model, Compared):
            return explain.compare(*PAIR, OTHER)
        return explain(*PAIR)

    explanation()
    start = time.perf_counter()
    found = explanation()
    seconds = time.perf_counter() - start
    return f"| {name} | {question.name} | {apart:.1e} | {found.evaluations:,} | {seconds:.2f} |"


def main() -> None:
    print("| model | what is explained | largest difference | evaluations | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for name in KINDS:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
