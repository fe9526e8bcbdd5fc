/** A card that answers: words and groups are put in and out, and the model's answer is looked up. */

import { Answers } from "./answers.mjs";
import { KEEP, REMOVE, START, changed, keptOf, linkOf, toggled, undone } from "./state.mjs";

const NOT_ASKED = "The model was not asked about this set of words, so nobody knows its answer.";

/**
 * @param {string} tag @param {string} className @param {string} [text]
 * @returns {HTMLElement}
 */
export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** @param {string} text @param {() => void} press @returns {HTMLButtonElement} */
export function button(text, press) {
  const made = /** @type {HTMLButtonElement} */ (element("button", "", text));
  made.type = "button";
  made.addEventListener("click", press);
  return made;
}

/** @param {Element} place @returns {number[]} the words that it names */
function wordsOf(place) {
  return (place.getAttribute("data-words") ?? "").split(" ").filter(Boolean).map(Number);
}

export class AnsweringCard {
  /** @param {HTMLElement} card with data-answers @param {boolean} linking whether states have links */
  constructor(card, linking) {
    this.card = card;
    /** @type {import("./state.mjs").State} */
    this.state = START;
    /** @type {Answers | null} */
    this.known = null;
    /** @type {HTMLElement[]} the words of both texts, by position */
    this.words = [...card.querySelectorAll(".side .w[data-word]")].map(
      (word) => /** @type {HTMLElement} */ (word),
    );
    this.panel = /** @type {HTMLElement} */ (card.querySelector(".whatif"));
    this.#build(linking);
    this.show();
  }

  /** @returns {Answers} decoded when it is needed first */
  get answers() {
    this.known ??= new Answers(JSON.parse(this.card.dataset.answers ?? ""));
    return this.known;
  }

  /** @param {boolean} linking */
  #build(linking) {
    const name = `mode-${Math.random().toString(36).slice(2)}`;
    this.modes = new Map(
      [
        [REMOVE, "remove the chosen words"],
        [KEEP, "keep only the chosen words"],
      ].map(([mode, text]) => {
        const radio = document.createElement("input");
        radio.type = "radio";
        radio.name = name;
        radio.addEventListener("change", () => this.go(changed(this.state, mode, this.state.chosen)));
        const label = element("label", "");
        label.append(radio, text);
        return [mode, { radio, label }];
      }),
    );
    this.undo = button("Undo", () => this.go(undone(this.state)));
    this.reset = button("Reset", () => this.go(changed(this.state, START.mode, [])));
    const bar = element("div", "tools");
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "What if some words were gone?");
    bar.append(element("b", "", "What if?"));
    for (const { label } of this.modes.values()) bar.append(label);
    bar.append(this.undo, this.reset);
    if (linking) {
      bar.append(button("Link", () => this.link()));
    }
    this.said = element("div", "said");
    this.said.setAttribute("role", "status");
    this.panel.prepend(bar, this.said);
    this.panel.hidden = false;
    this.#bind();
  }

  /** Words and groups can be pressed; the arrow keys lead from word to word. */
  #bind() {
    const read = new Set(JSON.parse(this.card.dataset.read ?? "[]"));
    this.active = this.words.filter((_, i) => read.has(i));
    for (const word of this.active) {
      word.setAttribute("role", "button");
      word.tabIndex = word === this.active[0] ? 0 : -1;
      word.addEventListener("click", () => this.press([Number(word.dataset.word)]));
      word.addEventListener("keydown", (event) => this.#key(event, word));
    }
    for (const place of this.card.querySelectorAll("[data-words]")) {
      const words = wordsOf(place);
      const mode = place.getAttribute("data-mode");
      const text = place.textContent ?? "";
      const own = button(text.trim(), () =>
        mode ? this.go(changed(this.state, mode, words)) : this.press(words),
      );
      own.title = mode ? "show this" : "choose the words of this group";
      place.replaceChildren(own);
    }
  }

  /** @param {KeyboardEvent} event @param {HTMLElement} word */
  #key(event, word) {
    const active = this.active ?? [];
    const at = active.indexOf(word);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: active.length - 1 }[event.key];
    if (event.key === " " || event.key === "Enter") word.click();
    else if (to !== undefined) active[Math.max(0, Math.min(to, active.length - 1))].focus();
    else return;
    event.preventDefault();
  }

  /** Words are chosen or no longer, where the model was asked about it. @param {number[]} words */
  press(words) {
    this.go(toggled(this.state, words));
  }

  /** @param {import("./state.mjs").State} state */
  go(state) {
    if (this.answers.at(keptOf(state, this.answers.read)) === null) {
      this.refuse();
      return;
    }
    this.state = state;
    this.show();
  }

  refuse() {
    this.note(NOT_ASKED, "warning");
    this.#setModes();
  }

  /** The address of the page becomes that of this state. */
  link() {
    history.replaceState(null, "", `#${linkOf(this.card.id, this.state)}`);
    this.note("The address of this page now leads here: copy it.", "soft");
  }

  /** @param {string} text @param {string} kind */
  note(text, kind) {
    this.said?.querySelector(".noted")?.remove();
    this.said?.append(element("p", `noted ${kind}`, text));
  }

  #setModes() {
    for (const [mode, { radio }] of this.modes ?? []) radio.checked = mode === this.state.mode;
  }

  show() {
    this.#setModes();
    if (this.undo) this.undo.disabled = this.state.before === null;
    const touched = this.state !== START;
    if (touched) this.#mark();
    this.#tell(touched);
  }

  /** Which words are out, and which can be pressed next. */
  #mark() {
    const { answers, state } = this;
    const kept = keptOf(state, answers.read);
    const chosen = new Set(state.chosen);
    for (const word of this.active ?? []) {
      const position = Number(word.dataset.word);
      const next = keptOf(toggled(state, [position]), answers.read);
      const known = answers.at(next) !== null;
      word.classList.toggle("out", !kept.has(position));
      word.classList.toggle("locked", !known);
      word.setAttribute("aria-pressed", `${chosen.has(position)}`);
      word.setAttribute("aria-disabled", `${!known}`);
      const which = kept.has(position) ? "kept" : "removed";
      word.setAttribute("aria-label", `${word.textContent}, ${which}${known ? "" : ", cannot be changed: not asked"}`);
    }
  }

  /** @param {boolean} touched */
  #tell(touched) {
    const told = this.said;
    if (!told) return;
    if (!touched) {
      told.replaceChildren(
        element("p", "soft", "Press words or groups to take them out and see what the model says."),
      );
      return;
    }
    const { answers } = this;
    const answer = answers.at(keptOf(this.state, answers.read));
    if (answer === null) return;
    const bars = answers.labels.map((label, i) => {
      const p = answer.probabilities[i];
      const row = element("div", "class");
      const bar = element("span", "bar");
      const filled = element("span", "");
      filled.style.width = `${(100 * p).toFixed(1)}%`;
      bar.append(filled);
      row.append(element("span", "name", label), bar, element("span", "num", `${(100 * p).toFixed(1)} %`));
      return row;
    });
    const classes = element("div", "classes");
    classes.append(...bars);
    told.replaceChildren(classes, element("p", "decision", this.sentence(answer)));
  }

  /** @param {import("./answers.mjs").Answer} answer @returns {string} */
  sentence(answer) {
    const { answers, card } = this;
    const far = answer.value - answers.whole.value;
    const sign = far < 0 ? "−" : "+";
    const change = `${sign}${Math.abs(far).toFixed(3)} against the whole pair`;
    const decision = answer.same ? "The decision is the same" : "The decision is another";
    return `${decision}: ${card.dataset.asked} ${answer.value.toFixed(3)}, ${change}.`;
  }
}
