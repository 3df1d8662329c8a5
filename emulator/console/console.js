// The console: tiles and charts of the last two minutes, and the latest traces.
import { Chart } from "/chart.js";
import { get, notice, poll } from "/connection.js";
import { $, el, setText } from "/dom.js";
import { formatBytes, formatMs, formatNumber, formatPercent, formatRate, formatTime, isNumber, sum } from "/format.js";
import { showTraces } from "/trace.js";
import { compareVariants, nameOfDimension, setVariants, variantColour, variantDash } from "/variant.js";

// Rates and percentages in the tiles and legends are means of so many seconds.
const MEAN_SECS = 10;

const CACHE_COLOURS = { hit: "c0", stale: "c4", coalesced: "c6", revalidated: "c2", miss: "c1", bypass: "grey" };
const STATUS_COLOURS = { "2xx": "c2", "3xx": "c0", "4xx": "c1", "5xx": "bad" };

let last;

function select(label, ...values) {
  const options = values.map((value) => el("option", value));
  return el("select", { "aria-label": label, onchange: () => last && show(last) }, ...options);
}

/** Adds a chart to the page, and returns a function that draws it. */
function figure(title, ...tools) {
  const time = el("span.at");
  const box = el("figure", el("figcaption", title, ...tools, time));
  $("charts").append(box);
  const chart = new Chart(box, time);
  const defaults = { label: title, left: formatRate, right: formatPercent, integers: true, current: `${MEAN_SECS} s mean` };
  return (series, times, values, current, options) => chart.draw({ ...defaults, series, ...options }, times, values, current);
}

const percentile = select("Percentile", "p99", "p90", "p50"), scale = select("Scale", "log", "linear");
const figures = {
  requests: figure("Requests per second, by variant"), latency: figure("Latency", percentile, scale), cache: figure("Cache results per second"),
  s3: figure("S3 requests per second"), status: figure("Responses per second, by status"), cold: figure("Cold starts per second"),
};

function showTiles(tiles) {
  tiles.forEach(([label, value, detail, bad], i) => {
    const tile = $("tiles").children[i] ?? $("tiles").appendChild(el("div", el("dt", label), el("dd"), el("dd.sub")));
    const [, big, small] = tile.children;
    setText(big, value);
    setText(small, detail);
    big.className = bad ? "bad" : "";
  });
}

function show(state) {
  last = state;
  const { seconds: times, requests = {}, duration = {}, cache = {}, status = {}, s3 = {}, copies = {}, spans = {} } = state;
  const { running, frozen, started, max } = state.environments ?? {};
  // Without the current second, which is incomplete and would look like a drop.
  const complete = times.at(-1) >= Math.floor(state.now) ? times.length - 1 : times.length;
  const recentMean = (row) => {
    const values = row?.slice(Math.max(0, complete - MEAN_SECS), complete).filter(isNumber) ?? [];
    return sum(values) / values.length;
  };
  const period = complete < 60 ? `${complete} s` : `${Math.round(complete / 60)} min`;

  setText($("service"), state.service);
  setText($("curl"), state.example);
  document.title = state.service + ": console";

  setVariants(state.variants);
  const dimensions = Object.keys(requests).sort((a, b) => compareVariants(nameOfDimension(a), nameOfDimension(b)));
  const perSecond = times.map((_, i) => sum(dimensions.map((value) => requests[value][i]))), total = sum(perSecond);
  const lookups = sum(Object.values(cache).map(sum)), hits = sum(cache.hit), errors = sum(status["5xx"]);
  const source = sum(copies.source), saved = source - sum(copies.copy);
  showTiles([
    ["Requests", formatRate(recentMean(perSecond)), `${formatNumber(total)} in ${period}`],
    ["Latency, p50", formatMs(state.overall?.p50), `all variants, ${period}`],
    ["Latency, p99", formatMs(state.overall?.p99), `all variants, ${period}`],
    ["Cache hit ratio", formatPercent(100 * hits / lookups), `${formatNumber(hits)} of ${formatNumber(lookups)}`],
    ["Saved by copies", formatPercent(source ? 100 * saved / source : 0), `${formatBytes(saved)} of ${formatBytes(source)}`],
    ["S3 requests", formatRate(recentMean(s3.requests)), `${formatNumber(sum(s3.retries))} retries in ${period}`],
    ["Server errors", formatNumber(errors), `${formatPercent(100 * errors / total)} of responses`, errors],
    ["Cold starts", formatNumber(sum(state.cold_starts)), `in ${period}; ${formatNumber(started)} in total`],
    ["Running / frozen", `${formatNumber(running)} / ${formatNumber(frozen)}`, `of ${formatNumber(max)} environments`],
  ]);

  const lines = (draw, rows, options, current = recentMean) => draw(rows.map(([label, , colour, style]) => ({ label, colour, ...style })), times,
    rows.map(([, row]) => times.map((_, i) => i < complete ? row?.[i] ?? null : null)), rows.map(([, row]) => current(row)), options);
  const perVariant = (row) => dimensions.map((value) => {
    const name = nameOfDimension(value);
    return [name, row(value), variantColour(name), { dash: variantDash(name) }];
  });
  const perKind = (values, colours) => Object.entries(colours).map(([kind, colour]) => [kind, values[kind], colour]);

  lines(figures.requests, perVariant((value) => requests[value]));
  lines(figures.latency, perVariant((value) => duration[value]?.[percentile.value]), {
    label: `Latency by variant, ${percentile.value}`, left: formatMs, integers: false, log: scale.value === "log",
  });
  const hitRatio = times.map((_, i) => {
    const recent = (row) => sum(row.slice(Math.max(0, i - MEAN_SECS + 1), i + 1));
    const lookups = sum(Object.values(cache).map(recent));
    return lookups ? 100 * recent(cache.hit) / lookups : null;
  });
  lines(figures.cache, [...perKind(cache, CACHE_COLOURS), ["hit ratio", hitRatio, "text", { right: true }]], { stacked: true, rightMax: 100 });
  lines(figures.s3, [["requests", s3.requests, "c0"], ["retries", s3.retries, "c1", { dash: "dash" }]]);
  lines(figures.status, perKind(status, STATUS_COLOURS), { stacked: true });
  lines(figures.cold, [["cold starts", state.cold_starts, "c6", { bars: true }]], { left: formatNumber, unit: "per second", current: `in ${period}` }, sum);

  if (total || spans.received) {
    const received = `${formatNumber(spans.received)} spans received, ${formatNumber(spans.traces)} traces stored.`;
    notice("", `${formatTime(times[0])} to ${formatTime(times.at(-1))}, per second. ${received}`);
  } else notice("empty", "No traffic yet. Send a request; it appears here within seconds: ", el("code", $("curl").textContent));
}

const togglePause = poll(990, () => Promise.all([get("/api/state"), get("/api/traces")]), ([state, traces]) => {
  show(state);
  showTraces(traces);
});
$("pause").addEventListener("click", () => setText($("pause"), togglePause() ? "Resume" : "Pause"));
