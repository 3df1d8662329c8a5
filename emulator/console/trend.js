// The uplift over time with its interval, which holds at any time.
import { Chart } from "/chart.js";
import { el } from "/dom.js";
import { formatUplift, isNumber } from "/format.js";
import { WIDEST } from "/interval.js";
import { variationColour } from "/variant.js";

// The intervals of the first visitors would hide every later difference: they end at the edge.
const inside = (value) => isNumber(value) ? 100 * Math.max(-WIDEST, Math.min(WIDEST, value)) : null;
const percent = (value) => formatUplift(isNumber(value) ? value / 100 : value);

/** A chart of the looks of a goal, as in the report: {at, variation, uplift, sequential_interval}. */
export function createTrend() {
  const time = el("span.at"), plot = el("div.trend-plot");
  const node = el("figure.trend", el("figcaption", "Uplift over time: variation − control ", time), plot);
  let chart;
  function set(looks, { variations }) {
    const known = looks.filter(({ sequential_interval: interval }) => interval);
    node.hidden = new Set(known.map(({ at }) => at)).size < 3;
    if (node.hidden) return;
    const times = [...new Set(known.map(({ at }) => at))].map((at) => Date.parse(at) / 1000);
    const series = [], values = [], current = [];
    variations.slice(1).forEach(({ key }, i) => {
      const of = new Map(known.filter((look) => look.variation === key).map((look) => [Date.parse(look.at) / 1000, look]));
      const row = (value) => times.map((at) => of.has(at) ? inside(value(of.get(at))) : null);
      const colour = variationColour(i + 1);
      series.push({ label: key, colour }, { label: `${key}, from`, colour, dash: "dot" }, { label: `${key}, to`, colour, dash: "dot" });
      const latest = known.findLast((look) => look.variation === key);
      const percents = [latest?.uplift, ...latest?.sequential_interval ?? [null, null]].map((value) => isNumber(value) ? 100 * value : null);
      current.push(...percents);
      values.push(row((look) => look.uplift), row((look) => look.sequential_interval[0]), row((look) => look.sequential_interval[1]));
    });
    chart ??= new Chart(plot, time);
    chart.draw({ label: "Uplift over time", left: percent, right: percent, series, signed: true, current: "latest" },
      times, values, current);
  }
  return { node, set };
}
