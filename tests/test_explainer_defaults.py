"""What an explainer is by default: in Python as its YAML says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
import yaml
from conftest import CONF, explainer_of

import gmask_pl
from gmask_pl.explainers._group_mask import Objective
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.gmask import GMask
from gmask_pl.explainers.methods import METHODS
from gmask_pl.explainers.occlusion import Occlusion
from gmask_pl.loops import ExplainLoop, removal_of
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairExample, UserError


def told(part: Any) -> Any:
    """All that an explainer holds, but the removal, which its YAML takes from the model."""
    if isinstance(part, Explainer):
        own = {name: told(value) for name, value in vars(part).items() if name != "removal"}
        return type(part), own
    if is_dataclass(part):
        return {field.name: getattr(part, field.name) for field in fields(part)}
    return part.tolist() if isinstance(part, torch.Tensor) else part


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "explainer").glob("*.yaml")))
def test_a_yaml_says_what_the_constructor_does(name: str) -> None:
    explainer = explainer_of(name, "model=bert")
    assert told(explainer) == told(METHODS.get(name, type(explainer))())


@pytest.mark.parametrize("model", sorted(path.stem for path in (CONF / "model").glob("*.yaml")))
def test_a_model_names_settings_that_explainers_have(model: str) -> None:
    written = yaml.safe_load((CONF / "model" / f"{model}.yaml").read_text("utf-8"))
    for name, settings in written.get("explainers", {}).items():
        text = (CONF / "explainer" / f"{name}.yaml").read_text("utf-8")
        for key in settings:
            assert f"${{oc.select:model.explainers.{name}.{key}," in text


def test_settings_of_a_part_are_refused_by_name_type_and_range() -> None:
    with pytest.raises(UserError, match="objective={gama_z: 1.0}: give settings of gamma_z"):
        GMask(objective={"gama_z": 1.0})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Objective.logit_bound=-1: give a number above 0 or null"):
        Objective(logit_bound=-1)
    with pytest.raises(UserError, match="GMask.fit=null: give settings of epochs"):
        GMask(fit=None)  # type: ignore[arg-type]


def test_no_removal_is_the_usual_one_of_the_model(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """From Python, and where a YAML file says none."""
    usual = "zero" if isinstance(classifier, DecomposableAttention) else "pad"
    assert removal_of(Occlusion(), classifier) == usual
    assert removal_of(Occlusion(removal="mask"), classifier) == "mask"
    batch = classifier.encoder("word")(examples)
    one, other = (
        ExplainLoop(classifier, explainer, [0], print, token_budget=64).explain(batch)
        for explainer in (Occlusion(), Occlusion(removal=usual))
    )
    assert [pair.scores for pair in one] == [pair.scores for pair in other]


def test_every_public_explainer_is_exported() -> None:
    made = {type(make()).__name__ for make in METHODS.values()}
    places = gmask_pl._MODULES.items()
    exported = {name for name, module in places if module.startswith("explainers.")}
    assert made | {"Explainer", "Fit", "Objective", "Sampling"} <= exported
    assert all(getattr(gmask_pl, name).__name__ == name for name in gmask_pl.__all__)


def test_an_explainer_loads_no_more_than_it_uses() -> None:
    """Nor does the package itself load PyTorch."""
    code = """
import sys, gmask_pl
assert "torch" not in sys.modules
import torchmetrics, transformers.modeling_utils  # what these load by themselves
others = set(sys.modules)
gmask_pl.GMask(), gmask_pl.Lime()
print(*{"hydra", "omegaconf", "sklearn", "scipy.cluster"} & set(sys.modules) - others)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
