"""Causal language models that judge a pair, against their own call on the prompt."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from test_question import head
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config
from zoo import decoder, tokenizer_of, wordpiece

from gmask_pl.api import PairExplainer
from gmask_pl.data.in_memory import Given, texts_of
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.adapters import kind_of
from gmask_pl.models.judge import JudgeClassifier
from gmask_pl.pipeline.own_things import implied
from gmask_pl.types import UserError

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 96,
    "initializer_range": 0.6,
}
CONFIGS: dict[str, Any] = {
    "llama": lambda vocabulary: LlamaConfig(vocab_size=vocabulary, **SMALL),
    "qwen2": lambda vocabulary: Qwen2Config(vocab_size=vocabulary, **SMALL),
    "gpt2": lambda vocabulary: GPT2Config(
        vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=96, initializer_range=0.6
    ),
}
TEMPLATE = "the text : {text1} nobody {text2} is it ?"
ANSWERS = (" never", " always")
PAIR = ("a man plays the guitar", "the small dog runs")


def judge(kind: str, **settings: Any) -> JudgeClassifier:
    torch.manual_seed(0)
    tokenizer = tokenizer_of(decoder)
    tokenizer.model_max_length = 96
    network = AutoModelForCausalLM.from_config(CONFIGS[kind](len(tokenizer))).eval()
    given: dict[str, Any] = {"template": TEMPLATE, "answers": ANSWERS} | settings
    return JudgeClassifier(network=network, tokenizer=tokenizer, **given)


def by_hand(model: JudgeClassifier, text1: str, text2: str) -> Tensor:
    """The logits of the answers, by the tokenizer's and the network's own calls."""
    prompt = model.template.format(text1=text1, text2=text2)
    ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
    ends = [model.tokenizer(a, add_special_tokens=False)["input_ids"][0] for a in ANSWERS]
    with torch.no_grad():
        found: Tensor = model.network(input_ids=ids).logits[0, -1, ends]
    return found


@pytest.mark.parametrize("kind", CONFIGS)
def test_it_answers_as_its_prompt_does(kind: str) -> None:
    model = judge(kind)
    explain = PairExplainer(model, method="occlusion")
    found = explain(*PAIR)
    expected = by_hand(model, *PAIR).softmax(-1)
    assert explain.labels == ("never", "always")
    assert found.probabilities == pytest.approx(expected.tolist(), abs=1e-5)
    odds = explain(*PAIR, target="always", against="never")
    no, yes = by_hand(model, *PAIR).tolist()
    assert odds.value == pytest.approx(yes - no, abs=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_masked_prompts_are_answered_as_they_read(kind: str) -> None:
    """Without words in the middle, the prompt is the same text with these words gone."""
    model = judge(kind)
    (example,) = Given(texts_of([PAIR]), model.labels, clean=False).pairs
    batch = model.encoder("word")([example])
    masked = MaskedModel(model, batch, "delete", token_budget=256)
    words = [text.split() for text in PAIR]
    keeps, texts = [], []
    for first, second in itertools.product(itertools.product([0, 1], repeat=3), repeat=2):
        one, two = [1, *first, 1], [1, *second][:4]
        keeps.append([bool(k) for k in one + two])
        texts.append(
            [" ".join(itertools.compress(w, k)) for w, k in zip(words, (one, two), strict=True)]
        )
    found = masked.logits(torch.tensor([keeps]))[0]
    expected = torch.stack([by_hand(model, *pair) for pair in texts])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_judge_is_tried(kind: str) -> None:
    removals = PairExplainer(judge(kind)).check().removals
    assert removals["delete"].ok
    assert removals["pad"].ok
    assert removals["zero"].ok
    assert not removals["mask"].ok


def test_a_prompt_is_one_text_to_a_tokenizer_that_tells_texts_apart() -> None:
    """GPT-2 adds an embedding of the segment: that of the first text, for the whole prompt."""
    torch.manual_seed(0)
    tokenizer = tokenizer_of(wordpiece)
    network = AutoModelForCausalLM.from_config(CONFIGS["gpt2"](len(tokenizer))).eval()
    model = JudgeClassifier(
        network=network, tokenizer=tokenizer, template=TEMPLATE, answers=("never", "always")
    )
    prompt = tokenizer(TEMPLATE.format(text1=PAIR[0], text2=PAIR[1]), return_tensors="pt")
    assert "token_type_ids" in prompt
    with torch.no_grad():
        expected = network(**prompt).logits[0, -1, model.answers].softmax(-1)
    found = PairExplainer(model, method="occlusion")(*PAIR)
    assert found.probabilities == pytest.approx(expected.tolist(), abs=1e-5)
    assert found.removal == "delete"


def test_a_network_and_its_tokenizer_are_enough() -> None:
    model = judge("llama")
    explain = PairExplainer(
        model.network, model.tokenizer, template=TEMPLATE, answers=ANSWERS, method="lime", budget=60
    )
    assert explain(*PAIR).value == pytest.approx(
        float(by_hand(model, *PAIR).softmax(-1).max()), abs=1e-5
    )
    compared = explain.compare(PAIR[0], PAIR[1], "two horses eat an apple")
    ahead = [
        z[1] - z[0]
        for z in (by_hand(model, PAIR[0], t) for t in (PAIR[1], "two horses eat an apple"))
    ]
    assert compared.value == pytest.approx(float(ahead[0] - ahead[1]), abs=1e-4)


def test_a_long_text_is_cut_and_never_the_prompt() -> None:
    model = judge("llama", max_length=32)
    long = " ".join(["man", "plays", "the", "guitar"] * 20)
    (example,) = Given(texts_of([(long, "the dog")]), model.labels, clean=False).pairs
    batch = model.encoder("word")([example])
    assert batch.token_ids.shape[1] == 32
    assert bool(batch.truncated)
    end = model.tokenizer(" is it ?", add_special_tokens=False)["input_ids"]
    assert batch.token_ids[0, -len(end) :].tolist() == end
    kept = {place for place in batch.places[0] if place >= len(example.words1)}
    assert len(kept) == 2


def test_cutting_takes_the_last_token_of_the_longer_text_again_and_again() -> None:
    model, whole = judge("llama", max_length=24), judge("llama", max_length=96)
    texts = [("the man " * 9, "the dog " * n) for n in (2, 9, 14)]
    for example in Given(texts_of(texts), model.labels, clean=False).pairs:
        batch, n1 = whole.encoder("word")([example]), len(example.words1)
        tokens = list(
            zip(batch.token_ids[0].tolist(), batch.word_of_token[0].tolist(), strict=True)
        )
        while len(tokens) > 24:
            first = [i for i, (_, word) in enumerate(tokens) if 0 <= word < n1]
            second = [i for i, (_, word) in enumerate(tokens) if word >= n1]
            del tokens[max(first, second, key=len)[-1]]
        assert model.encoder("word")([example]).token_ids[0].tolist() == [id for id, _ in tokens]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": "{text1} only"}, "give {text1} and then {text2}, each once"),
        ({"template": "{text2} {text1}"}, "give {text1} and then {text2}, each once"),
        ({"template": "{text1} {text2} {"}, "write a brace itself twice"),
        ({"answers": (" never", " never")}, "a name of its own"),
        ({"answers": (" never",)}, "a name of its own"),
        ({"answers": ("", " x")}, "'' has no token"),
        ({"labels": ["a"]}, "a name of its own"),
        ({"max_length": 9}, "the template alone has"),
    ],
)
def test_what_asks_nothing_is_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        judge("llama", **settings)


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_all_prompts_begin_with_is_read_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = judge(kind, template="the text said that nobody runs : {text1} {text2} is it ?")
    explain = PairExplainer(model, method="kernel_shap", removal="delete")
    shared = explain(*PAIR)
    assert model._shares is True
    read = []
    handle = model.network.get_input_embeddings().register_forward_hook(
        lambda module, inputs, output: read.append(output.shape[:2])
    )
    watched = explain(*PAIR)  # by whoever wants to see every token
    handle.remove()
    assert watched.scores == pytest.approx(shared.scores, abs=1e-5)
    lengths = {length for _, length in read}
    monkeypatch.setattr(type(model), "_shares", False)
    model._shares = False
    plain = explain(*PAIR)
    assert plain.scores == pytest.approx(shared.scores, abs=1e-5)
    assert max(lengths) > 7
    again = []
    model._shares = True
    monkeypatch.setattr(
        model,
        "_behind",
        lambda last, named: (
            again.append(named["input_ids"].shape) or model.__class__._behind(model, last, named)
        ),
    )
    explain(*PAIR)
    assert sum(a * b for a, b in again) < 0.7 * sum(a * b for a, b in read)


def test_a_network_that_goes_on_otherwise_is_asked_in_full() -> None:
    model = judge("llama")
    usual = model._continued

    def wrong(*given: Any) -> dict[str, Any]:
        named = usual(*given)
        named["input_ids"] = named["input_ids"].flip(1)
        return named

    model._continued = wrong  # type: ignore[method-assign]
    found = PairExplainer(model, method="occlusion")(*PAIR)
    assert model._shares is False
    expected = by_hand(model, *PAIR).softmax(-1)
    assert found.probabilities == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_judge_is_read_from_its_folder(tmp_path: Path) -> None:
    model = judge("llama")
    model.network.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    assert kind_of(tmp_path) == "judge"
    given: dict[str, Any] = {"template": TEMPLATE, "answers": ANSWERS}
    explain = PairExplainer.from_pretrained(tmp_path, method="occlusion", **given)
    expected = PairExplainer(model, method="occlusion")(*PAIR)
    assert explain.labels == ("never", "always")
    assert explain(*PAIR).scores == pytest.approx(expected.scores, abs=1e-5)
    other = JudgeClassifier.from_weights(
        tmp_path, labels=("yes", "no"), label_order=("no", "yes"), **given
    )
    assert other.labels == ("yes", "no")
    found = PairExplainer(other, method="occlusion")(*PAIR)
    assert found.probabilities == pytest.approx(expected.probabilities[::-1], abs=1e-5)
    with pytest.raises(UserError, match="template: it is of a causal language model"):
        head(2).save(tmp_path / "head")
        PairExplainer.from_pretrained(tmp_path / "head", template=TEMPLATE)


def test_a_judge_is_chosen_on_the_command_line(tmp_path: Path) -> None:
    model = judge("gpt2")
    model.network.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    assert implied(["dataset=pairs", f"weights={tmp_path}"])[0] == "model=judge"
    explain = PairExplainer.from_config(
        *("model=judge", f"weights={tmp_path}", "dataset=pairs", "explainer=occlusion"),
        "model.net.answers=[' never',' always']",
        f"model.net.template='{TEMPLATE}'",
    )
    expected = PairExplainer(model, method="occlusion")(*PAIR)
    assert explain(*PAIR).scores == pytest.approx(expected.scores, abs=1e-5)


def test_a_network_that_keeps_no_keys_is_asked_in_full() -> None:
    model = judge("llama")

    def fails(*given: Any) -> dict[str, Any]:
        raise AttributeError("no attribute 'past_key_values'")

    model._continued = fails  # type: ignore[method-assign]
    found = PairExplainer(model, method="occlusion", removal="delete")(*PAIR)
    assert model._shares is False
    assert found.probabilities == pytest.approx(
        by_hand(model, *PAIR).softmax(-1).tolist(), abs=1e-5
    )


def test_a_prompt_that_is_too_long_without_words_is_told() -> None:
    model = judge("llama", max_length=24)
    explain = PairExplainer(model, method="random", segment=lambda text: [text.split()[0]])
    with pytest.raises(UserError, match="more than 24 tokens even without words"):
        explain("a " + "dog " * 60, "a cat")
