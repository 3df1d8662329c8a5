// The results of one experiment. The server computes every number with the crate of `nearedge experiment report`.
import { swatch } from "/chart.js";
import { el } from "/dom.js";
import { formatBytes, formatDay, formatMs, formatNumber, formatProbability, formatShare, formatTime, formatUplift, isNumber, NO_VALUE } from "/format.js";
import { intervalPlot, intervalScale, rangeOf } from "/interval.js";
import { variationColour } from "/variant.js";

const count = (value) => isNumber(value) ? value.toLocaleString("en-GB") : NO_VALUE;
const plural = (number, one, many = one + "s") => `${count(number)} ${number === 1 ? one : many}`;
const probability = (value) => formatProbability(value).replace(/^(?!<)/, "= ");
// Two decimals, so that rates below each other can be compared.
const formatRate = (value) => isNumber(value) ? `${(100 * value).toFixed(2)} %` : NO_VALUE;
const upper = (text) => text.replace(/^./, (letter) => letter.toUpperCase());

/**
 * A table that a phone shows as cards: the roles keep its meaning when CSS changes the display of its parts.
 *
 * `columns`: [label, class]; each cell is a node, a text or an array of them.
 */
function table(caption, columns, rows) {
  const cell = (tag, role, parts, label, name) => el(tag, { role, class: name, "data-label": label, scope: tag === "th" ? (role === "rowheader" ? "row" : "col") : null },
    ...[parts].flat());
  const head = el("tr", { role: "row" }, ...columns.map(([label, name]) => cell("th", "columnheader", label, null, name)));
  const body = rows.map((row) => el("tr", { role: "row" }, ...row.map((parts, i) =>
    cell(i ? "td" : "th", i ? "cell" : "rowheader", parts, labelOf(columns[i][0]), columns[i][1]))));
  return el("table.cards", { role: "table" }, el("caption", {}, ...[caption].flat()),
    el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, ...body));
}

const labelOf = (label) => typeof label === "string" ? label : label[0];

/** The name of a variation with its colour. */
function variationName({ key, name }, index) {
  return [swatch(variationColour(index), "fill"), el("span.key", key), ...(name && name !== key ? [" ", el("small", name)] : []),
    ...(index || key === "control" ? [] : [" ", el("small", "control")])];
}

// ---- Parts of an experiment

/** The split: a mismatch first, because it makes everything else useless. */
function alert({ variations, report }) {
  const visitors = variations.reduce((sum, variation) => sum + variation.visitors, 0);
  const parts = variations.map(({ key, visitors: own, share }) => `${key} has ${formatShare(own / visitors)} instead of ${formatShare(share)}`);
  return el("div.mismatch", { role: "alert" },
    el("p.headline", "Sample-ratio mismatch: do not use these results"),
    el("p", `Visitors are not split as the weights say: ${parts.join(", ")} (p ${probability(report.srm.p_value)}).`),
    el("p", "Something loses or adds visitors of one variation: a redirect, a page that fails or is slow, a bot, or weights that were changed during "
      + "the phase. Find the cause, and start a new phase. The numbers below serve to find it."));
}

function splitTest({ variations, report, mismatch, defined }) {
  const total = variations.reduce((sum, { visitors }) => sum + visitors, 0);
  const { p_value: p } = report.srm;
  const words = !isNumber(p) ? "cannot be computed yet" : `${mismatch ? "mismatch" : "as planned"}, p ${probability(p)}`;
  return el("section.split", el("h3", "Split of visitors"),
    table(["Sample-ratio test: ", el("strong", { class: mismatch ? "bad" : null }, words)],
      [["Variation"], ["Visitors", "n"], ["Share", "n"], ["Planned", "n"]],
      variations.map((variation, i) => [variationName(variation, i), count(variation.visitors), formatShare(variation.visitors / total), formatShare(variation.share)])),
    ...(defined ? [] : [el("p.note", "The definition does not have this experiment: equal weights are assumed, and the order is alphabetical.")]));
}

/** What the lines of a goal say, one row per variation. */
function goalTable(goal, rows, { variations, mismatch }) {
  const range = rangeOf(rows.flatMap((row) => [row.sequential_interval, isNumber(row.uplift) ? [row.uplift, row.uplift] : null]));
  const value = goal.values ? formatNumber : formatRate;
  const isCompared = rows.some((row) => row.sequential_interval);
  const columns = [["Variation"], ["Visitors", "n"], ["Conversions", "n"], [goal.values ? "Mean per visitor" : "Rate", "n"], ["Uplift", "n"],
    [["95 % interval of the uplift", ...(isCompared ? [intervalScale(range)] : [])], "plot"], ["p-value", "n"], ["Chance to be best", "n"]];
  const cells = rows.map((row, i) => {
    const [low, high] = row.sequential_interval ?? [];
    const news = mismatch ? null : low > 0 ? "up" : high < 0 ? "down" : null;
    const text = isNumber(low) ? `${formatUplift(low)} to ${formatUplift(high)}` : "not enough data yet";
    return [variationName(variations[i] ?? { key: row.variation }, i), count(row.visitors), count(row.conversions), value(row.rate),
      i ? el("strong", { class: news }, formatUplift(row.uplift)) : [],
      i ? [...(isCompared ? [intervalPlot(row.uplift, row.sequential_interval, range, news)] : []), el("small", text)] : [],
      i ? formatProbability(row.sequential_p_value) : [], formatShare(row.chance_to_be_best)];
  });
  const rate = goal.values ? "The mean value per visitor" : "The part of visitors who reach the goal";
  return table(`${rate}, and the relative difference from the control. The interval and the p-value hold whenever you look.`, columns, cells);
}

function goalSection(goal, experiment) {
  const rows = experiment.report.goals[goal.key];
  const [title, ...reasons] = (goal.verdict?.text ?? "").split(": ");
  const verdict = goal.verdict && goal.verdict.kind !== "mismatch"
    ? [el("p", { class: "verdict", "data-verdict": goal.verdict.kind }, el("strong", upper(title)), ...(reasons.length ? [" ", el("span", upper(reasons.join(": ")) + ".")] : []))] : [];
  return el("section.goal", el("h3", "Goal ", el("span.key", goal.key)), ...verdict,
    rows ? goalTable(goal, rows, experiment) : el("p.note", "No visitor has reached this goal yet."));
}

function guardrails({ guardrails: rows = [], variations }) {
  if (!rows.length) return [];
  const obstacle = rows.find((row) => row.obstacle)?.obstacle;
  const cells = rows.map((row, i) => [variationName(variations[i] ?? { key: row.variation }, i), count(row.requests),
    el("span", { class: row.failures ? "bad" : null }, row.requests ? `${formatShare(row.failures / row.requests)}` : NO_VALUE, ...(row.failures ? [el("small", ` (${count(row.failures)})`)] : [])),
    [formatMs(row.p90_millis), ...(row.p90_interval ? [" ", el("small", `${row.p90_interval.map(formatMs).join(" to ")}`)] : [])], formatBytes(row.body_bytes)]);
  return [el("section.guardrails", el("h3", "Guardrails"),
    table("Requests that were answered with the versions of a variation, since the first visitor",
      [["Variation"], ["Requests", "n"], ["5xx", "n"], ["Latency, p90", "n wide"], ["Body, mean", "n"]], cells),
    ...(obstacle ? [el("p.note", `Variations cannot be told apart here: ${obstacle}.`)] : []))];
}

/** What does not count, and why. */
function leftOut({ left_out: left, other_phases: phases = [] }) {
  if (!left) return [];
  const unknown = Object.entries(left.visitors_of_unknown_variations ?? {});
  const conversions = Object.entries(left.conversions ?? {});
  const items = [
    [left.visitors_in_two_variations, "visitor", "seen in two variations: excluded"],
    ...unknown.map(([key, visitors]) => [visitors, "visitor", `of the variation ${key}, which the definition does not have: excluded`]),
    ...conversions.flatMap(([goal, numbers]) => [
      [numbers.without_exposure, "conversion", `of ${goal} without an exposure: another device, or deleted cookies`],
      [numbers.before_exposure, "conversion", `of ${goal} before the exposure`],
      [numbers.of_left_out_visitors, "conversion", `of ${goal} by visitors who are excluded`],
    ]),
    [left.repeated_exposures + left.repeated_conversions, "line", "repeated: counted once"],
  ].filter(([number]) => number > 0).map(([number, unit, why]) => el("li", `${plural(number, unit)} ${why}`));
  items.push(...phases.map(([phase, at]) => el("li", `Phase ${phase || "(without a name)"} since ${formatDay(at / 1000)}, ${formatTime(at / 1000)}: not shown`)));
  return items.length ? [el("section.left-out", el("h3", "Not counted"), el("ul", {}, ...items))] : [];
}

/** Why there is no result yet, and what to do. */
function empty({ variations }, page) {
  const names = variations.map((variation, i) => el("span.variation", {}, ...variationName(variation, i), ` ${formatShare(variation.share)}`));
  return el("div.waiting",
    el("p.headline", "No visitor yet"),
    el("p", "Open ", el("a", { href: page }, page), " in two private windows. Each private window is a new visitor, and gets one of the variations at random: "),
    el("p", {}, ...names.flatMap((name, i) => i ? [" ", name] : [name])),
    el("p.note", "Bots, previews and requests with a version of their own do not count. A visitor counts once, whatever number of pages."));
}

/** The short verdicts of all goals, for the list of experiments. */
export function summary(experiment) {
  if (experiment.mismatch) return ["mismatch", "sample-ratio mismatch"];
  const verdicts = experiment.goals.flatMap(({ verdict }) => verdict ? [verdict] : []);
  const first = ["ship", "keep", "wait", "too_few"].map((kind) => verdicts.find((verdict) => verdict.kind === kind)).find(Boolean);
  return first ? [first.kind, first.text.split(": ")[0]] : ["none", experiment.report ? "no conversion yet" : "no visitor yet"];
}

/** The element of an experiment. `set` draws it again if something has changed, and keeps the focus and the place. */
export function createExperiment(key) {
  const id = `experiment-${encodeURIComponent(key)}`;
  const status = el("div", { role: "status" }), body = el("div.body-of");
  const facts = el("small");
  const node = el("article", { class: "experiment", id, "aria-labelledby": id + "-title", tabindex: -1 },
    el("h2", { id: id + "-title" }, el("span.key", key), " ", facts), status, body);
  let shown, announced;
  function set(experiment, page) {
    const next = JSON.stringify([experiment, page]);
    if (next === shown) return;
    shown = next;
    const { report, variations, mismatch, goals, phase, waiting_phase: nextPhase, started_ms: started } = experiment;
    const visitors = variations.reduce((sum, variation) => sum + variation.visitors, 0);
    facts.replaceChildren(...(report ? [`${plural(visitors, "visitor")} since ${formatDay(started / 1000)}, ${formatTime(started / 1000)}`] : []), ...(phase ? [`, phase ${phase}`] : []));
    // Screen readers announce a new verdict, but not each new number.
    const verdict = JSON.stringify([mismatch, !report]);
    if (mismatch || verdict !== announced) status.replaceChildren(...(!report ? [empty(experiment, page)] : mismatch ? [alert(experiment)] : []));
    announced = verdict;
    node.dataset.verdict = summary(experiment)[0];
    if (!report) return body.replaceChildren();
    const results = [...(goals.length ? [] : [el("p.note", "The definition has no goals: add \"goals\" to count conversions.")]),
      ...goals.map((goal) => goalSection(goal, experiment))];
    const checks = el("div.pair", splitTest(experiment), ...guardrails(experiment));
    const phases = nextPhase == null ? [] : [el("p.note", `No visitor yet in the definition's phase ${nextPhase || "without a name"}: the results are those of the phase before.`)];
    body.replaceChildren(...phases, ...(mismatch ? [checks, ...results] : [...results, checks]), ...leftOut(experiment));
  }
  return { node, set };
}
