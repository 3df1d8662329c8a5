// The results of one experiment. The server computes every number with the crate of `nearedge experiment report`.
import { swatch } from "/chart.js";
import { el, setText } from "/dom.js";
import { formatBytes, formatChance, formatDay, formatMs, formatNumber, formatProbability, formatShare, formatTime, formatUplift, isNumber, NO_VALUE } from "/format.js";
import { intervalPlot, intervalScale, rangeOf } from "/interval.js";
import { createTrend } from "/trend.js";
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

/** A mismatch comes first, because it makes everything else useless. */
function alert(details) {
  return el("div.mismatch",
    el("p.headline", { role: "alert" }, "Sample-ratio mismatch: do not use these results"), details,
    el("p", "Something loses or adds visitors of one variation: a redirect, a page that fails or is slow, a bot, or weights that were changed during "
      + "the phase. Find the cause, and start a new phase. The numbers below serve to find it."));
}

function mismatchOf({ variations, report }) {
  const visitors = variations.reduce((sum, variation) => sum + variation.visitors, 0);
  const parts = variations.map(({ key, visitors: own, share }) => `${key} has ${formatShare(own / visitors)} instead of ${formatShare(share)}`);
  return `Visitors are not split as the weights say: ${parts.join(", ")} (p ${probability(report.srm.p_value)}).`;
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
      i ? formatProbability(row.sequential_p_value) : [], formatChance(row.chance_to_be_best)];
  });
  const rate = goal.values ? "The mean value per visitor" : "The part of visitors who reach the goal";
  return table(`${rate}, and the relative difference from the control. The interval and the p-value hold whenever you look.`, columns, cells);
}

/** The section of a goal. Its chart stays when the table is drawn again, with the focus and the hidden series. */
function createGoal(key) {
  const verdict = el("div"), results = el("div"), trend = createTrend();
  const node = el("section.goal", el("h3", "Goal ", el("span.key", key)), verdict, results, trend.node);
  function set(goal, experiment) {
    const rows = experiment.report.goals[key];
    const [title, ...reasons] = (goal.verdict?.text ?? "").split(": ");
    verdict.replaceChildren(...(goal.verdict && !experiment.mismatch
      ? [el("p", { class: "verdict", "data-verdict": goal.verdict.kind }, el("strong", upper(title)), ...(reasons.length ? [" ", el("span", upper(reasons.join(": ")) + ".")] : []))] : []));
    results.replaceChildren(rows ? goalTable(goal, rows, experiment) : el("p.note", "No visitor has reached this goal yet."));
    trend.set(experiment.report.running?.[key] ?? [], experiment);
  }
  return { node, set };
}

function guardrails({ guardrails: rows = [], variations }) {
  if (!rows.length) return [];
  const obstacle = rows.find((row) => row.obstacle)?.obstacle;
  const cells = rows.map((row, i) => [variationName(variations[i] ?? { key: row.variation }, i), count(row.requests),
    el("span", { class: row.failures ? "bad" : null }, row.requests ? `${formatShare(row.failures / row.requests)}` : NO_VALUE, ...(row.failures ? [el("small", ` (${count(row.failures)})`)] : [])),
    [formatMs(row.p90_millis), ...(row.p90_interval ? [" ", el("small", `${row.p90_interval.map(formatMs).join(" to ")}`)] : [])], formatBytes(row.body_bytes)]);
  return [el("section.guardrails", el("h3", "Guardrails"),
    table("Requests that were answered with the versions of a variation, in the hours of this phase",
      [["Variation"], ["Requests", "n"], ["5xx", "n"], ["Latency, p90", "n wide"], ["Body, mean", "n"]], cells),
    ...(obstacle ? [el("p.note", `Not complete: ${obstacle}.`)] : []))];
}

/** What to look at before a decision. */
function cautions({ report: { cautions: texts = [] } }) {
  return texts.length ? [el("section.cautions", el("h3", "Before you decide"), el("ul", {}, ...texts.map((text) => el("li", text))))] : [];
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
    el("p.headline", { role: "status" }, "No visitor yet"),
    el("p", "Open ", el("a", { href: page }, page), " in two private windows. Each private window is a new visitor, and gets one of the variations at random: "),
    el("p", {}, ...names.flatMap((name, i) => i ? [" ", name] : [name])),
    el("p.note", "Bots, previews and requests with a version of their own do not count. A visitor counts once, on the first page that counts."));
}

/** The short verdicts of all goals, for the list of experiments. */
export function summary(experiment) {
  if (experiment.mismatch) return ["mismatch", "sample-ratio mismatch"];
  const verdicts = experiment.goals.flatMap(({ verdict }) => verdict ? [verdict] : []);
  const first = ["ship", "keep", "wait", "too_few"].map((kind) => verdicts.find((verdict) => verdict.kind === kind)).find(Boolean);
  return first ? [first.kind, first.text.split(": ")[0]] : ["none", experiment.report ? "no conversion yet" : "no visitor yet"];
}

/** The element of an experiment. `set` draws what has changed, and keeps the focus and the place. */
export function createExperiment(key) {
  const id = `experiment-${encodeURIComponent(key)}`;
  const top = el("div"), details = el("p"), body = el("div"), before = el("div"), checks = el("div"), after = el("div");
  const facts = el("small"), goalViews = new Map();
  const node = el("article", { class: "experiment", id, "aria-labelledby": id + "-title", tabindex: -1 },
    el("h2", { id: id + "-title" }, el("span.key", key), " ", facts), top, body);
  let shown, announced, order;
  function set(experiment, page) {
    const next = JSON.stringify([experiment, page]);
    if (next === shown) return;
    shown = next;
    const { report, variations, mismatch, goals, phase, waiting_phase: nextPhase, started_ms: started } = experiment;
    const visitors = variations.reduce((sum, variation) => sum + variation.visitors, 0);
    facts.replaceChildren(...(report ? [`${plural(visitors, "visitor")} since ${formatDay(started / 1000)}, ${formatTime(started / 1000)}`] : []), ...(phase ? [`, phase ${phase}`] : []));
    // Screen readers announce a mismatch, but not each new number.
    const state = !report ? "waiting" : mismatch ? "mismatch" : "results";
    if (state !== announced || !report) top.replaceChildren(...(!report ? [empty(experiment, page)] : mismatch ? [alert(details)] : []));
    if (mismatch) setText(details, mismatchOf(experiment));
    announced = state;
    node.dataset.verdict = summary(experiment)[0];
    body.hidden = !report;
    if (!report) return;
    before.replaceChildren(
      ...(nextPhase == null ? [] : [el("p.note", `No visitor yet in the definition's phase ${nextPhase || "without a name"}: the results are those of the phase before.`)]),
      ...(goals.length ? [] : [el("p.note", "The definition has no goals: add \"goals\" to count conversions.")]));
    for (const goal of goals) {
      if (!goalViews.has(goal.key)) goalViews.set(goal.key, createGoal(goal.key));
      goalViews.get(goal.key).set(goal, experiment);
    }
    checks.replaceChildren(el("div.pair", splitTest(experiment), ...guardrails(experiment)));
    after.replaceChildren(...cautions(experiment), ...leftOut(experiment));
    const nodes = goals.map((goal) => goalViews.get(goal.key).node);
    const nextOrder = JSON.stringify([mismatch, goals.map((goal) => goal.key)]);
    if (nextOrder !== order) body.replaceChildren(before, ...(mismatch ? [checks, ...nodes] : [...nodes, checks]), after);
    order = nextOrder;
  }
  return { node, set };
}
