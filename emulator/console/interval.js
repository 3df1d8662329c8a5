// A plot of an estimate and its interval, beside those of the other variations.
import { el } from "/dom.js";
import { formatUplift, isNumber } from "/format.js";

// Wider intervals end at the edge with an arrow: the first visitors would otherwise hide every later difference.
export const WIDEST = 1;

/** The common range of intervals, which contains 0 and, unless it is too wide, all of them. */
export function rangeOf(intervals) {
  const ends = intervals.filter(Boolean).flat().filter(isNumber);
  const low = Math.max(-WIDEST, Math.min(0, ...ends)), high = Math.min(WIDEST, Math.max(0, ...ends));
  if (low === high) return [-0.1, 0.1];
  // No bar starts or ends at the edge, unless it is cut.
  const margin = 0.08 * (high - low);
  return [low > -WIDEST ? low - margin : low, high < WIDEST ? high + margin : high];
}

const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));

/** A plot with the range of `rangeOf`. `news` selects the colour: "up", "down" or none. */
export function intervalPlot(estimate, interval, range, news) {
  const position = (value) => `${100 * (clamp(value, range) - range[0]) / (range[1] - range[0])}%`;
  const plot = el("div.interval");
  const mark = (name, left, right) => {
    const node = el("i", { class: name });
    node.style.left = position(left);
    if (right !== undefined) node.style.right = `calc(100% - ${position(right)})`;
    plot.append(node);
  };
  mark("zero", 0);
  const [low, high] = interval ?? [];
  if (isNumber(low) && isNumber(high)) {
    mark("extent" + (news ? " " + news : "") + (low < range[0] ? " cut-low" : "") + (high > range[1] ? " cut-high" : ""), low, high);
  }
  if (isNumber(estimate)) mark("point", estimate);
  return plot;
}

/** The labels of a plot's range. */
export function intervalScale(range) {
  const zero = el("span", "0");
  const part = -range[0] / (range[1] - range[0]);
  zero.style.left = `${100 * part}%`;
  zero.hidden = part < 0.18 || part > 0.82;
  return el("div.scale", { "aria-hidden": true }, el("span", formatUplift(Math.round(100 * range[0]) / 100)), zero, el("span", formatUplift(Math.round(100 * range[1]) / 100)));
}
