"""Says what a model may be asked for: ``gmask-check weights=FOLDER``.

Takes the overrides of explain.py that choose a model. The model is asked about trial pairs of its
own vocabulary and held against its own direct call (`gmask_pl.models.model_check`).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from gmask_pl.command_names import command_name
from gmask_pl.models.model_check import Trial, Verdict, check, name_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.build import network_of, weights_to_ask
from gmask_pl.pipeline.command import command
from gmask_pl.pipeline.own_things import implied
from gmask_pl.pipeline.settings_check import explain_settings
from gmask_pl.process_switches import quieten
from gmask_pl.question import SCORE

MEANINGS = {
    "softmax": "a softmax over classes",
    "sigmoid": "a sigmoid of every label",
    SCORE: "one score, which decides between",
}
BATCHES = {
    "any": "in padded batches",
    "equal": "in batches of equal length, without padding",
    "alone": "one at a time",
}


def stored_model(arguments: Sequence[str]) -> PairClassifier:
    """The model that overrides of explain.py choose, with its own outputs whatever they mean.

    Where they do not say of what kind it is and how long its inputs are, it does.
    """
    quieten()
    typed = {text.partition("=")[0] for text in arguments}
    own = () if {"dataset", "experiment"} & typed else implied(["dataset=pairs", *arguments])
    cfg = explain_settings([*own, *arguments])
    weights, (model, settings) = weights_to_ask(cfg), network_of(cfg)
    if "max_length" in settings and "model.net.max_length" not in typed:
        settings["max_length"] = None
    return model.as_stored(weights, **settings).requires_grad_(False).eval()


def table(classifier: PairClassifier, verdict: Verdict) -> str:
    """The verdict as lines of text."""
    rows: list[tuple[str, ...]]
    rows = [("removal", "", "keep all", "leak", "masks", "gradient", "")]
    for name, trial in verdict.removals.items():
        gradient = verdict.gradients.get(name)
        known = gradient is not None and (gradient.ok or trial.ok)
        why = trial.reason or (gradient.reason if known and gradient is not None else "")
        shown = "" if gradient is None else _word(gradient)
        rows.append((name, _word(trial), *_numbers(trial), shown, why))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    ]
    attention = verdict.attention
    longest = "no limit" if verdict.longest is None else f"{verdict.longest} tokens"
    by = " (0 unless question.threshold says another)" if verdict.outputs == SCORE else ""
    window = f", a window of attention of {verdict.window} tokens" if verdict.window else ""
    return "\n".join(
        [
            f"{name_of(classifier)}: largest differences in a logit from its own direct call",
            *lines,
            f"attention      {'right' if attention.ok else attention.reason}",
            f"longest input  {longest}{window}",
            f"outputs        {MEANINGS[verdict.outputs]}: {', '.join(classifier.labels)}{by}",
            f"asked          {BATCHES[verdict.together]}",
        ]
    )


def _word(trial: Trial) -> str:
    return "right" if trial.ok else "no"


def _numbers(trial: Trial) -> tuple[str, ...]:
    found = (trial.whole, trial.leak, trial.naive)
    return tuple("–" if math.isnan(number) else f"{number:.1e}" for number in found)


@command("explain")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    as_of = command_name("explain")
    parser.add_argument("overrides", nargs="*", help=f"as of {as_of}: weights=FOLDER")
    classifier = stored_model(parser.parse_args().overrides)
    print(table(classifier, check(classifier)))


if __name__ == "__main__":
    main()
