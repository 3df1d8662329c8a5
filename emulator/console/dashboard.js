// Draws a CloudWatch dashboard with the metrics of the local cloud.
import { Chart } from "/chart.js";
import { get, notice, poll } from "/connection.js";
import { $, el } from "/dom.js";
import { axisUnit, formatDay, formatOf, formatTime } from "/format.js";
import { outcomeLook, setVariants, variantDash } from "/variant.js";

const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() ?? "");
const titleOf = (name) => name.replace(/-/g, " ").replace(/^./, (letter) => letter.toUpperCase());

// CloudWatch's colours → those of console.css, which suit light and dark mode.
const THEME = {
  "#1f77b4": "c0", "#ff7f0e": "c1", "#2ca02c": "c2", "#e377c2": "c3", "#17becf": "c4", "#8c564b": "c5", "#9467bd": "c6",
  "#7f7f7f": "grey", "#d62728": "bad",
};

// ---- Text widgets: the part of Markdown that the dashboards use

function inline(text) {
  const parts = [];
  const mark = /\*\*(.+?)\*\*|`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)/g;
  let from = 0;
  for (const found of text.matchAll(mark)) {
    if (found.index > from) parts.push(text.slice(from, found.index));
    const [whole, bold, code, label, link] = found;
    if (bold) parts.push(el("strong", ...inline(bold)));
    else if (code) parts.push(el("code", code));
    else parts.push(/^(https?:\/\/|\/(?!\/)|#)/.test(link) ? el("a", { href: link }, ...inline(label)) : label);
    from = found.index + whole.length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}

function markdown(source) {
  const out = [];
  const lines = source.split(/\r?\n/);
  const take = (test) => {
    const taken = [];
    while (lines.length && test(lines[0])) taken.push(lines.shift());
    return taken;
  };
  const isRow = (line) => /^\s*\|/.test(line), isItem = (line) => /^\s*[-*] /.test(line);
  while (lines.length) {
    const line = lines[0];
    const head = /^(#+) +(.*)/.exec(line);
    if (!line.trim()) lines.shift();
    else if (head) { lines.shift(); out.push(el(head[1].length === 1 ? "h3" : "h4", {}, ...inline(head[2]))); }
    else if (isItem(line)) out.push(el("ul", ...take(isItem).map((item) => el("li", ...inline(item.replace(/^\s*[-*] /, ""))))));
    else if (isRow(line)) {
      const rows = take(isRow).map((row) => row.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim()));
      const hasHead = rows[1]?.every((cell) => /^:?-+:?$/.test(cell));
      out.push(tableOf(hasHead ? rows[0].map(inline) : null, (hasHead ? rows.slice(2) : rows).map((row) => row.map(inline))));
    } else out.push(el("p", ...inline(take((next) => next.trim() && !isRow(next) && !isItem(next) && !/^#+ /.test(next)).join(" "))));
  }
  return out;
}

function tableOf(columns, rows) {
  const cells = (tag, row, props) => el("tr", ...row.map((cell) => el(tag, props, ...[cell].flat())));
  return el("table", columns ? el("thead", cells("th", columns, { scope: "col" })) : "", el("tbody", ...rows.map((row) => cells("td", row))));
}

// ---- Widgets

const lastOf = (values) => values.findLast((value) => value != null) ?? null;

const draws = {
  timeSeries({ title, unit, right_unit, min, stacked, series = [], annotations }, body, { start, end }, view) {
    const withData = series.filter(({ t }) => t.length);
    const hasLeft = series.some(({ axis }) => axis !== "right");
    const [times, ...values] = withData.length ? uPlot.join(withData.map(({ t, v }) => [t, v])) : [[]];
    const description = series.map(({ label, group, found, axis, color }, i) => ({
      label: axis === "right" && hasLeft ? label + " (right axis)" : label, right: axis === "right",
      colour: THEME[color?.toLowerCase()] ?? (/^#[0-9a-f]{6}$/i.test(color ?? "") ? color : "c" + i % 7), dash: variantDash(label),
      ...(group && outcomeLook(group, found)),
    }));
    const leftUnit = hasLeft ? unit : right_unit ?? unit, named = axisUnit(leftUnit);
    view.chart ??= new Chart(body, view.time);
    view.chart.draw({
      label: title || "Chart", series: description, stacked, limits: annotations, range: [start, end],
      left: formatOf(leftUnit), right: formatOf(hasLeft ? right_unit : leftUnit), unit: named, signed: min !== 0,
      integers: /^(per |environments)/.test(named ?? "") && !leftUnit?.startsWith("bytes"), current: named ? `latest, ${named}` : "latest",
    }, times, series.map((each) => values[withData.indexOf(each)] ?? times.map(() => null)), series.map(({ v }) => lastOf(v)));
  },
  singleValue({ unit, series = [] }, body) {
    const values = series.map(({ label, v }) => el("div", el("dt", label), el("dd", formatOf(unit)(lastOf(v)))));
    body.replaceChildren(el("dl.values", ...values));
  },
  table({ columns, rows = [] }, body) {
    body.replaceChildren(rows.length ? tableOf(columns, rows.map((row) => row.map(String))) : el("p", "No rows in this period."));
  },
  text({ markdown: source = "" }, body) {
    body.replaceChildren(...markdown(source));
  },
};

/** Creates the elements of a widget; `draws` fills in its body. */
function createView({ kind, x, y, width, height, title, problem }) {
  const isChart = kind === "timeSeries" && !problem;
  const time = el("span.at");
  const body = el("div", { class: "body " + kind });
  const box = el("section", { class: "widget" + (isChart ? " chart" : ""), "aria-label": title || kind, "--h": height * 50 + "px" });
  if (title) box.append(el("h2", title, time));
  if (problem) box.append(el("p.problem", "⚠ Not evaluated: " + problem));
  box.append(body);
  box.style.gridArea = `${y + 1} / ${x + 1} / span ${height} / span ${width}`;
  return { box, body, time };
}

let views = [];
let layout;

function show(board) {
  const { start, end } = board;
  setVariants(board.variants);
  document.title = `${board.title}: nearedge`;
  $("title").textContent = board.title;
  if (!$("others").children.length) {
    $("others").append(...board.names.map((other) => el("a", {
      href: "/dashboards/" + encodeURIComponent(other), "aria-current": other === board.name ? "page" : null,
    }, titleOf(other))));
  }

  const widgets = board.widgets.sort((a, b) => a.y - b.y || a.x - b.x);
  // Not the unit, which changes with the period: a new layout loses the focus and the hidden series.
  const nextLayout = JSON.stringify(widgets.map(({ kind, x, y, width, height, title, problem }) => [kind, x, y, width, height, title, problem]));
  if (nextLayout !== layout) {
    for (const { chart } of views) chart?.destroy();
    views = widgets.map(createView);
    $("grid").replaceChildren(...views.map(({ box }) => box));
  }
  layout = nextLayout;

  widgets.forEach((widget, i) => {
    const view = views[i];
    if (widget.problem) return;
    const key = JSON.stringify([widget, start, end]);
    if (key === view.shown) return;
    view.shown = key;
    draws[widget.kind]?.(widget, view.body, board, view);
  });
  const from = formatDay(start), to = formatDay(end);
  notice("", `${from} ${formatTime(start)} to ${from === to ? "" : to + " "}${formatTime(end)}, from the metrics of the local cloud.`);
}

poll(10000, () => get("/api/dashboards/" + encodeURIComponent(name)), show);
