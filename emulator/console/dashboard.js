// One CloudWatch dashboard, drawn from what the local cloud has counted.
import { $, Chart, clock, day, el, get, inUnit, notice, num, poll } from "/console.js";

const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() ?? "");
const titled = (text) => text.replace(/-/g, " ").replace(/^./, (c) => c.toUpperCase());

// ---- text: the little Markdown that dashboards use, as elements

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
      const ruled = rows[1]?.every((cell) => /^:?-+:?$/.test(cell));
      out.push(tableOf(ruled ? rows[0].map(inline) : null, (ruled ? rows.slice(2) : rows).map((row) => row.map(inline))));
    } else out.push(el("p", ...inline(take((next) => next.trim() && !isRow(next) && !isItem(next) && !/^#+ /.test(next)).join(" "))));
  }
  return out;
}

function tableOf(columns, rows) {
  const cells = (tag, row, props) => el("tr", ...row.map((cell) => el(tag, props, ...[cell].flat())));
  return el("table", columns ? el("thead", cells("th", columns, { scope: "col" })) : "", el("tbody", ...rows.map((row) => cells("td", row))));
}

// ---- widgets

const lastOf = (values) => values.findLast((v) => v != null) ?? null;

const draws = {
  timeSeries({ title, unit, stacked, series = [], annotations: marks }, body, { start, end }, one) {
    const drawn = series.filter(({ t }) => t.length);
    const left = series.some(({ axis }) => axis !== "right");
    const [t, ...values] = drawn.length ? uPlot.join(drawn.map(({ t, v }) => [t, v])) : [[]];
    one.chart ??= new Chart(body, one.at);
    one.chart.draw({
      label: title || "Chart", stacked, marks, span: [start, end], left: inUnit(unit), right: left ? num : inUnit(unit), at: t.length ? "latest" : "no data in this period",
      series: series.map(({ label, axis, color }, i) => ({
        label: axis === "right" && left ? label + " (right)" : label, right: axis === "right", colour: /^#[0-9a-f]{6}$/i.test(color ?? "") ? color : "c" + i % 7,
      })),
    }, t, series.map((each) => values[drawn.indexOf(each)] ?? t.map(() => null)), series.map(({ v }) => lastOf(v)));
  },
  singleValue({ unit, series = [] }, body) {
    body.replaceChildren(el("dl.values", ...series.map(({ label, v }) => el("div", el("dt", label), el("dd", inUnit(unit)(lastOf(v)))))));
  },
  table({ columns, rows = [] }, body) {
    body.replaceChildren(rows.length ? tableOf(columns, rows.map((row) => row.map(String))) : el("p", "No rows in this period."));
  },
  text({ markdown: source = "" }, body) {
    body.replaceChildren(...markdown(source));
  },
};

let shown = [];
let shape;

function show(board) {
  const { start, end } = board;
  document.title = `${board.title}: nearedge`;
  $("title").textContent = board.title;
  if (!$("others").children.length) {
    $("others").append(...board.others.map((other) => el("a", { href: "/dashboards/" + encodeURIComponent(other), "aria-current": other === board.name ? "page" : null }, titled(other))));
  }

  const widgets = board.widgets.sort((a, b) => a.y - b.y || a.x - b.x);
  const next = JSON.stringify(widgets.map(({ series, markdown: source, rows, ...rest }) => rest));
  if (next !== shape) {
    for (const { chart } of shown) chart?.destroy();
    shown = widgets.map(({ kind, x, y, width, height, title, unit, problem }) => {
      const isChart = kind === "timeSeries" && !problem;
      const at = el("span.at");
      const body = el("div", { class: "body " + kind });
      const box = el("section", { class: "widget" + (isChart ? " chart" : ""), "aria-label": title || kind, "--h": height * 50 + "px" });
      if (title) box.append(el("h2", title, el("small", isChart && unit ? " " + unit : ""), at));
      if (problem) box.append(el("p.problem", "⚠ Not evaluated: " + problem));
      box.append(body);
      box.style.gridArea = `${y + 1} / ${x + 1} / span ${height} / span ${width}`;
      return { box, body, at };
    });
    $("grid").replaceChildren(...shown.map(({ box }) => box));
  }
  shape = next;

  widgets.forEach((widget, i) => {
    const one = shown[i], { body } = one;
    if (widget.problem || one.seen === (one.seen = JSON.stringify([widget, start, end]))) return;
    draws[widget.kind]?.(widget, body, board, one);
  });
  const from = day(start), to = day(end);
  notice("", `${from} ${clock(start)} to ${from === to ? "" : to + " "}${clock(end)}, from what the local cloud has counted.`);
}

poll(10000, () => get("/api/dashboards/" + encodeURIComponent(name)), show);
