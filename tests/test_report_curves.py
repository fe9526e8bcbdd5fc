"""Figures 3 and 4: every curve can be told apart, and the legend names them all."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from gmask_paper.curve_figures import Curve, Panel, draw_panels, looks

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["GMASK (k=4)", "gmask_two_sided", "LIME", *(f"other {i}" for i in range(16))]


def curve(name: str, y: float) -> Curve:
    return Curve(name, "method", [1, 2], [y, y / 2], [0, 0], [1, 1])


def test_a_legend_longer_than_a_panel_is_whole(tmp_path: Path) -> None:
    curves = tuple(curve(name, i / len(NAMES)) for i, name in enumerate(NAMES))
    draw_panels([[Panel("one panel", curves, "")]], tmp_path / "figure", x="x", y="y")
    svg = ElementTree.parse(tmp_path / "figure.svg").getroot()
    height = float(svg.attrib["viewBox"].split()[3])
    at = {text.text: float(text.attrib["y"]) for text in svg.iter(f"{SVG}text") if text.text}
    assert set(NAMES) <= set(at)
    assert all(9 < at[name] < height for name in NAMES)  # a line of text is 9 points high


def test_no_two_curves_look_alike() -> None:
    found = looks(dict.fromkeys(NAMES, "method")).values()
    assert len({(look["color"], look["linestyle"]) for look in found}) == len(NAMES)
