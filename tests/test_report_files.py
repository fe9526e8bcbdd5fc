"""metrics.json, curves.csv, the two figures and the table of runs."""

from __future__ import annotations

import csv
import json
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from gmask_pl.metrics.presentation import presentation
from gmask_pl.pipeline.report.console_table import format_table
from gmask_pl.pipeline.report.figures import metric_figure
from gmask_pl.pipeline.report.result_files import (
    lines,
    number,
    read_metrics,
    write_curves,
    write_metrics,
    write_text,
)
from gmask_pl.types import UserError


def metrics() -> dict[str, Any]:
    by_v = [0.5, 0.75, 0.8, 0.9]
    return {
        "aopc": {"value": 0.25, "low": 0.125, "high": 0.375, "n": 40},
        "post_hoc_accuracy": {
            "value": 0.7375,
            "low": 0.7,
            "high": 0.8,
            "n": 40,
            "by_v": by_v,
            "low_by_v": [y - 0.1 for y in by_v],
            "high_by_v": [y + 0.1 for y in by_v],
            "empty": "floor",
            "floor": 0.25,
            "floor_low": 0.2,
            "floor_high": 0.3,
            "above_floor": 0.65,
            "above_floor_low": 0.6,
            "above_floor_high": 0.7,
        },
        "degradation": {
            "value": 1.5,
            "low": 1.0,
            "high": 2.0,
            "n": 40,
            "denominator": 0.0123,
            "meaningful": False,
            "why": "it divides by 0.0123",
            "percent": [0, 50, 100],
            "morf": [1.0, 0.25, 0.0],
            "lerf": [1.0, 0.75, 0.0],
        },
        "cost": {
            "evaluations_per_pair": 1024.0,
            "gradients_per_pair": 0.0,
            "seconds_per_pair": 0.5,
        },
    }


def test_metrics_round_trip(tmp_path: Path) -> None:
    write_metrics(tmp_path, metrics())
    assert read_metrics(tmp_path) == metrics()


def test_metrics_json_is_strict_sorted_and_null_where_not_finite(tmp_path: Path) -> None:
    values = {"b": {"value": math.nan, "by_v": [1.0, math.inf]}, "a": {"meaningful": True}}
    text = write_metrics(tmp_path, values).read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert found == {"a": {"meaningful": True}, "b": {"value": None, "by_v": [1.0, None]}}
    assert list(found) == ["a", "b"]


def test_metrics_that_cannot_be_written_keep_the_earlier_file(tmp_path: Path) -> None:
    write_metrics(tmp_path, metrics())
    with pytest.raises(TypeError):
        write_metrics(tmp_path, {"aopc": {"value": object()}})
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "metrics.json", "half \ud800")
    assert read_metrics(tmp_path) == metrics()
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_missing_metrics_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.json: no such file"):
        read_metrics(tmp_path)


def test_curves_hold_each_point_with_its_interval(tmp_path: Path) -> None:
    with write_curves(tmp_path, metrics()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["curve", "x", "y", "low", "high"]
    assert [row["curve"] for row in rows] == ["post_hoc_accuracy"] * 4 + ["morf"] * 3 + ["lerf"] * 3
    assert rows[0] == {
        "curve": "post_hoc_accuracy", "x": "1", "y": "0.5", "low": "0.4", "high": "0.6"
    }  # fmt: skip
    assert rows[5] == {"curve": "morf", "x": "50.0", "y": "0.25", "low": "", "high": ""}
    assert rows[8]["y"] == "0.75"


def test_curves_of_absent_metrics_are_only_a_head(tmp_path: Path) -> None:
    assert (
        write_curves(tmp_path, {"aopc": {}}).read_text(encoding="utf-8") == "curve,x,y,low,high\n"
    )


def test_a_null_on_a_curve_is_an_empty_cell() -> None:
    values = {"percent": [0, 100], "morf": [None, math.nan], "lerf": [0.5, 0]}
    found = lines("degradation", values, presentation("degradation"))
    assert [y for line in found for _, y, _, _ in line.points] == [None, None, 0.5, 0.0]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("a", "value"), 2.0),
        (("a", "list", 1), 4.0),
        (("a", "list", 9), None),
        (("a", "nan"), None),
        (("a", "none", 0), None),
        (("b", "value"), None),
        (("a",), None),
    ],
)
def test_number_is_finite_or_none(keys: tuple[str | int, ...], expected: float | None) -> None:
    values = {"a": {"value": 2, "list": [3, 4], "nan": math.nan, "none": None}}
    assert number(values, *keys) == expected


def figure(name: str, results: dict[str, Any]) -> str | None:
    return metric_figure(name, results[name], presentation(name))


@pytest.mark.parametrize("name", ["post_hoc_accuracy", "degradation"])
def test_figures_are_wellformed_stable_and_without_foreign_ids(name: str) -> None:
    svg = figure(name, metrics())
    assert svg is not None
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("aria-label")
    assert svg == figure(name, metrics())
    changed = metrics()
    changed["post_hoc_accuracy"]["by_v"][2] = changed["degradation"]["morf"][1] = 0.123
    assert svg != figure(name, changed)
    assert figure(name, {name: {}}) is None


def test_the_figures_share_no_id() -> None:
    ids = [
        {element.get("id") for element in ElementTree.fromstring(svg).iter()} - {None}
        for svg in (figure(name, metrics()) for name in ("post_hoc_accuracy", "degradation"))
        if svg is not None
    ]
    assert len(ids) == 2
    assert all(ids)
    assert not ids[0] & ids[1]


def test_a_degradation_without_a_denominator_has_no_figure() -> None:
    values = metrics()
    values["degradation"] |= {"morf": [None] * 3, "lerf": [None] * 3}
    assert figure("degradation", values) is None


def test_table_is_aligned_whatever_is_missing() -> None:
    full = metrics()
    runs = [
        ("gmask", full),
        ("a much longer name", {"aopc": {"value": -12.5, "low": None, "high": None, "n": 2000}}),
        ("nothing", {}),
    ]
    lines = format_table(runs).splitlines()
    head, rule, *rows = lines[:5]
    ends = [i for i in range(len(rule)) if rule[i] == "─" and rule[i + 1 : i + 2] != "─"]
    for row in rows:
        cells = row.ljust(len(rule))
        assert all(cells[end] != " " for end in ends[1:])
        assert all(cells[end + 1 : end + 3].strip() == "" for end in ends)
    assert len(ends) == len(head.split()) == 12
    assert " ".join(rows[0].split()) == (
        "gmask 40 0.250 [0.125, 0.375] 0.738 0.650 0.50 0.75 0.90 – 1.500* [1.000, 2.000] "
        "1,024 0.500"
    )
    assert rows[1].split()[4:7] == ["2,000", "-12.500", "–"]
    assert rows[2].split() == ["nothing"] + ["–"] * 11


def many_removals() -> dict[str, Any]:
    one = {"aopc": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 40}}
    other = {"aopc": {"value": 0.25, "low": 0.2, "high": 0.3, "n": 40}}
    shared = {"own_metric": {"value": 0.75, "n": 11}, "cost": {"evaluations_per_pair": 100.0}}
    order = {"scoring": {"removals": ["pad", "mask"]}}
    return {**one, **shared, **order, "by_removal": {"mask": other, "pad": one}}


def test_a_metric_the_table_does_not_know_has_a_column_of_its_own() -> None:
    added = metrics() | {
        "flips": {"value": 0.125, "low": 0.0, "high": 0.5, "n": 40, "meaning": "text"},
        "unknown": {"value": None, "low": None, "high": None, "n": 0},
        "scoring": {"evaluations_per_pair": 31.0},
    }
    head, _, row, other = format_table([("new", added), ("old", metrics())]).splitlines()[:4]
    assert head.split()[-4:] == ["flips", "unknown", "evaluations", "seconds"]
    assert row.split()[-6:-2] == ["0.125", "[0.000,", "0.500]", "–"]
    assert other.split()[-4:-2] == ["–", "–"]
    assert len(head.split()) == 14


def test_evidence_has_its_columns_with_the_area() -> None:
    evidence = {"value": 0.5, "top_group": None, "auprc": 0.875, "n": 3}
    head, _, row, _ = format_table([("a", {"evidence": evidence}), ("b", {})]).splitlines()
    assert head.split()[2:6] == ["evidence", "top", "group", "AUPRC"]
    assert row.split()[2:5] == ["0.50", "–", "0.88"]


def test_several_removals_are_a_row_each() -> None:
    head, _, first, second = format_table([("run", many_removals())]).splitlines()
    assert head.split()[-3:] == ["own_metric", "evaluations", "seconds"]
    assert first.split()[:4] == ["run", "(pad)", "40", "0.500"]
    assert first.split()[-3:] == ["0.750", "100", "–"]
    assert second.split()[:4] == ["run", "(mask)", "40", "0.250"]
    assert second.split()[-3:] == ["–"] * 3


def test_table_marks_only_what_is_not_meaningful() -> None:
    good, floor = metrics(), metrics()
    good["degradation"]["meaningful"] = floor["degradation"]["meaningful"] = True
    floor["post_hoc_accuracy"] |= {"meaningful": False, "why": "no word is needed"}
    floor["own_metric"] = {"value": 0.75, "n": 9, "meaningful": False}
    assert "*" not in format_table([("good", good)])
    text = format_table([("good", good), ("weak", metrics()), ("floor", floor)])
    assert text.count("1.500*") == 1
    assert text.count("0.738*  0.650*") == 1
    assert text.count("0.750*") == 1
    assert "good:" not in text
    assert "* weak: degradation is not meaningful: it divides by 0.0123\n" in text
    assert "* floor: post_hoc_accuracy is not meaningful: no word is needed\n" in text
    assert "* floor: own_metric is not meaningful: its result does not say why" in text


def test_what_the_empty_pair_gives_stands_below_the_table_once() -> None:
    other = metrics()
    text = format_table([("one", metrics()), ("two", other)])
    line = "post_hoc_accuracy floor 0.250 [0.200, 0.300]"
    assert text.count(line) == 1
    assert f"without any word: {line}" in text
    other["post_hoc_accuracy"]["floor"] = 0.5
    text = format_table([("one", metrics()), ("two", other)])
    assert f"without any word (one): {line}" in text
    assert "(two): post_hoc_accuracy floor" in text
