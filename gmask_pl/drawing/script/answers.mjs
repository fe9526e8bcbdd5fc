/** What a model said of masks of one pair, as the page holds it. */

/**
 * @typedef {object} Answer
 * @property {number[]} probabilities of all classes, none of a score
 * @property {number} value the number that is explained
 * @property {boolean} same whether the decision is that of the whole pair
 */

/** @param {string} text in base 64 @returns {Uint8Array} */
export function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

export class Answers {
  /** @param {Record<string, any>} told see `gmask_pl.drawing.answers` */
  constructor(told) {
    this.words = told.words;
    /** @type {number[]} positions of the words that the model reads */
    this.read = told.read;
    /** @type {string[]} */
    this.labels = told.labels;
    this.aim = told.aim;
    this.width = Math.ceil(this.words / 8);
    const masks = bytesOf(told.masks);
    this.count = masks.length / this.width;
    this.shares = new DataView(bytesOf(told.p).buffer);
    this.numbers = told.v === undefined ? null : new DataView(bytesOf(told.v).buffer);
    this.same = bytesOf(told.same);
    /** @type {Map<string, number>} the row of every mask */
    this.rows = new Map();
    for (let row = 0; row < this.count; row += 1) {
      this.rows.set(nameOf(masks.subarray(row * this.width, (row + 1) * this.width)), row);
    }
    this.whole = /** @type {Answer} */ (this.at(new Set(this.read)));
  }

  /**
   * The model's answer when only some words are kept; null where it was not asked.
   * @param {Set<number>} kept positions in the joint order of both texts
   * @returns {Answer | null}
   */
  at(kept) {
    const mask = new Uint8Array(this.width);
    for (const word of kept) mask[word >> 3] |= 128 >> (word & 7);
    const row = this.rows.get(nameOf(mask));
    if (row === undefined) return null;
    const classes = this.labels.length;
    const probabilities = this.labels.map(
      (_, i) => this.shares.getUint16(2 * (row * classes + i), true) / 65535,
    );
    const value = this.numbers ? this.numbers.getFloat32(4 * row, true) : probabilities[this.aim];
    return { probabilities, value, same: ((this.same[row >> 3] >> (7 - (row & 7))) & 1) === 1 };
  }
}

/** @param {Uint8Array} mask */
function nameOf(mask) {
  return String.fromCharCode(...mask);
}
