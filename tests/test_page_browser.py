"""The page in a browser: it answers as the model does, by mouse, keys and links, and stays safe."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gmask_pl import Explanations, PairExplainer
from gmask_pl.drawing.html import fragment

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser tests need selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
QUIET = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
QUIET += ("disable-background-networking", "disable-component-update", "window-size=1100,1400")

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no browser: the page is not tried in one (apt-get install chromium chromium-driver)",
)
pytestmark = pytest.mark.slow

LABELS = ["contradiction", "<b>neutral</b>", "entailment"]
HOSTILE = '<script>window.hacked=1</script> "><img src=x onerror=window.hacked=1> \u202e&amp; -->'
PAIRS = [
    ("a man plays the guitar", "one man had a banjo"),
    ("nobody sleeps here", "the dog sleeps"),
    (HOSTILE, "javascript:window.hacked=1 {{7*7}} '+alert(1)+'"),
]


def model(pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
    found = []
    for a, b in pairs:
        both = float("guitar" in a and "banjo" in b) - 0.5 * ("nobody" in a)
        weights = [0.9 + 3 * both * (both > 0), 1 + 0.1 * len(a), 1 + 0.2 * len(b.split())]
        found.append([weight / sum(weights) for weight in weights])
    return found


@pytest.fixture(scope="module")
def found() -> Explanations:
    return PairExplainer(model, labels=LABELS, removal="delete").many(PAIRS)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for name in QUIET:
        options.add_argument(f"--{name}")
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.downloads = downloads
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, found: Explanations, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page of the explanations; in the end nothing was fetched and no script failed."""
    file = found.save(tmp_path / "page.html")

    def opened(at: str = "") -> Any:
        browser.get("about:blank")  # else a new fragment does not load the page anew
        browser.get(f"{file.as_uri()}{at}")
        return browser

    yield opened
    assert browser.execute_script("return window.hacked") is None
    assert [line["message"] for line in browser.get_log("browser")] == []
    sent = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = {
        one["params"]["request"]["url"].split("#")[0]
        for one in sent
        if one["method"] == "Network.requestWillBeSent"
    }
    own = {url for url in asked if url.startswith(("data:", "blob:"))}
    assert asked - own <= {file.as_uri()}


def card_of(browser: Any, place: int) -> Any:
    return browser.find_element(By.ID, f"card-{place}")


def told(card: Any) -> list[float]:
    """The probabilities that a card shows."""
    shown = card.find_elements(By.CSS_SELECTOR, ".said .class .num")
    return [float(one.text.removesuffix(" %")) / 100 for one in shown]


def direct(found: Any, mode: str, chosen: set[int]) -> list[float]:
    """What the model says itself of a pair under a choice of words."""
    kept = [(i in chosen) == (mode == "keep") for i in range(len(found.words))]
    n1 = len(found.words1)
    texts = [
        " ".join(word for word, there in zip(words, own, strict=True) if there)
        for words, own in ((found.words1, kept[:n1]), (found.words2, kept[n1:]))
    ]
    return model([(texts[0], texts[1])])[0]


@needs_browser
def test_what_is_pressed_is_what_the_model_says(page: Any, found: Explanations) -> None:
    browser, draw = page(), random.Random(0)
    for place, one in enumerate(found[:2]):
        card = card_of(browser, place)
        words = card.find_elements(By.CSS_SELECTOR, ".side .w")
        modes = card.find_elements(By.CSS_SELECTOR, ".tools input")
        mode, chosen = "remove", set[int]()
        for _ in range(25):
            if draw.random() < 0.2:
                other = draw.choice(["remove", "keep"])
                before = mode
                modes[["remove", "keep"].index(other)].click()
                mode = other if modes[["remove", "keep"].index(other)].is_selected() else before
            else:
                word = draw.randrange(len(words))
                words[word].click()
                if words[word].get_attribute("aria-pressed") == str(word not in chosen).lower():
                    chosen ^= {word}
            if told(card):
                assert told(card) == pytest.approx(direct(one, mode, chosen), abs=1e-3)
        assert chosen


@needs_browser
def test_every_answer_of_the_page_is_a_fresh_call(page: Any, found: Explanations) -> None:
    """Set through links, in a seeded order; what nobody asked is never made up."""
    browser, draw = page(), random.Random(1)
    known = found[0]
    assert known.responses is not None
    for _ in range(60):
        mode, size = draw.choice(["keep", "remove"]), draw.randint(0, 5)
        chosen = set(draw.sample(range(len(known.words)), size))
        link = f"#card-0/{mode}/{','.join(map(str, sorted(chosen)))}"
        kept = chosen if mode == "keep" else set(range(len(known.words))) - chosen
        browser.execute_script("location.hash = arguments[0]", link)
        card = card_of(browser, 0)
        refused = card.find_elements(By.CSS_SELECTOR, ".said .noted.warning")
        if known.responses.find(kept) is None:
            assert refused
            assert "was not asked" in refused[0].text
        elif not refused:
            assert told(card) == pytest.approx(direct(known, mode, chosen), abs=1e-3)
            same = "The decision is the same" in card.text
            assert same == (direct(known, mode, chosen)[0] == max(direct(known, mode, chosen)))


@needs_browser
def test_the_keys_alone_reach_everything(page: Any, found: Explanations) -> None:
    browser = page()
    active = lambda: browser.switch_to.active_element  # noqa: E731
    card = card_of(browser, 0)
    first = card.find_element(By.CSS_SELECTOR, ".side .w")
    seen: list[str] = []
    for _ in range(60):
        active().send_keys(Keys.TAB)
        seen.append(active().tag_name + " " + (active().text or active().accessible_name)[:12])
        if active() == first:
            break
    assert active() == first
    reached = {one.split()[0] for one in seen}
    assert {"select", "input", "button"} <= reached
    active().send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert active().text == found[0].words[1]
    active().send_keys(Keys.END)
    assert active().text == found[0].words[-1]
    active().send_keys(Keys.SPACE)
    assert told(card) == pytest.approx(direct(found[0], "remove", {9}), abs=1e-3)
    active().send_keys(Keys.ENTER)
    assert told(card) == pytest.approx(direct(found[0], "remove", set()), abs=1e-3)
    names = list[str]()
    for _ in range(20):
        active().send_keys(Keys.TAB)
        names.append(active().accessible_name)
        if names[-1] == "Link":
            break
    for name in ("G1", "Enough alone:", "Undo", "Reset", "Link"):
        assert name in names or (name == "Undo" and "Reset" in names), names
    active().send_keys(Keys.ENTER)
    assert browser.current_url.endswith("#card-0/remove/")


@needs_browser
def test_undo_reset_groups_and_sets(page: Any, found: Explanations) -> None:
    browser = page()
    card, one = card_of(browser, 0), found[0]
    buttons = {own.text: own for own in card.find_elements(By.CSS_SELECTOR, "button")}
    buttons["G1"].click()
    group = set(one.word_groups[0].positions)
    assert told(card) == pytest.approx(direct(one, "remove", group), abs=1e-3)
    assert one.certificates is not None
    assert one.certificates.sufficient is not None
    buttons["Enough alone:"].click()
    enough = set(one.certificates.sufficient.words)
    assert told(card) == pytest.approx(direct(one, "keep", enough), abs=1e-3)
    out = card.find_elements(By.CSS_SELECTOR, ".side .w.out")
    assert len(out) == len(one.words) - len(enough)
    buttons["Undo"].click()
    assert told(card) == pytest.approx(direct(one, "remove", group), abs=1e-3)
    buttons["Reset"].click()
    assert told(card) == pytest.approx(direct(one, "remove", set()), abs=1e-3)


@needs_browser
def test_hostile_texts_stay_texts(page: Any, found: Explanations) -> None:
    browser = page("#card-2/remove/")
    card = card_of(browser, 2)
    for word in card.find_elements(By.CSS_SELECTOR, ".side .w[aria-disabled=false]"):
        word.click()
    assert card.find_elements(By.CSS_SELECTOR, "script, img") == []
    assert "<script>" in card.find_element(By.CSS_SELECTOR, ".side").text
    assert "<b>neutral</b>" in card.find_element(By.CSS_SELECTOR, ".said").text
    for other in ("<img src=x onerror=window.hacked=1>", "card-0/keep/%3C", "card-99/keep/1"):
        browser.execute_script("location.hash = arguments[0]", other)
    assert browser.execute_script("return document.querySelectorAll('.card').length") == 3


def downloaded(browser: Any, name: str) -> bytes:
    until = time.monotonic() + 60
    while not (browser.downloads / name).is_file() and time.monotonic() < until:
        time.sleep(0.05)
    return (browser.downloads / name).read_bytes()


@needs_browser
def test_cards_are_filtered_and_saved(page: Any, found: Explanations) -> None:
    browser = page()
    form = browser.find_element(By.CSS_SELECTOR, "form.filters")
    form.find_element(By.NAME, "text").send_keys("guitar")
    shown = browser.find_elements(By.CSS_SELECTOR, ".card:not([hidden])")
    assert [card.get_attribute("data-id") for card in shown] == [found[0].id]
    assert form.find_element(By.TAG_NAME, "output").text == "1 of 3"
    buttons = {own.text: own for own in browser.find_elements(By.CSS_SELECTOR, "button")}
    buttons["Save as CSV"].click()
    table = downloaded(browser, "pairs.csv").decode().splitlines()
    assert len(table) == 2
    assert table[1].startswith(f"{found[0].id},a man plays the guitar,one man had a banjo,")
    assert table[1].endswith(f",{found[0].enough},{found[0].needed}")
    buttons["SVG"].click()
    picture = ElementTree.fromstring(downloaded(browser, "card-0.svg"))
    assert "guitar" in "".join(picture.itertext())
    buttons["PNG"].click()
    assert downloaded(browser, "card-0.png").startswith(b"\x89PNG")


@needs_browser
def test_cards_in_a_notebook_answer_each_for_itself(
    browser: Any, found: Explanations, tmp_path: Path
) -> None:
    file = tmp_path / "notebook.html"
    outputs = "".join(f"<div>{fragment(found[i : i + 1])}</div>" for i in range(2))
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{outputs}", "utf-8")
    browser.get(file.as_uri())
    cards = browser.find_elements(By.CSS_SELECTOR, ".card")
    for card, one in zip(cards, found, strict=False):
        words = card.find_elements(By.CSS_SELECTOR, ".side .w")
        whole = set(range(len(words)))
        known = [i for i in whole if one.responses.find(whole - {i}) is not None]
        word = known[0]
        words[word].click()
        assert told(card) == pytest.approx(direct(one, "remove", {word}), abs=1e-3)
        names = [own.text for own in card.find_elements(By.CSS_SELECTOR, "button")]
        assert "Undo" in names
        assert "Link" not in names
    assert browser.get_log("browser") == []


@pytest.mark.skipif(shutil.which("node") is None, reason="no node: modules are not tried alone")
def test_the_modules_of_the_script() -> None:
    tests = Path(__file__).parent / "script" / "page.test.mjs"
    done = subprocess.run(
        ["node", "--test", str(tests)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
