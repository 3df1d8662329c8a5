// The list of traces, their filter, and the waterfall of spans of an open trace.
import { swatch } from "/chart.js";
import { $, el, setText } from "/dom.js";
import { formatDay, formatMs, formatTime, NO_VALUE } from "/format.js";
import { NO_VARIANT, variantColour } from "/variant.js";

const COLUMNS = ["time", "method", "path", "variant", "status", "outcome", "cache", "rule", "n"];

/** Span → depth, in the order of the waterfall: each span before its children, siblings by start. */
function depths(spans) {
  const ids = new Set(spans.map((span) => span.id));
  const depthOf = new Map();
  const add = (isIncluded, depth) => spans.filter(isIncluded).sort((a, b) => a.start_us - b.start_us).forEach((span) => {
    if (depthOf.has(span)) return;
    depthOf.set(span, depth);
    add((child) => child.parent === span.id, depth + 1);
  });
  add((span) => !ids.has(span.parent), 0);
  return depthOf;
}

/** Fills a panel with a trace's waterfall. Selects the span with the id `selected`, else one with an error, else the first. */
function drawWaterfall(panel, trace, selected, onSelect) {
  const focused = panel.contains(document.activeElement) && document.activeElement.dataset.span;
  const { spans } = trace;
  const from = Math.min(...spans.map((span) => span.start_us));
  const length = Math.max(1, ...spans.map((span) => span.start_us + span.duration_us - from));
  const detail = el("div.detail");
  const buttons = Array.from(depths(spans), ([span, depth]) => {
    const start = formatMs((span.start_us - from) / 1000), duration = formatMs(span.duration_us / 1000);
    const bad = span.error ? " bad" : "";
    const select = () => {
      onSelect(span.id);
      for (const other of buttons) other.setAttribute("aria-current", other === button);
      const pairs = Object.entries({ start, duration, "span id": span.id, ...span.attributes });
      detail.replaceChildren(el("table", el("caption", span.name + (bad && " (error)")), el("tbody", ...pairs.map(([name, value]) =>
        el("tr", el("th", { scope: "row" }, name), el("td", typeof value === "object" ? JSON.stringify(value) : String(value)))))));
    };
    const bar = el("i", { class: span.kind + bad });
    bar.style.left = `min(${100 * (span.start_us - from) / length}%, 100% - 3px)`;
    bar.style.width = `${100 * span.duration_us / length}%`;
    const name = el("span", { class: "name" + bad, "--d": depth, title: span.name }, span.name, el("small", " " + span.kind));
    const button = el("button.span", { "data-span": span.id, onclick: select, onfocus: select },
      name, el("span.track", bar), el("span", { class: "n" + bad }, duration));
    return button;
  });
  const ruler = [0, 0.25, 0.5, 0.75, 1].map((part) => el("small", formatMs(length * part / 1000)));
  panel.replaceChildren(
    // The row above cuts a long path.
    el("p", trace.method ? `${trace.method} ` : "", el("code", trace.path ?? NO_VALUE), ", trace ", el("code", trace.trace_id),
      ` of ${formatDay(trace.start_ms / 1000)}, spans: ${spans.length}`),
    el("div.ruler", { "aria-hidden": true }, el("div", ...ruler)),
    el("ol", { onkeydown: (event) => {
      const next = buttons[buttons.indexOf(document.activeElement) + { ArrowDown: 1, ArrowUp: -1 }[event.key]];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    } }, ...buttons.map((button) => el("li", button))), detail,
  );
  const failed = spans.find((span) => span.error)?.id;
  const find = (id) => id && buttons.find((button) => button.dataset.span === id);
  (find(selected) ?? find(failed) ?? buttons[0])?.click();
  if (focused) find(focused)?.focus({ preventScroll: true });
}

/** A row of the list: `item` is its element, `text` what the filter matches, `open` whether it shows the waterfall. */
function createRow() {
  const panel = el("div.panel", { hidden: "" });
  const cells = Object.fromEntries(COLUMNS.map((name) => [name, el("span", { class: name })]));
  const head = el("button.head", { "aria-expanded": false, onclick: () => {
    row.open = !row.open;
    panel.hidden = !row.open;
    head.setAttribute("aria-expanded", row.open);
    if (row.open) draw();
  } }, ...Object.values(cells));
  const row = { item: el("li", head, panel), open: false };
  let trace, shown, selected;
  const draw = () => drawWaterfall(panel, trace, selected, (id) => { selected = id; });

  row.set = (next) => {
    const key = JSON.stringify(next);
    if (key === shown) return;
    shown = key;
    trace = next;
    const { path, status, outcome, cache, rule } = next;
    const fields = { method: next.method ?? next.name, path, variant: next.variant ?? NO_VARIANT, status, outcome, cache };
    for (const name in fields) {
      fields[name] = String(fields[name] ?? NO_VALUE);
      setText(cells[name], fields[name]);
      cells[name].title = fields[name];
    }
    setText(cells.time, `${formatTime(next.start_ms / 1000)}.${String(Math.floor(next.start_ms) % 1000).padStart(3, "0")}`);
    cells.variant.replaceChildren(swatch(variantColour(fields.variant)), fields.variant);
    cells.status.className = `status s${fields.status[0]} ${next.error ? "bad" : ""}`;
    setText(cells.n, formatMs(next.duration_ms));
    // Almost no request has one.
    setText(cells.rule, rule ?? "");
    cells.rule.title = rule ?? "";
    row.text = [...Object.values(fields), rule ?? "", fields.status[0] + "xx", next.error ? "error" : ""].join("\n").toLowerCase();
    if (row.open) draw();
  };
  return row;
}

const rows = new Map(); // trace id → row
let latest = [];

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { item, text } of rows.values()) {
    item.hidden = !words.every((word) => text.includes(word));
    shown += !item.hidden;
  }
  setText($("count"), `${shown} of ${rows.size}`);
  $("list").hidden = !shown;
  $("none").hidden = rows.size > 0;
  $("unmatched").hidden = !rows.size || shown > 0;
}

/**
 * Shows the newest traces. While the pointer or the focus is in the list, new traces wait for a press of the button, so that
 * the list does not move.
 */
export function showTraces(next, pressed) {
  latest = next;
  for (const trace of next) rows.get(trace.trace_id)?.set(trace);
  const added = next.filter((trace) => !rows.has(trace.trace_id));
  const list = $("list");
  const hold = !pressed && rows.size && (list.matches(":hover") || list.contains(document.activeElement));
  $("newer").hidden = !hold || !added.length;
  if (hold) return setText($("newer"), `Show ${added.length} newer`);
  for (const [id, row] of rows) {
    if (row.open || next.some((trace) => trace.trace_id === id)) continue;
    row.item.remove();
    rows.delete(id);
  }
  for (const trace of added.reverse()) {
    const row = createRow();
    row.set(trace);
    rows.set(trace.trace_id, row);
    list.prepend(row.item);
  }
  filter();
}

$("filter").addEventListener("input", filter);
$("newer").addEventListener("click", () => {
  showTraces(latest, true);
  $("traces").focus({ preventScroll: true });
});
