/** The cards of a page or of a notebook's output come to life. */

import { AnsweringCard, button, element } from "./card.mjs";
import { csvOf, listed } from "./listing.mjs";
import { changed, linked } from "./state.mjs";

const A_PAGE = 50; // cards

/** @type {Map<string, AnsweringCard>} */
const answering = new Map();

/** @param {ParentNode} place @param {boolean} linking */
export function bind(place, linking) {
  for (const found of place.querySelectorAll(".gmask .card[data-answers]")) {
    const card = /** @type {HTMLElement} */ (found);
    if (card.dataset.bound) continue;
    card.dataset.bound = "true";
    answering.set(card.id, new AnsweringCard(card, linking));
  }
}

/** @param {HTMLElement} card @returns {import("./listing.mjs").Entry} */
function entryOf(card, place) {
  const number = (/** @type {string | undefined} */ text) => (text ? Number(text) : null);
  return {
    place,
    label: card.dataset.label ?? "",
    wrong: card.classList.contains("wrong"),
    warned: card.querySelector(".warning") !== null,
    sure: number(card.dataset.sure),
    enough: number(card.dataset.enough),
    text: [...card.querySelectorAll(".side, .id")].map((own) => own.textContent ?? "").join(" ").toLowerCase(),
  };
}

/** Filters, order and pages of the cards. */
export class Listing {
  /** @param {HTMLFormElement} form @param {HTMLElement[]} cards */
  constructor(form, cards) {
    this.form = form;
    this.cards = cards;
    this.entries = cards.map(entryOf);
    this.page = 0;
    this.pager = element("nav", "pager");
    this.pager.setAttribute("aria-label", "Pages of pairs");
    cards[cards.length - 1].after(this.pager);
    form.hidden = false;
    form.addEventListener("input", () => this.show(0));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector(".export")?.append(
      button("Save as CSV", () => save(csvOf(this.rows()), "text/csv", "pairs.csv")),
    );
    this.show(0);
  }

  get wanted() {
    const of = (/** @type {string} */ name) => /** @type {any} */ (this.form.elements.namedItem(name));
    return {
      label: of("label")?.value ?? "",
      sureness: of("sureness")?.value ?? "",
      wrong: of("wrong")?.checked ?? false,
      warned: of("warned")?.checked ?? false,
      text: of("text")?.value ?? "",
      order: of("order")?.value ?? "file",
    };
  }

  /** @param {number} page */
  show(page) {
    const found = listed(this.entries, this.wanted);
    const pages = Math.max(1, Math.ceil(found.length / A_PAGE));
    this.page = Math.min(page, pages - 1);
    this.found = found;
    for (const card of this.cards) card.hidden = true;
    const own = found.slice(this.page * A_PAGE, (this.page + 1) * A_PAGE);
    for (const { place } of own) {
      this.cards[place].hidden = false;
      this.pager.before(this.cards[place]);
    }
    const told = this.form.querySelector("output");
    if (told) told.textContent = `${found.length} of ${this.cards.length}`;
    const back = button("‹ Back", () => this.turn(-1));
    const on = button("On ›", () => this.turn(1));
    back.disabled = this.page === 0;
    on.disabled = this.page === pages - 1;
    this.pager.replaceChildren(back, element("span", "soft", `page ${this.page + 1} of ${pages}`), on);
    this.pager.hidden = pages === 1;
  }

  /** @param {number} by */
  turn(by) {
    this.show(this.page + by);
    this.form.scrollIntoView();
  }

  /** Shows the page that holds a card. @param {HTMLElement} card */
  reveal(card) {
    if (!card.hidden) return;
    const at = (this.found ?? []).findIndex(({ place }) => this.cards[place] === card);
    if (at >= 0) this.show(Math.floor(at / A_PAGE));
    else {
      this.form.reset();
      this.show(Math.floor(this.cards.indexOf(card) / A_PAGE));
    }
  }

  /** All that are found, as a table. */
  rows() {
    const head = ["id", "text 1", "text 2", "predicted", "probability", "gold", "top words", "enough", "needed"];
    const rows = (this.found ?? []).map(({ place }) => {
      const card = this.cards[place];
      const sides = [...card.querySelectorAll(".side")].map((side) => side.textContent ?? "");
      const data = card.dataset;
      return [data.id, ...sides, data.predicted, data.sure, data.gold, data.top, data.enoughWords, data.neededWords].map((cell) => cell ?? "");
    });
    return [head, ...rows];
  }
}

/** @param {BlobPart} data @param {string} type @param {string} name */
function save(data, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([data], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** A card as a picture that stands alone. @param {HTMLElement} card @returns {string} SVG */
export function pictureOf(card) {
  const { width, height } = card.getBoundingClientRect();
  const copy = /** @type {HTMLElement} */ (card.cloneNode(true));
  copy.removeAttribute("data-answers");
  for (const own of copy.querySelectorAll(".tools, .exports")) own.remove();
  const style = element("style", "");
  style.textContent = [...document.querySelectorAll("style")].map((own) => own.textContent).join("\n");
  const frame = element("div", "gmask");
  frame.append(style, copy);
  const body = new XMLSerializer().serializeToString(frame);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.ceil(width)}" height="${Math.ceil(height)}">` +
    `<foreignObject width="100%" height="100%">${body}</foreignObject></svg>`
  );
}

/** @param {HTMLElement} card @param {string} kind svg or png */
function savePicture(card, kind) {
  const picture = pictureOf(card);
  const name = `${card.id}.${kind}`;
  if (kind === "svg") {
    save(picture, "image/svg+xml", name);
    return;
  }
  const image = new Image();
  image.addEventListener("load", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((data) => data && save(data, "image/png", name));
  });
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture)}`;
}

/** A link's state is shown, on the card that it names. @param {Listing | null} listing */
function follow(listing) {
  const found = linked(location.hash);
  const card = document.getElementById(found ? found.card : location.hash.slice(1));
  if (!card?.classList.contains("card")) return;
  listing?.reveal(card);
  const own = answering.get(card.id);
  if (found && own) own.go(changed(own.state, found.mode, found.chosen));
  card.scrollIntoView();
}

/** Starts what is on a page, or what a notebook has just shown. */
export function start() {
  const isPage = document.body.classList.contains("gmask");
  bind(document, isPage);
  if (!isPage) return;
  const cards = [...document.querySelectorAll(".card")].map((card) => /** @type {HTMLElement} */ (card));
  for (const card of cards) {
    const place = element("span", "exports");
    for (const kind of ["svg", "png"]) place.append(button(kind.toUpperCase(), () => savePicture(card, kind)));
    card.querySelector("header")?.append(place);
  }
  const form = /** @type {HTMLFormElement | null} */ (document.querySelector("form.filters"));
  const listing = form && cards.length ? new Listing(form, cards) : null;
  window.addEventListener("hashchange", () => follow(listing));
  if (location.hash) follow(listing);
}
