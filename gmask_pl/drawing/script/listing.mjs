/** Which cards of a page are shown, and in which order. */

/**
 * @typedef {object} Entry
 * @property {number} place in the file
 * @property {string} label of the prediction
 * @property {boolean} wrong
 * @property {boolean} warned
 * @property {number | null} sure the probability of the prediction; null of a score
 * @property {number | null} enough words of the smallest sufficient set; null where none is known
 * @property {string} text in lower case
 */

/**
 * @typedef {object} Wanted
 * @property {string} label "" for any
 * @property {string} sureness "", sure or unsure
 * @property {boolean} wrong only wrong ones
 * @property {boolean} warned only those with a warning
 * @property {string} text words that must all be there
 * @property {string} order a key of ORDERS
 */

export const SURE = 0.9;

/** By what a list is sorted; what has no number comes last. @type {Record<string, (entry: Entry) => number | null>} */
export const ORDERS = {
  file: (entry) => entry.place,
  unsure: (entry) => entry.sure,
  sure: (entry) => (entry.sure === null ? null : -entry.sure),
  fewest: (entry) => entry.enough,
  most: (entry) => (entry.enough === null ? null : -entry.enough),
};

/** @param {Entry[]} entries @param {Wanted} wanted @returns {Entry[]} */
export function listed(entries, wanted) {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = entries.filter(
    (entry) =>
      (wanted.label === "" || entry.label === wanted.label) &&
      (!wanted.wrong || entry.wrong) &&
      (!wanted.warned || entry.warned) &&
      (wanted.sureness === "" ||
        (entry.sure !== null && entry.sure >= SURE === (wanted.sureness === "sure"))) &&
      words.every((word) => entry.text.includes(word)),
  );
  const rank = ORDERS[wanted.order];
  const last = Number.POSITIVE_INFINITY;
  return found.sort((one, other) => {
    const [a, b] = [rank(one) ?? last, rank(other) ?? last];
    return a === b ? one.place - other.place : a - b;
  });
}

/**
 * A table as CSV (RFC 4180). A cell that a spreadsheet would take for a formula begins with '.
 * @param {(string | number)[][]} rows @returns {string}
 */
export function csvOf(rows) {
  const cell = (/** @type {string | number} */ value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : `${value}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}
