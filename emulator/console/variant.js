// The names and colours of variants. A variant has the same colour in every chart and trace, whichever appear.

/** The name of requests without a variant. No variant can have it, because it contains a space. */
export const NO_VARIANT = "no variant";

/** The value of the dimension `variant` for variants that the metrics do not distinguish. */
const OTHER = "other";

// Their order is that of the colours in dashboards/src/page/experiment.rs.
const COLOURS = ["c0", "c1", "c2", "c3", "c4", "c6"];
const OTHER_COLOUR = "c5", NO_VARIANT_COLOUR = "grey";

let listed = [];

/** Sets the variants that the metrics distinguish. Their order selects the colours. */
export function setVariants(names = []) {
  listed = names;
}

/** The name of a variant, by the value of the dimension `variant`. */
export const nameOfDimension = (value) => value === "none" ? NO_VARIANT : value;

/** The colour of a variant. A variant that is not listed has the colour of "other", under which the metrics count it. */
export function variantColour(name) {
  if (name === NO_VARIANT) return NO_VARIANT_COLOUR;
  const index = listed.indexOf(name);
  return index < 0 ? OTHER_COLOUR : COLOURS[index % COLOURS.length];
}

/** The colour of the variation with an index: that of a variant at the same place. */
export const variationColour = (index) => COLOURS[index % COLOURS.length];

/** Whether a line of the variant is dashed: the colours repeat after six variants. */
export const variantDash = (name) => listed.indexOf(name) >= COLOURS.length ? "dash" : undefined;

/** Orders variants: the listed ones, then others, then "other", then no variant. */
export function compareVariants(a, b) {
  const rank = (name) => name === NO_VARIANT ? 3e3 : name === OTHER ? 2e3 : listed.includes(name) ? listed.indexOf(name) : 1e3;
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

// The outcomes of docs/outcomes.md, the frequent ones first.
const OUTCOMES = ["found", "not_modified", "missing", "partial", "redirected", "error_document", "forbidden", "failed",
  "unavailable", "timed_out", "method_refused", "version_refused", "path_refused", "oversized", "too_large", "refused",
  "precondition_failed", "range_not_satisfiable", "methods_listed"];
const DASHES = [undefined, "dash", "dot"];

/** The look of a line for a variant and an outcome: the variant's colour in one of three shades, in one of three patterns. */
export function outcomeLook(variant, outcome) {
  const known = OUTCOMES.indexOf(outcome), index = known < 0 ? OUTCOMES.length : known;
  const shade = ["", "~35", "~70"][Math.floor(index / DASHES.length) % 3];
  return { colour: variantColour(variant) + shade, dash: DASHES[index % DASHES.length] };
}
