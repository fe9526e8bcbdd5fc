"""Tiny random models of many families, and the table of docs/models.md that they give.

    python tests/zoo.py

writes the table anew. Every family has transformers' own configuration class, a network of two
layers with weights large enough to have opinions, and a tokenizer that behaves as the family's own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.model_check import PREFERENCE, Trial, check

LABELS = ("entailment", "neutral", "contradiction")
TRAINING = {
    "lr": 1e-3,
    "weight_decay": 0.0,
    "warmup": 0.1,
    "linear_decay": True,
    "word_dropout": 0.0,
}
LONGEST = 40
TEXTS = (
    "a man plays the guitar on stage while two children sing",
    "the small dog runs quickly outside in the morning",
    "three young women read books under old trees near a house",
    "she never sees the red bird that sleeps in the green garden",
    "nobody eats an apple without horses who jump over the river",
    "they were happy yesterday and it is always evening inside today",
)
WORDS = sorted({word for text in TEXTS for word in text.split()})

Build = Callable[[], PreTrainedTokenizerFast]


def corpus() -> list[str]:
    return [" ".join(WORDS[i:] + WORDS[:i]) for i in range(0, len(WORDS), 3)]


def fast(raw: Tokenizer, **settings: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=LONGEST, **settings)


def template(raw: Tokenizer, single: str, pair: str) -> None:
    names = sorted(set(re.findall(r"(?:\[\w+\]|</?\w+>)", pair)))
    ids = [(name, raw.token_to_id(name)) for name in names]
    raw.post_processor = processors.TemplateProcessing(single, pair, ids)


def wordpiece(*, segments: bool = True) -> PreTrainedTokenizerFast:
    """BERT's."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False)
    raw.train_from_iterator(corpus(), trainer)
    template(raw, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return fast(
        raw,
        **dict(
            zip(
                ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
                special,
                strict=True,
            )
        ),
        model_input_names=["input_ids", *["token_type_ids"] * segments, "attention_mask"],
    )


def without_segments() -> PreTrainedTokenizerFast:
    return wordpiece(segments=False)


def bytes_of_text(special: list[str]) -> Tokenizer:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(corpus(), trainer)
    return raw


def roberta() -> PreTrainedTokenizerFast:
    """RoBERTa's and BART's: no segments, and padding is token 1."""
    raw = bytes_of_text(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    template(raw, "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return fast(
        raw,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    )


def decoder(*, pad: bool = True) -> PreTrainedTokenizerFast:
    """GPT-2's and its kin's: no token but those of the texts, no mask."""
    raw = bytes_of_text(["<|endoftext|>", "<|pad|>"])
    return fast(
        raw,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        **({"pad_token": "<|pad|>"} if pad else {}),
        model_input_names=["input_ids", "attention_mask"],
    )


def without_padding() -> PreTrainedTokenizerFast:
    return decoder(pad=False)


def unigram(special: list[str], **settings: Any) -> Tokenizer:
    raw = Tokenizer(models.Unigram())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=160, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    raw.train_from_iterator(corpus(), trainer)
    return raw


def sentencepiece(*, segments: bool = False) -> PreTrainedTokenizerFast:
    """ALBERT's, which makes segments but does not send them, and DeBERTa's, which does."""
    raw = unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    template(raw, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    return fast(
        raw,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", *["token_type_ids"] * segments, "attention_mask"],
    )


def deberta() -> PreTrainedTokenizerFast:
    return sentencepiece(segments=True)


def t5() -> PreTrainedTokenizerFast:
    """No mask token; the end stands after each side."""
    raw = unigram(["<pad>", "</s>", "<unk>"])
    template(raw, "$A </s>", "$A </s> $B </s>")
    return fast(
        raw,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )


def xlnet() -> PreTrainedTokenizerFast:
    """Pads on the left, and the token to classify by comes last, in a segment of its own."""
    raw = unigram(["<pad>", "<unk>", "<sep>", "<cls>", "<mask>"])
    template(raw, "$A <sep> <cls>:2", "$A <sep> $B:1 <sep>:1 <cls>:2")
    return fast(
        raw,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<cls>",
        sep_token="<sep>",
        mask_token="<mask>",
        padding_side="left",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@dataclass(frozen=True)
class Family:
    """A family: its tokenizer, the settings of its configuration, and what is right of it.

    right: the removals that are, the best first; gradients: those with right gradients; attention:
    whether it tells that of its first token; together: which rows are asked in a batch. config:
    the family by the name of its configuration.
    """

    tokenizer: Build
    settings: dict[str, Any]
    right: str = "pad mask delete zero"
    gradients: str = "pad mask zero"
    attention: bool = True
    together: str = "any"
    config: str = ""


SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
LLAMA = SIZES | {"num_key_value_heads": 2, "head_dim": 8}
BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
}
T5 = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
XLM = {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64}
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}


def decodes(settings: dict[str, Any]) -> Family:
    """A decoder: no mask token, and the first token sees itself alone."""
    return Family(decoder, settings, "pad delete zero", "zero", attention=False, together="equal")


FAMILIES: dict[str, Family] = {
    "albert": Family(sentencepiece, SIZES | {"embedding_size": 8}),
    "bert": Family(wordpiece, SIZES),
    "big_bird": Family(roberta, SIZES | {"attention_type": "original_full"}),
    "convbert": Family(
        wordpiece,
        SIZES | {"embedding_size": 16, "conv_kernel_size": 3},
        right="mask delete zero",
        gradients="mask zero",
        together="equal",
    ),
    "data2vec-text": Family(roberta, SIZES),
    "deberta": Family(wordpiece, SIZES | RELATIVE, gradients="mask zero"),
    "deberta-v2": Family(deberta, SIZES | RELATIVE, gradients="mask zero"),
    "distilbert": Family(
        without_segments,
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64},
    ),
    "electra": Family(wordpiece, SIZES | {"embedding_size": 8}),
    "esm": Family(
        roberta,
        SIZES | {"mask_token_id": 4, "token_dropout": False},
        right="pad mask delete",
        gradients="",
    ),
    "eurobert": Family(roberta, LLAMA, gradients="mask zero"),
    "fnet": Family(
        wordpiece,
        SIZES,
        right="mask delete zero",
        gradients="mask zero",
        attention=False,
        together="equal",
    ),
    "funnel": Family(
        wordpiece,
        {
            "d_model": 16,
            "n_head": 2,
            "d_head": 8,
            "d_inner": 32,
            "block_sizes": [1, 1],
            "max_position_embeddings": 64,
        },
        gradients="mask zero",
        attention=False,
    ),
    "ibert": Family(roberta, SIZES, right="pad mask delete", gradients="pad"),
    "layoutlm": Family(wordpiece, SIZES, gradients="mask zero"),
    "lilt": Family(roberta, SIZES | {"hidden_size": 24, "channel_shrink_ratio": 2}),
    "longformer": Family(
        roberta,
        SIZES | {"attention_window": [8, 8]},
        right="pad mask delete",
        gradients="",
        attention=False,
    ),
    "megatron-bert": Family(wordpiece, SIZES),
    "mobilebert": Family(
        wordpiece,
        SIZES | {"embedding_size": 16, "true_hidden_size": 16, "intra_bottleneck_size": 16},
        right="mask delete zero",
        gradients="mask zero",
    ),
    "modernbert": Family(
        roberta,
        SIZES | {"local_attention": 8, "global_attn_every_n_layers": 2},
        gradients="mask zero",
    ),
    "mpnet": Family(without_segments, SIZES),
    "nomic_bert": Family(wordpiece, SIZES | {"n_embd": 16}),
    "nystromformer": Family(
        wordpiece,
        SIZES | {"conv_kernel_size": 9},
        right="mask delete zero",
        gradients="mask zero",
        together="equal",
    ),
    "rembert": Family(wordpiece, SIZES | {"input_embedding_size": 8, "output_embedding_size": 8}),
    "roberta": Family(roberta, SIZES),
    "roberta-prelayernorm": Family(roberta, SIZES),
    "roformer": Family(wordpiece, SIZES),
    "squeezebert": Family(
        wordpiece,
        SIZES
        | {
            "embedding_size": 16,
            "q_groups": 2,
            "k_groups": 2,
            "v_groups": 2,
            "post_attention_groups": 1,
            "intermediate_groups": 2,
            "output_groups": 2,
        },
        attention=False,
    ),
    "xlm": Family(without_segments, XLM, gradients="mask zero"),
    "xlm-roberta": Family(roberta, SIZES),
    "xlnet": Family(
        xlnet,
        {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32},
        gradients="mask zero",
        attention=False,
        together="equal",
    ),
    "bart": Family(roberta, BART, right="mask delete", gradients="", attention=False),
    "mbart": Family(
        roberta, BART, right="mask delete", gradients="", attention=False, together="equal"
    ),
    "t5": Family(t5, T5, right="delete", gradients="", attention=False),
    "mt5": Family(t5, T5, right="delete", gradients="", attention=False),
    "biogpt": decodes(SIZES),
    "bloom": decodes({"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "ctrl": decodes(GPT | {"dff": 32}),
    "falcon": decodes(SIZES),
    "gemma": decodes(LLAMA),
    "gemma2": decodes(LLAMA | {"sliding_window": 8}),
    "gpt2": decodes(GPT),
    "gpt2 without padding": Family(
        without_padding, GPT, "delete zero", "zero", False, "alone", config="gpt2"
    ),
    "gpt_neo": Family(
        decoder,
        {
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 8,
            "max_position_embeddings": 64,
        },
        "pad delete zero",
        "pad zero",
        attention=False,
        together="equal",
    ),
    "gpt_neox": decodes(SIZES),
    "gptj": decodes(GPT | {"rotary_dim": 4}),
    "llama": decodes(LLAMA),
    "mistral": decodes(LLAMA | {"sliding_window": 8}),
    "mpt": decodes(
        {"d_model": 16, "n_heads": 2, "n_layers": 2, "expansion_ratio": 2, "max_seq_len": 64}
    ),
    "openai-gpt": replace(decodes(GPT), right="delete zero"),  # hides no token where it hides all
    "opt": decodes(SIZES | {"ffn_dim": 32, "word_embed_proj_dim": 16}),
    "phi": decodes(SIZES),
    "qwen2": decodes(LLAMA),
}


def special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int | None]:
    keys = ("pad", "bos", "eos", "cls", "sep")
    return {f"{key}_token_id": getattr(tokenizer, f"{key}_token_id") for key in keys}


@functools.cache
def tokenizer_of(build: Build) -> PreTrainedTokenizerFast:
    return build()


def made(name: str) -> BertPairClassifier:
    """The random model of a family, the same every time."""
    family = FAMILIES[name]
    tokenizer = tokenizer_of(family.tokenizer)
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family.config or name,
        vocab_size=len(tokenizer),
        **{key: id for key, id in special_ids(tokenizer).items() if id is not None},
        num_labels=3,
        **family.settings,
    )
    network = AutoModelForSequenceClassification.from_config(config)
    model = BertPairClassifier(
        labels=LABELS, network=network, tokenizer=tokenizer, max_length=LONGEST, **TRAINING
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5.0)
    return model.requires_grad_(False).eval()


DOCS = Path(__file__).resolve().parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- made by tests/zoo.py -->", "<!-- end -->"
BATCHES = {"any": "padded", "equal": "of equal length", "alone": "of one"}


def table() -> str:
    """What came of trying every family, as Markdown."""
    lines = [
        "| family | " + " | ".join(PREFERENCE) + " | gradients | attention | batches |",
        "| --- |" + " --- |" * (len(PREFERENCE) + 3),
    ]
    for name, family in FAMILIES.items():
        verdict = check(made(name))
        cells = [_cell(verdict.removals[removal]) for removal in PREFERENCE]
        cells.append(" ".join(verdict.right(gradients=True)) or "no")
        cells += ["yes" if verdict.attention.ok else "no", BATCHES[verdict.together]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        assert verdict.together == family.together
    return "\n".join(lines)


def _cell(trial: Trial) -> str:
    if not trial.ok:
        return "no"
    numbers = (trial.whole, trial.leak, trial.naive)
    return " · ".join("0" if number == 0 else f"{number:.0e}" for number in numbers)


def main() -> None:
    before, rest = DOCS.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    DOCS.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
