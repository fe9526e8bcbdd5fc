"""Settings that cannot be are refused before anything is loaded, by name, with what is allowed."""

from __future__ import annotations

import functools
import io
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack

import pytest
from conftest import CONF, LABELS, OPTIMIZER, ROOT, UNNAMED, within
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gmask_paper.collector import Collect
from gmask_paper.run_query import OWN
from gmask_pl.data.esnli import ESNLI
from gmask_pl.data.pairs import Pairs
from gmask_pl.models.bert_tiny import TinyBert
from gmask_pl.pipeline.build import stored_classifier
from gmask_pl.pipeline.command import command, print_anything
from gmask_pl.pipeline.hydra_setup import choices, register
from gmask_pl.pipeline.settings_check import check_settings, faults_of, leaves
from gmask_pl.pipeline.settings_schema import Explain, Train
from gmask_pl.settings import (
    Count,
    OneOf,
    Range,
    Share,
    allowed,
    at_least,
    checked,
    expected,
    typed,
)
from gmask_pl.types import UserError

SCHEMA = {"explain": Explain, "train": Train, "collect": Collect}
LISTS = ("metric", "logger")


@functools.cache
def base(script: str, *chosen: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = OWN if script == "collect" else ()
        return compose("train" if script == "train" else "explain", [*own, *chosen])


def settled(script: str, chosen: Sequence[str] = (), **changes: Any) -> DictConfig:
    """The configuration of a script with other values, as Hydra's ``++key=value`` sets them."""
    cfg = base(script, *chosen).copy()
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    return cfg


def read(text: str) -> Any:
    return OmegaConf.create(f"value: {text}").value


def refused(script: str, *settings: str) -> str:
    """What is said of settings; those of a group choose."""
    parts = [s for s in settings if choices(s.partition("=")[0].partition("@")[0])]
    values = dict(s.split("=", 1) for s in settings if s not in parts)
    cfg = settled(script, parts, **{key: read(value) for key, value in values.items()})
    with pytest.raises(UserError) as error:
        check_settings(cfg, SCHEMA[script])
    return str(error.value)


EVERY = [
    (script, f"{group}=[{name}]" if group in LISTS else f"{group}={name}")
    for script, groups in {
        "explain": ("dataset", "model", "explainer", "metric", "trainer", "logger"),
        "collect": ("experiment",),
        "train": ("dataset", "model", "trainer", "logger"),
    }.items()
    for group in groups
    for name in choices(group)
    if name != "demo"  # nothing is collected of it
] + [("train", "experiment=table1"), ("train", "experiment=table6")]


def untyped(cfg: DictConfig, script: str) -> list[str]:
    """The settings that no annotation speaks of, unless one that it speaks of is read from them."""
    found = leaves(cfg, SCHEMA[script])
    sources = {leaf.source for leaf in found if leaf.kind not in (None, Any)}
    untold = [leaf.path for leaf in found if leaf.kind in (None, Any) and leaf.path not in sources]
    # A script leaves what is made of its runs to who makes it, and what a model says of explainers
    # is of the kind of the setting that reads it.
    elsewhere = ("model.explainers.", *([] if script == "collect" else ["collect."]))
    return [path for path in untold if not path.startswith(elsewhere)]


@pytest.mark.parametrize(("script", "choice"), EVERY)
def test_every_setting_has_a_type_and_its_yaml_is_of_it(script: str, choice: str) -> None:
    cfg = base(script, choice)
    check_settings(cfg, SCHEMA[script])
    assert untyped(cfg, script) == []


class Untyped:
    def __init__(self, *, name: str, size) -> None: ...  # type: ignore[no-untyped-def]


def test_a_setting_without_a_type_would_be_found() -> None:
    cfg = settled("explain")
    cfg.dataset = {"_target_": f"{__name__}.Untyped", "name": "x", "size": 1}
    assert untyped(cfg, "explain") == ["dataset.size"]


@pytest.mark.parametrize(("script", "choice"), [e for e in EVERY if "experiment" not in e[1]])
def test_no_number_may_be_nan_anywhere(script: str, choice: str) -> None:
    """A part refuses it by itself, too, where it is made without a command line."""
    group = choice.partition("=")[0]
    numbers = [
        leaf.path
        for leaf in leaves(base(script, choice), SCHEMA[script])
        if type(leaf.value) in (int, float)
        and leaf.path.startswith(f"{group}.")
        and leaf.kind is not None  # not what a model says of explainers that are not chosen
    ]
    broken = settled(script, (choice,), **dict.fromkeys(numbers, math.nan))
    faults = [*faults_of(leaves(broken, SCHEMA[script]))]
    assert [fault.partition("=nan: give")[0] for fault in faults] == numbers
    for path in numbers if group in ("dataset", "explainer", "metric") else ():
        part = ".".join(path.split(".")[: 2 if group == "metric" else 1])
        made = OmegaConf.select(settled(script, (choice,), **{path: math.nan}), part)
        with pytest.raises(InstantiationException) as error:
            instantiate(made)
        assert isinstance(error.value.__cause__, UserError)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("seed=4294967296", "seed=4294967296: give a whole number from 0 to 4294967295"),
        ("seed=-1", "seed=-1: give a whole number from 0 to 4294967295"),
        ("seed=three", "seed=three: give a whole number"),
        ("limit_seed=4294967296", "limit_seed=4294967296: give"),
        ("dataset.seed=-1", "dataset.seed=-1: give"),
        ("limit=0", "limit=0: give a whole number from 1 or null"),
        ("limit=2.5", "limit=2.5: give"),
        ("limit=true", "limit=true: give"),
        ("batch_size=0", "batch_size=0: give a whole number from 1"),
        ("token_budget=0", "token_budget=0: give"),
        ("workers=-1", "workers=-1: give a whole number from 0"),
        ("max_failed=1.5", "max_failed=1.5: give a number from 0 to 1"),
        ("report.max_pairs=-1", "report.max_pairs=-1: give"),
        ("unit=wrod", "unit=wrod: give one of word, token"),
        ("split=tset", "split=tset: give one of train, dev, test"),
        ("reuse=maybe", "reuse=maybe: give true or false"),
        ("output=null", "output=null: give a text"),
        (
            "response_cache=5",
            "response_cache=5: give a text or null; a text that looks like something else needs",
        ),
        ("weights=true", "weights=true: give a text or null; a text that looks"),
        ("label_order=abc", "label_order=abc: give a list (each a text or a whole number) or null"),
        ("pairs=[[a]]", "pairs=[[a]]: give a list (each [a text, a text]) or null"),
        ("pairs=[[a, 1]]", "pairs=[[a, 1]]: give a list (each [a text, a text]) or null; a text"),
        ("pairs=a", "pairs=a: give a list"),
        ("explainer.removal=wrong", "explainer.removal=wrong: give one of zero, pad, mask, delete"),
        ("model.removal=wrong", "model.removal=wrong: give one of zero, pad, mask, delete"),
        ("metric.removal=[pad, wrong]", "metric.removal=[pad, wrong]: give one of zero, pad, mask"),
        ("explainer.k=null", "explainer.k=null: give a whole number from 2"),
        ("explainer.k=[3]", "explainer.k=[3]: give a whole number from 2"),
        ("explainer.t=0", "explainer.t=0: give a whole number from 2 or null (one group ranks"),
        ("explainer.sampling.samples=0", "explainer.sampling.samples=0: give"),
        ("explainer.sampling.temperature=0", "explainer.sampling.temperature=0: give a number"),
        ("explainer.fit.lr=.inf", "explainer.fit.lr=inf: give a number above 0"),
        ("explainer.objective.gamma_z=.inf", "explainer.objective.gamma_z=inf: give a number"),
        ("explainer.fit.cosine_period=0", "explainer.fit.cosine_period=0: give"),
        ("explainer.fit=3", "explainer.fit=3: it is no setting by itself, but has epochs, tol"),
        (
            "explainer.objective.gama_z=1",
            "explainer.objective.gama_z=1: there is no such setting; did you mean "
            "explainer.objective.gamma_z",
        ),
        ("explainer.epochs=5", "explainer.epochs=5: there is no such setting; did you mean"),
        ("explainer.word_filter=null", "explainer.word_filter=null: this is a part"),
        ("explainer.word_filter.epochs=true", "explainer.word_filter.epochs=true: give"),
        ("explainer.word_filter.beta=-1", "explainer.word_filter.beta=-1: give a number from 0"),
        ("model.explainers.imask.logit_bound=0", "model.explainers.imask.logit_bound=0: give"),
        (
            "model.explainers.imask.estimatr=exact",
            "model.explainers.imask.estimatr=exact: there is no such setting; did you mean mo",
        ),
        ("metric.aopc.resamples=0", "metric.aopc.resamples=0: give"),
        ("trainer.devices=0", "trainer.devices=0: give one of auto, -1 or a whole number from 1"),
        ("trainer.precision=half", "trainer.precision=half: give one of"),
        ("trainer.deterministic=maybe", "trainer.deterministic=maybe: give"),
        ("trainer.max_epochs=3", "trainer.max_epochs=3: set model.fit.max_epochs"),
        ("logger.csv.save_dir=5", "logger.csv.save_dir=5: give a text"),
        (
            "explainer=oracle; metric.removal=[pad,mask]",
            "explainer.removal=[pad, mask] (from metric.",
        ),
        (
            "metric=[naopc]; metric.naopc.min_range=0",
            "metric.naopc.min_range=0: give a number above",
        ),
        (
            "metric=[sufficiency]; metric.sufficiency.fractions=0.5",
            "metric.sufficiency.fractions=0.5",
        ),
        ("model=bert; model.pretrained=5", "model.pretrained=5: give a text"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_can(settings: str, said: str) -> None:
    assert refused("explain", *settings.split("; ")).startswith(said)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("experiment=table2; collect.resamples=0", "collect.resamples=0: give"),
        ("experiment=table2; collect.metric=aocp", "collect.metric=aocp: give one of"),
        ("experiment=groups; collect.level=2", "collect.level=2: give a number from 0 to 1"),
        (
            "experiment=groups; collect.metrics={a: {metric: aocp, table: b}}",
            "collect.metrics.a.metric",
        ),
    ],
)
def test_so_is_what_is_asked_of_a_collection(settings: str, said: str) -> None:
    assert refused("collect", *settings.split("; ")).startswith(said)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("model.fit.max_epochs=0", "model.fit.max_epochs=0: give a whole number from 1"),
        ("model.fit.patience=-1", "model.fit.patience=-1: give a whole number from 0"),
        ("model.fit.batch_size=0", "model.fit.batch_size=0: give"),
        ("model.fit.gradient_clip=-1", "model.fit.gradient_clip=-1: give"),
        ("model.net.lr=.nan", "model.net.lr=nan: give a number above 0"),
        ("model.net.lr=0", "model.net.lr=0: give a number above 0"),
        ("model.net.weight_decay=-1", "model.net.weight_decay=-1: give a number from 0"),
        ("model.net.warmup=2", "model.net.warmup=2: give a number from 0 to 1"),
        ("model.net.word_dropout=2", "model.net.word_dropout=2: give"),
        ("model.net.max_length=1", "model.net.max_length=1: give a whole number from 2"),
        (
            "model.net.heads=3",
            "model.net.heads=3: the heads share model.net.hidden_size=128 evenly",
        ),
        ("model.net.labels=[a,b]", "model.net.labels=[a, b]: there is no such setting"),
        ("limit=5", "limit=5: there is no such setting"),
        ("explainer.k=5", "explainer.k=5: there is no such setting"),
    ],
)
def test_the_same_of_a_training(settings: str, said: str) -> None:
    assert refused("train", settings).startswith(said)


def test_what_is_wrong_is_said_once_where_it_is_set_and_all_of_it() -> None:
    """The seed is read by the explainer and its filter."""
    assert refused("explain", "seed=-1", "limit=0").splitlines() == [
        "seed=-1: give a whole number from 0 to 4294967295",
        "limit=0: give a whole number from 1 or null",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("batchsize=4", "batchsize=4: there is no such setting; did you mean batch_size or model."),
        ("explainer.kk=1", "explainer.kk=1: there is no such setting; did you mean explainer.k?"),
        ("explainer.foo=1", "explainer.foo=1: there is no such setting; there are removal, k, t, "),
        (
            "metric.aopc.foo=1",
            "metric.aopc.foo=1: there is no such setting; there are max_removed, ",
        ),
        ("trainer.foo=1", "trainer.foo=1: there is no such setting; there are accelerator, "),
        ("model.fit.epochs=1", "model.fit.epochs=1: there is no such setting; did you mean "),
        ("model.size=1", "model.size=1: there is no such setting; there are name, removal"),
        ("notes.mine=1", "notes.mine=1: there is no such setting"),
        (
            "explainer.word_filter=random",
            "explainer.word_filter=random: this is a part, to be chosen",
        ),
        ("metric.aopc=5", "metric.aopc=5: this is a part, to be chosen by metric=[...]: alignment"),
        ("report=5", "report=5: it is no setting by itself, but has max_pairs"),
        (
            "explainer._target_=fractions.Fraction",
            "explainer._target_=fractions.Fraction: give a Ex",
        ),
        (
            "explainer._target_=gmask_pl.nowhere.N",
            "explainer._target_=gmask_pl.nowhere.N: there is ",
        ),
    ],
)
def test_a_setting_that_nobody_knows_is_named_with_its_neighbours(settings: str, said: str) -> None:
    assert refused("explain", settings).startswith(said)


def test_a_setting_that_is_read_from_nowhere_is_named() -> None:
    with pytest.raises(UserError, match="^limit: Interpolation key 'limits' not found"):
        check_settings(settled("explain", limit="${limits}"))


def test_what_is_missing_is_named() -> None:
    cfg = base("explain").copy()
    OmegaConf.set_struct(cfg, False)
    del cfg.dataset.train_size, cfg.model.fit.patience
    del cfg.model.net.lr  # which has a default
    cfg.limit = "???"
    with pytest.raises(UserError) as error:
        check_settings(cfg)
    assert sorted(line.partition(":")[0] for line in str(error.value).splitlines()) == [
        "dataset.train_size is missing",
        "limit is missing",
        "model.fit.patience is missing",
    ]


def test_a_setting_that_another_reads_is_its_type() -> None:
    changes = {"model.size": 3, "model.fit.patience": "${model.size}"}
    check_settings(settled("explain", **changes))
    with pytest.raises(UserError, match=r"^model\.size=-3: give a whole number from 0$"):
        check_settings(settled("explain", **changes | {"model.size": -3}))


def test_several_choices_at_once_are_refused() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", ["dataset=[planted,esnli]"], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    try:
        with pytest.raises(UserError, match="by -m dataset=planted,esnli"):
            check_settings(cfg)
    finally:
        HydraConfig.instance().cfg = None


Some = Annotated[str, OneOf(("a", "b"))]


@pytest.mark.parametrize(
    ("kind", "good", "bad", "said"),
    [
        (int, (0, -3), (1.0, True, "1", None), "a whole number"),
        (float, (0, 1.5), (True, "1", math.inf, math.nan, None), "a number"),
        (bool, (True,), (1, "true"), "true or false"),
        (str, ("", "1"), (1, None, True), "a text"),
        (Count, (1, 10**9), (0, 1.5), "a whole number from 1"),
        (Share, (0, 1, 0.5), (-0.1, 1.1), "a number from 0 to 1"),
        (Annotated[float, Range(0, 1, above=True)], (1,), (0,), "a number above 0 and at most 1"),
        (Annotated[int, at_least(2)] | None, (2, None), (1,), "a whole number from 2 or null"),
        (Some, ("a",), ("c", ["a"], 1), "one of a, b"),
        (Some | Sequence[Some], ("a", ["a", "b"]), ("c", ["c"]), "one of a, b or a list of them"),
        (Literal["x", -1] | int, ("x", 5), ("y", 1.5), "one of x, -1 or a whole number"),
        (Sequence[int], ([], (1, 2)), ("12", [1.5], 1), "a list (each a whole number)"),
        (tuple[str, str], (["a", "b"],), (["a"], "ab", ["a", 1]), "[a text, a text]"),
        (Mapping[str, int], ({"a": 1},), ({"a": "b"}, 1), "names with a whole number each"),
    ],
)
def test_what_an_annotation_allows(
    kind: Any, good: tuple[Any, ...], bad: tuple[Any, ...], said: str
) -> None:
    assert all(allowed(kind, value) for value in good)
    assert not any(allowed(kind, value) for value in bad)
    assert expected(kind) == said


class More(TypedDict):
    size: Count


class Part:
    @checked
    def __init__(self, name: str, *, count: Count | None, **more: Unpack[More]) -> None:
        self.given = (name, count, more["size"])


def test_a_checked_constructor_refuses_by_name_what_it_is_given() -> None:
    assert Part("a", count=None, size=1).given == ("a", None, 1)
    for given, said in (
        ({"count": 0, "size": 1}, r"^Part\.count=0: give a whole number from 1 or null$"),
        ({"count": 1, "size": 0}, r"^Part\.size=0: give a whole number from 1$"),
    ):
        with pytest.raises(UserError, match=said):
            Part("a", **given)  # type: ignore[arg-type]


def test_a_value_is_shown_as_it_is_typed() -> None:
    assert typed([None, True, 1.5, "a", {"b": [2]}]) == "[null, true, 1.5, a, {b: [2]}]"
    assert typed("a\x1b[31m") == r"'a\x1b[31m'"
    assert len(typed("x" * 1000)) == 80


@pytest.mark.parametrize(
    ("changes", "said"), [({"heads": 3}, "heads=3"), ({"max_length": 4}, "are 5")]
)
def test_sizes_that_a_network_cannot_have(changes: dict[str, int], said: str) -> None:
    sizes = {"vocabulary_size": 40, "hidden_size": 8, "layers": 1, "heads": 2, "max_length": 16}
    sizes |= {"intermediate_size": 8} | changes
    with pytest.raises(UserError, match=said):
        TinyBert.from_data(
            labels=LABELS,
            word_counts=Counter("ab"),
            dropout=0.0,
            initializer_range=0.1,
            **sizes,
            **OPTIMIZER,
        )


def test_a_missing_file_is_no_missing_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    with pytest.raises(UserError, match=r"a\.jsonl: there is no such file or folder; pairs is"):
        Pairs(name="pairs", path=str(file), clean=False, labels=["a", "b"], **UNNAMED).load("test")
    file.write_text("{}\n", "utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl: this is a file; esnli is read from a folder"):
        ESNLI(name="esnli", path=str(file), clean=True).load("test")
    with pytest.raises(UserError, match=r"a\.jsonl: this is a file; give the folder"):
        stored_classifier(base("explain"), ESNLI(name="esnli", path=None, clean=True), file, None)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """A folder to run commands in, none of which finds any data."""
    yield tmp_path
    HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "explain.py experiment=foo",
            "experiment=foo: there is no such choice. There are ablation_",
        ),
        (
            "explain.py metric=[aocp]",
            "metric=aocp: there is no such choice; did you mean aopc or na",
        ),
        (
            "explain.py logger=[cvs]",
            "logger=cvs: there is no such choice; did you mean csv? There ",
        ),
        (
            "explain.py explainer=gmsk",
            "explainer=gmsk: there is no such choice; did you mean gmask",
        ),
        ("explain.py explainer=[gmask,random]", "explainer=[gmask,random]: this is one choice"),
        (
            "explain.py +batchsize=4",
            "batchsize=4: there is no such setting; did you mean batch_size",
        ),
        (
            "explain.py batchsize=4",
            "batchsize=4: there is no such setting; did you mean batch_size",
        ),
        ("explain.py limit=3=4", "limit=3=4: this is no setting: mismatched input '='"),
        ("explain.py limit=1,2", "Ambiguous value for argument 'limit=1,2'"),
        ("explain.py weights=5", "weights=5: give a text or null"),
        ("explain.py archive=runs", "archive=runs: there is no such setting"),
        ("explain.py dataset=esnli dataset.path=none explainer.k=0", "explainer.k=0: give a whole"),
        ("explain.py dataset=esnli dataset.path=none explainer.t=11", "explainer.t=11: 10 words"),
        ("explain.py -m explainer=random,gmsk", "explainer=gmsk: there is no such choice"),
        ("explain.py hydra.callbacks.slots.jobs=0", "hydra.callbacks.slots: Slots.jobs=0: give"),
        ("train.py dataset=esnli dataset.path=none model.net.lr=nan", "model.net.lr=nan: give"),
        (
            "train.py dataset=esnli dataset.path=none trainer.accelerator=no",
            "trainer: You selected",
        ),
        ("train.py explainer=random", "explainer=random: train.py has no explainer to choose"),
        ("gmask_pl.commands.check weights=5", "weights=5: give a text or null"),
        ("gmask_pl.commands.explain weights=5", "weights=5: give a text or null"),
        ("gmask_pl.commands.train weights=5", "weights=5: there is no such setting"),
        (
            "collect.py experiment=foo",
            "experiment=foo: there is no such choice. There",
        ),
        (
            "collect.py experiment=table2 explainer=lime,gmsk",
            "explainer=gmsk: there is",
        ),
        ("collect.py experiment=table2 seed=0,-1", "seed=-1: give a whole number"),
        ("collect.py experiment=table2 limit=0", "limit=0: give a whole number"),
        (
            "collect.py experiment=table2 collect.foo=1",
            "collect.foo=1: there is no su",
        ),
        ("collect.py experiment=table2 beyond=0", "beyond=0: give a whole number from 1 or null"),
        ("collect.py experiment=table2 arcive=runs", "arcive=runs: there is no such setting; did"),
        ("gmask_paper.archive runs --output=none", "--output=none: no such folder of runs"),
    ],
)
def test_a_mistake_in_a_command_is_one_message(command: str, said: str, empty: Path) -> None:
    script, *arguments = command.split(" ")
    found = within(str(ROOT / script) if script.endswith(".py") else script, empty, *arguments)
    assert found.returncode == 2
    assert f"error: {said}" in found.stderr
    assert "Traceback" not in found.stderr
    assert "HYDRA_FULL_ERROR" not in found.stderr


def test_a_fault_of_the_program_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    @command("explain")
    def faulty() -> None:
        OmegaConf.set_struct(cfg := OmegaConf.create({"a": 1}), True)
        print(cfg.b)

    with pytest.raises(SystemExit) as left:
        faulty()
    assert left.value.code == 1
    assert "Traceback" in capsys.readouterr().err


def test_what_a_terminal_cannot_show_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    print_anything()
    print("a • b ─ \ud800")
    sys.stdout.flush()
    assert written.getvalue() == b"a ? b ? ?\n"
