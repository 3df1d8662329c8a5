// One CloudWatch dashboard, drawn from what the local cloud has counted.
import { $, Chart, clock, colourOf, day, el, inUnit, num } from "/console.js";

const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop() ?? "");
const every = 10000;
const titled = (text) => text.replace(/-/g, " ").replace(/^./, (c) => c.toUpperCase());

// ---- text: the little Markdown that dashboards use, as elements

function inline(text) {
  const parts = [];
  const mark = /\*\*(.+?)\*\*|`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)/g;
  let from = 0;
  for (const found of text.matchAll(mark)) {
    if (found.index > from) parts.push(text.slice(from, found.index));
    const [whole, bold, code, label, link] = found;
    if (bold) parts.push(el("strong", {}, ...inline(bold)));
    else if (code) parts.push(el("code", {}, code));
    else parts.push(/^(https?:\/\/|\/(?!\/)|#)/.test(link) ? el("a", { href: link, rel: "noreferrer" }, ...inline(label)) : label);
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
    else if (isItem(line)) out.push(el("ul", {}, ...take(isItem).map((item) => el("li", {}, ...inline(item.replace(/^\s*[-*] /, ""))))));
    else if (isRow(line)) {
      const rows = take(isRow).map((row) => row.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim()));
      const ruled = rows[1]?.every((cell) => /^:?-+:?$/.test(cell));
      out.push(tableOf(ruled ? rows[0].map(inline) : null, (ruled ? rows.slice(2) : rows).map((row) => row.map(inline))));
    } else out.push(el("p", {}, ...inline(take((next) => next.trim() && !isRow(next) && !isItem(next) && !/^#+ /.test(next)).join(" "))));
  }
  return out;
}

function tableOf(columns, rows) {
  const cells = (tag, row, props) => el("tr", {}, ...row.map((cell) => el(tag, props, ...[cell].flat())));
  return el("table", {}, columns ? el("thead", {}, cells("th", columns, { scope: "col" })) : null, el("tbody", {}, ...rows.map((row) => cells("td", row))));
}

// ---- widgets

const lastOf = (values) => values.findLast((v) => v != null) ?? null;

/// The series on one axis of times; where one says nothing of a time, its line goes on.
function align(series) {
  const tables = series.map((one) => [one.t, one.v]).filter(([t]) => t.length);
  if (!tables.length) return [[], ...series.map(() => [])];
  const joined = uPlot.join(tables);
  let at = 1;
  return [joined[0], ...series.map((one) => one.t.length ? joined[at++] : joined[0].map(() => null))];
}

const draws = {
  timeSeries(widget, body, board, state) {
    const series = (widget.series ?? []).map((one) => ({ ...one, t: one.t ?? [], v: one.v ?? [] }));
    const left = series.some((one) => one.axis !== "right");
    const format = inUnit(widget.unit);
    const [t, ...values] = align(series);
    state.chart ??= new Chart(body);
    state.chart.draw({
      label: widget.title || "Chart", stacked: widget.stacked, marks: widget.annotations ?? [], span: [board.start, board.end], sync: "board",
      left: format, right: left ? num : format, at: t.length ? "latest" : "no data in this period",
      series: series.map((one, i) => ({ label: one.axis === "right" && left ? `${one.label} (right)` : one.label, colour: colourOf(one.color, i), axis: one.axis })),
    }, t, values, series.map((one) => lastOf(one.v)));
  },
  singleValue(widget, body) {
    const format = inUnit(widget.unit);
    body.replaceChildren(el("dl", { class: "values" }, ...(widget.series ?? []).map((one) => el("div", {}, el("dt", {}, one.label), el("dd", {}, format(lastOf(one.v ?? [])))))));
  },
  table(widget, body) {
    body.replaceChildren(widget.rows?.length ? tableOf(widget.columns ?? null, widget.rows.map((row) => row.map(String))) : el("p", { class: "muted" }, "No rows in this period."));
  },
  text(widget, body) {
    body.replaceChildren(...markdown(widget.markdown ?? ""));
  },
};

let shown = [];
let shape = "";

function show(board) {
  document.title = `${board.title || name}: nearedge`;
  $("title").textContent = board.title || titled(board.name ?? name);
  const names = board.others?.includes(board.name) ? board.others : [board.name, ...(board.others ?? [])];
  const nav = JSON.stringify(names);
  if ($("others").dataset.of !== nav) {
    $("others").dataset.of = nav;
    $("others").replaceChildren(...names.map((other) => el("a", { href: "/dashboards/" + encodeURIComponent(other), "aria-current": other === board.name ? "page" : null }, titled(other))));
  }
  const widgets = [...board.widgets].sort((a, b) => a.y - b.y || a.x - b.x);
  const next = JSON.stringify(widgets.map((w) => [w.kind, w.x, w.y, w.width, w.height, w.title, w.unit, w.problem]));
  if (next !== shape) {
    shape = next;
    for (const one of shown) one.state.chart?.destroy();
    shown = widgets.map((w) => {
      const body = el("div", { class: "body " + (w.kind === "text" ? "text" : "") });
      const unit = w.unit && w.kind === "timeSeries" ? el("small", {}, " " + w.unit) : null;
      const box = el("section", { class: `widget ${w.kind === "timeSeries" ? "chart" : ""}`, "aria-label": w.title || w.kind, "--h": `${Math.max(w.height * 50, w.kind === "timeSeries" ? 220 : 0)}px` },
        w.title ? el("h2", {}, w.title, unit) : null,
        w.problem ? el("p", { class: "problem" }, "⚠ Not evaluated: " + w.problem) : null, body);
      box.style.gridColumn = `${w.x + 1} / span ${w.width}`;
      box.style.gridRow = `${w.y + 1} / span ${w.height}`;
      return { box, body, state: {}, seen: "" };
    });
    $("grid").replaceChildren(...shown.map((one) => one.box));
  }
  widgets.forEach((w, i) => {
    const { body, state } = shown[i];
    const text = JSON.stringify([w, w.kind === "timeSeries" && [board.start, board.end]]);
    if (w.problem || text === shown[i].seen) return;
    shown[i].seen = text;
    (draws[w.kind] ?? ((_, into) => into.replaceChildren(`This console does not draw widgets of kind ${w.kind}.`)))(w, body, board, state);
    if (w.kind === "table" || body.scrollWidth > body.clientWidth) body.tabIndex = 0;
  });
  const days = day(board.start) === day(board.end) ? "" : day(board.start) + " ";
  notice("", `${days}${clock(board.start)} to ${days && day(board.end) + " "}${clock(board.end)}, from local data; drawn anew every ${every / 1000} s.`);
}

function notice(state, text) {
  $("notice").dataset.state = state;
  if ($("notice").textContent !== text) $("notice").textContent = text;
}

function connection(state, text) {
  $("connection").dataset.state = state;
  if ($("connection").textContent !== text) $("connection").textContent = text;
}

let lost = 0, timer = 0;
async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const answer = await fetch("/api/dashboards/" + encodeURIComponent(name), { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (answer.status === 404) {
      connection("lost", "not found");
      notice("lost", `There is no dashboard “${name}”. `);
      $("notice").append(el("a", { href: "/" }, "Back to the console"));
      return;
    }
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
    lost = 0;
    connection("live", "live");
    setTimeout(() => { document.documentElement.dataset.ready = "true"; }, 100);
  } catch (error) {
    lost ||= Date.now() / 1000;
    connection("lost", "disconnected");
    notice("lost", `The local cloud has not answered since ${clock(lost)} (${error.message}). Is it still running? The dashboard goes on by itself when it is back.`);
  }
  timer = setTimeout(poll, lost ? 1000 : every);
}
document.addEventListener("visibilitychange", poll);
poll();
