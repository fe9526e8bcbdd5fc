"""LIME, Kernel SHAP and occlusion beside the packages that others use: pairs a second.

    python -m benchmarks.references --pairs 20 --samples 500 \
        model=bert dataset=esnli dataset.path=... weights=...

The same model, pairs, removal and number of perturbations for both sides. The packages explain
one pair at a time, as they must, and are wired as their documentation does it: `lime` perturbs
the words of both texts and the model reads what is left (removal=delete); `captum` puts the mask
token in place of words (removal=mask). Both ask the model about ``--batch`` copies at a time.
Overrides are those of explain.py, for a model in word pieces. Figures are medians of the repeats;
they also go to <output>/benchmarks/references.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from captum.attr import FeatureAblation, KernelShap
from lime.lime_text import LimeTextExplainer
from torch import Tensor
from tqdm import tqdm

from benchmarks.common import Bench, prepared, report, seconds
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.types import ModelInput, PairExample, UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options, overrides = parser.parse_known_args()
    bench = prepared(overrides, options.pairs)
    if not isinstance(bench.classifier, BertPairClassifier):
        raise UserError(f"model={bench.cfg.model.name}: a model in word pieces is measured here")
    theirs: dict[str, Callable[[PairExample], object]] = {
        "lime": lime_package(bench.classifier, options.samples, options.batch),
        "kernel_shap": captum_kernel_shap(bench, options.samples, options.batch),
        "occlusion": captum_ablation(bench, options.batch),
    }
    ours = {
        "lime": bench.explainer("lime", removal="delete", samples=options.samples),
        "kernel_shap": bench.explainer("kernel_shap", removal="mask", samples=options.samples),
        "occlusion": bench.explainer("occlusion", removal="mask"),
    }
    batches = bench.batches(bench.examples)
    rows: list[dict[str, Any]] = []
    for name in tqdm(theirs, desc="references"):
        package = theirs[name]

        def one_by_one(explain: Callable[[PairExample], object] = package) -> None:
            for example in bench.examples:
                explain(example)

        found = [bench.explain(ours[name], batches)[0] for _ in range(options.repeats)]
        own = sorted(run["seconds"] for run in found)[len(found) // 2]
        other = seconds(one_by_one, options.repeats, bench.device) / len(bench.examples)
        rows.append(
            {
                "explainer": name,
                "pairs": len(bench.examples),
                "evaluations": found[0]["evaluations"],
                "pairs_per_second": 1 / own,
                "package_pairs_per_second": 1 / other,
                "times_faster": other / own,
            }
        )
    report(bench, "references", rows)


def lime_package(
    classifier: BertPairClassifier, samples: int, batch: int
) -> Callable[[PairExample], object]:
    """`LimeTextExplainer` over the words of both texts, the model reading what is left of them."""
    explainer = LimeTextExplainer(
        bow=False, split_expression=r"\s+", mask_string="", random_state=0
    )

    def explain(example: PairExample) -> object:
        words1, words2 = example.words1, example.words2
        names = [f"w{i}" for i in range(len(words1) + len(words2))]
        word = dict(zip(names, words1 + words2, strict=True))

        def predict(texts: Sequence[str]) -> np.ndarray:
            kept = [set(text.split()) for text in texts]
            sides = [
                [" ".join(word[n] for n in part if n in keep) for keep in kept]
                for part in (names[: len(words1)], names[len(words1) :])
            ]
            found = []
            for i in range(0, len(texts), batch):
                tokens = classifier.tokenizer(
                    sides[0][i : i + batch],
                    sides[1][i : i + batch],
                    padding=True,
                    return_tensors="pt",
                )
                with torch.inference_mode():
                    logits = classifier.network(**tokens.to(classifier.device)).logits
                    found.append(logits.softmax(-1))
            return torch.cat(found).cpu().double().numpy()

        return explainer.explain_instance(
            " ".join(names), predict, num_features=len(names), num_samples=samples, top_labels=1
        )

    return explain


def masked_forward(bench: Bench, example: PairExample) -> tuple[Tensor, Tensor, Any]:
    """The token ids of a pair, the word of each token, and what captum calls with changed ids."""
    (batch,) = bench.batches([example])
    positions = torch.arange(batch.token_ids.shape[1], device=batch.device)[None]

    def forward(ids: Tensor) -> Tensor:
        same = (len(ids), -1)
        inputs = ModelInput(
            ids, batch.attention.expand(same), batch.segment.expand(same), positions.expand(same)
        )
        with torch.inference_mode():
            found: Tensor = bench.classifier(inputs).softmax(-1)
        return found

    # Tokens of no word are a feature of their own, whose baseline is what they are.
    owners = torch.where(batch.word_of_token < 0, batch.word_valid.shape[1], batch.word_of_token)
    return batch.token_ids, owners, forward


def captum_settings(bench: Bench, example: PairExample) -> tuple[Any, Tensor, dict[str, Any]]:
    ids, owners, forward = masked_forward(bench, example)
    mask = bench.classifier.mask_token_id or 0
    outside = owners == owners.max()
    return (
        forward,
        ids,
        {
            "baselines": torch.where(outside, ids, mask),
            "feature_mask": owners,
            "target": int(forward(ids).argmax(-1)),
        },
    )


def captum_kernel_shap(bench: Bench, samples: int, batch: int) -> Callable[[PairExample], object]:
    def explain(example: PairExample) -> object:
        forward, ids, settings = captum_settings(bench, example)
        return KernelShap(forward).attribute(
            ids, n_samples=samples, perturbations_per_eval=batch, **settings
        )

    return explain


def captum_ablation(bench: Bench, batch: int) -> Callable[[PairExample], object]:
    def explain(example: PairExample) -> object:
        forward, ids, settings = captum_settings(bench, example)
        return FeatureAblation(forward).attribute(ids, perturbations_per_eval=batch, **settings)

    return explain


if __name__ == "__main__":
    main()
