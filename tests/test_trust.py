"""What is not right for a model is refused before it is asked, and a usual removal replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
import zoo
from conftest import CONF, LABELS, explainer_of, within
from hydra.utils import instantiate

from gmask_pl import suitability as trust
from gmask_pl.api import PairExplainer
from gmask_pl.commands.check import stored_model, table
from gmask_pl.identity.of_model import identity_of_model
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.pipeline.build import stored_classifier
from gmask_pl.pipeline.from_python import composed
from gmask_pl.pipeline.removal_choice import settled
from gmask_pl.suitability import removal_for, tried
from gmask_pl.types import UserError

PAIR = ("a dog runs", "the dog sleeps")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of three families by their names, each with our labels."""
    folder: Path = tmp_path_factory.mktemp("weights")
    for name in ("t5", "gpt2", "xlm"):
        model = zoo.made(name)
        model.network.config.id2label = dict(enumerate(LABELS))
        model.network.config.label2id = {label: i for i, label in enumerate(LABELS)}
        model.save(folder / name)
    return folder


def settings(weights: Path, *others: str) -> list[str]:
    labels = f"[{','.join(LABELS)}]"
    usual = ("explainer=occlusion", "metric=[aopc]", "model.net.max_length=40")
    own = ("dataset=pairs", f"dataset.labels={labels}", "model=bert", f"weights={weights}")
    return [*own, *usual, *others]


def test_the_usual_removal_gives_way_to_the_first_that_is_right(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explain = PairExplainer.from_config(*settings(weights / "t5"))
    assert "model.removal=delete, as pad is not right for this model" in capsys.readouterr().out
    assert explain.explainer.removal == "delete"
    (found,) = explain.many([PAIR])
    assert len(found.scores) == 6


def test_a_removal_with_gradients_where_they_are_asked_for(weights: Path) -> None:
    explain = PairExplainer.from_config(*settings(weights / "xlm", "explainer=gradient_x_input"))
    assert explain.explainer.removal == "zero"  # as its own file has it
    released = settings(weights / "xlm", "explainer=imask", "explainer.estimator=straight_through")
    explain = PairExplainer.from_config(*released)
    assert explain.explainer.removal == "mask"
    with pytest.raises(UserError, match=r"explainer\.removal=pad: gradients under it are not"):
        PairExplainer.from_config(*released, "explainer.removal=pad")


@pytest.mark.parametrize(
    ("name", "asked", "removal"),
    [
        ("t5", (), "delete"),
        ("xlm", ("explainer=imask", "explainer.estimator=straight_through"), "mask"),
    ],
)
def test_metrics_follow_the_removal_of_the_explainer(
    weights: Path, name: str, asked: tuple[str, ...], removal: str
) -> None:
    overrides = settings(weights / name, *asked)
    cfg = composed(overrides)
    explainer, source = instantiate(cfg.explainer), instantiate(cfg.dataset)
    classifier = stored_classifier(cfg, source, cfg.weights, None)
    model = identity_of_model(classifier, "32-true")
    assert settled(cfg, classifier, explainer, model, folder=None, overrides=overrides)
    assert (cfg.explainer.removal, cfg.metric.removal) == (removal, removal)


@pytest.mark.parametrize(("name", "gradients"), [("bart", False), ("xlm", True)])
def test_an_explainer_without_a_removal_has_the_best_that_is_right(
    name: str, gradients: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    explainer = explainer_of("occlusion")
    explainer.removal, explainer.differentiates_masks = None, gradients
    assert removal_for(explainer, zoo.made("bert")) == ("pad", "")
    assert capsys.readouterr().err == ""
    removal, why = removal_for(explainer, zoo.made(name))
    assert removal == "mask"
    assert why.startswith("removal=mask, as pad is not right for this model: ")
    assert "removal=mask, as pad is not right for this model: " in capsys.readouterr().err
    explainer.removal = "pad"
    with pytest.raises(UserError, match=r"^removal=pad: .* not right .* choose removal=mask"):
        removal_for(explainer, zoo.made(name))


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        ("t5", "model.removal=pad", r"explainer\.removal=pad: it is not .* explainer\.removal=del"),
        ("t5", "explainer.removal=zero", "explainer.removal=zero: .* NotImplementedError"),
        ("t5", "metric.removal=[delete,mask]", "metric.removal=mask: .* no mask token"),
        ("t5", "explainer=gradient_x_input", "choose an explainer that needs no gradients"),
        ("gpt2", "explainer=attention", "its first token attends to itself alone"),
        ("gpt2", "trainer.precision=bf16-true", "trainer.precision=bf16-true .* bf16-mixed"),
    ],
)
def test_what_is_asked_for_and_not_right_is_refused(
    weights: Path, name: str, override: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        PairExplainer.from_config(*settings(weights / name, override))


def test_a_run_keeps_the_removal_it_used(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_known", {})
    lines = [json.dumps({"text1": PAIR[0], "text2": PAIR[1]})] * 2
    (tmp_path / "my.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    command = settings(weights / "t5", "dataset.path=my.jsonl", "logger=[]")
    runs = [within(str(CONF.parent / "explain.py"), tmp_path, *command) for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert all("model.removal=delete, as pad is not right" in run.stdout for run in runs)
    assert "these results were there already" in runs[1].stdout
    (config,) = tmp_path.glob("outputs/explain/*/*/*/config.yaml")
    kept = yaml.safe_load(config.read_text("utf-8"))
    parts = (kept["model"], kept["explainer"], kept["metric"])
    assert [part["removal"] for part in parts] == ["delete"] * 3
    assert len(list(tmp_path.glob("outputs/checks/*.json"))) == 1


def test_a_verdict_is_kept_and_a_broken_one_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = zoo.made("fnet"), []
    check = trust.check
    monkeypatch.setattr(trust, "check", lambda *a, **k: asked.append(k) or check(*a, **k))

    def again(gradients: bool = False) -> None:
        monkeypatch.setattr(trust, "_known", {})  # as in another process
        identity = identity_of_model(model, "32-true")
        verdict = tried(model, tmp_path, gradients=gradients, model=identity)
        assert verdict.right() == ["mask", "delete", "zero"]
        assert identity_of_model(model, "32-true") == identity  # trying it changes nothing

    again()
    again()
    assert len(asked) == 1
    (file,) = tmp_path.iterdir()
    for broken in ("", "[]", '{"removals": {}}', "null"):
        file.write_text(broken, "utf-8")
        again()
    assert len(asked) == 5
    again(gradients=True)
    model.network.classifier.weight.mul_(2.0)
    again()
    assert len(asked) == 7
    monkeypatch.setattr(trust, "_known", {})
    (tmp_path / "file").write_text("", "utf-8")
    identity = identity_of_model(model, "bf16-mixed")
    tried(
        model, tmp_path / "file", gradients=False, model=identity
    )  # not kept, and tried all the same
    assert len(asked) == 8


def test_the_verdict_is_a_table(weights: Path, tmp_path: Path) -> None:
    told = within("gmask_pl.commands.check", tmp_path, "model=bert", f"weights={weights / 't5'}")
    assert told.returncode == 0, told.stderr
    rows = {line.split()[0]: line for line in told.stdout.splitlines()[2:]}
    assert rows["delete"].split()[1] == "right"
    assert rows["zero"].split()[1] == "no"
    assert "hides" in rows["pad"]
    assert "mask token" in rows["mask"]
    assert "a softmax over classes: entailment, neutral, contradiction" in rows["outputs"]
    wrong = within("gmask_pl.commands.check", tmp_path, "model=bert", f"weights={tmp_path}")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: weights=")
    assert "Traceback" not in wrong.stderr


def test_a_model_is_checked_at_its_own_length(tmp_path: Path) -> None:
    model = zoo.made("bert")
    model.network.config.num_labels, model.network.config.problem_type = 1, "regression"
    model.network.config.max_position_embeddings = 200
    network = type(model.network)(model.network.config).eval()
    model.tokenizer.model_max_length = 200
    network.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    weights = f"weights={tmp_path}"
    for own in ([weights], ["model=bert", weights]):
        found = stored_model(own)
        assert isinstance(found, BertPairClassifier)
        assert found.max_length == 200
    assert stored_model([weights, "model.net.max_length=50"]).longest == 50
    told = table(found, tried(found, None, gradients=False))
    assert "longest input  200 tokens" in told
    assert "at least the threshold (0 unless question.threshold says another)" in told
