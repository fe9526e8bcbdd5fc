/** What a reader has chosen of one pair: some words, and what happens to them. */

export const KEEP = "keep"; // only the chosen words are kept
export const REMOVE = "remove"; // the chosen words are removed

/**
 * @typedef {object} State
 * @property {string} mode KEEP or REMOVE
 * @property {number[]} chosen positions of words, in rising order
 * @property {State | null} before what Undo leads back to
 */

/** @type {Readonly<State>} the whole pair */
export const START = Object.freeze({ mode: REMOVE, chosen: [], before: null });

/** @param {Iterable<number>} words @returns {number[]} */
function inOrder(words) {
  return [...new Set(words)].sort((one, other) => one - other);
}

/**
 * Words are chosen; if all of them are already, they are no longer.
 * @param {State} state @param {number[]} words @returns {State}
 */
export function toggled(state, words) {
  const chosen = new Set(state.chosen);
  const all = words.every((word) => chosen.has(word));
  for (const word of words) all ? chosen.delete(word) : chosen.add(word);
  return { mode: state.mode, chosen: inOrder(chosen), before: state };
}

/** @param {State} state @param {string} mode @param {number[]} chosen @returns {State} */
export function changed(state, mode, chosen) {
  return { mode, chosen: inOrder(chosen), before: state };
}

/** @param {State} state @returns {State} */
export function undone(state) {
  return state.before ?? state;
}

/**
 * The words that are left.
 * @param {State} state @param {number[]} read words that the model reads @returns {Set<number>}
 */
export function keptOf(state, read) {
  const chosen = new Set(state.chosen);
  return new Set(read.filter((word) => chosen.has(word) === (state.mode === KEEP)));
}

/** The fragment of a link to a state, without the sign #. @param {string} card @param {State} state */
export function linkOf(card, state) {
  return `${card}/${state.mode}/${state.chosen.join(",")}`;
}

/**
 * What a fragment links to; null where it is no link to a state.
 * @param {string} fragment @returns {{card: string, mode: string, chosen: number[]} | null}
 */
export function linked(fragment) {
  const found = /^#?(card-\d+)\/(keep|remove)\/((?:\d+(?:,\d+)*)?)$/.exec(fragment);
  if (!found) return null;
  const [, card, mode, words] = found;
  return { card, mode, chosen: inOrder(words ? words.split(",").map(Number) : []) };
}
