// The console's page, and what the dashboards' page shares with it.
// What the server says is put in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/// An element: tag and class, as in "p.notice", then attributes and listeners, if any, and what is in it.
export function el(what, props, ...kids) {
  const [tag, name] = what.split(".");
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (props?.constructor !== Object) kids.unshift(props ?? "");
  else for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (value != null) node.setAttribute(name, value);
  }
  node.append(...kids);
  return node;
}

const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

const none = "–";
const known = Number.isFinite;
const sum = (values) => (values ?? []).reduce((all, v) => all + (v || 0), 0);

const steps = (v, ...pairs) => {
  if (!known(v)) return none;
  const [size, unit] = pairs.findLast(([size]) => Math.abs(v) >= size) ?? pairs[0];
  const digits = Math.abs(v /= size || 1) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : Math.abs(v) >= 0.1 ? 2 : 4;
  return v.toLocaleString("en-GB", { maximumFractionDigits: digits }) + unit;
};
export const num = (v) => steps(v, [0, ""], [1e6, " M"], [1e9, " G"]);
const ms = (v) => v === 0 ? "0 ms" : steps(v, [1e-3, " µs"], [1, " ms"], [1e3, " s"]);
const bytes = (v) => steps(v, [0, " B"], [1e3, " kB"], [1e6, " MB"], [1e9, " GB"]);
const suffixed = (suffix) => (v) => known(v) ? num(v) + suffix : none;
const rate = suffixed("/s"), percent = suffixed(" %");

/// How a value of CloudWatch's or the server's unit is written.
export function inUnit(unit) {
  const small = (unit ?? "").toLowerCase();
  if (/^(count|none|)$/.test(small)) return num;
  if (/^(%|percent)$/.test(small)) return percent;
  if (small.startsWith("bytes")) return bytes;
  const factor = { ms: 1, milliseconds: 1, microseconds: 1e-3, s: 1e3, seconds: 1e3 }[small];
  return factor ? (v) => ms(known(v) ? v * factor : v) : small.length > 8 ? num : suffixed(small === "count/second" ? "/s" : " " + unit);
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
export const day = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });

const root = document.documentElement;
const charts = new Set();
let theme = getComputedStyle(root);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  theme = getComputedStyle(root);
  for (const chart of charts) chart.u?.redraw();
});

/// A colour is "#rrggbb" or a name of the style sheet's.
const paint = (colour) => colour[0] === "#" ? colour : theme.getPropertyValue("--" + colour).trim();
const swatch = (colour, kind) => el("i", { class: kind, "--c": colour[0] === "#" ? colour : `var(--${colour})` });

function nice(max) {
  const unit = 10 ** Math.floor(Math.log10(max));
  return max > 0 ? [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= max * 0.999) * unit : 1;
}

const counts = [1, 10, 100, 1e3, 1e4, 1e5].flatMap((n) => [n, 2 * n, 5 * n]);

/// A chart and its legend in `host`; `at` says of when the legend's values are.
export class Chart {
  constructor(host, at) {
    this.at = at;
    this.plot = el("div.plot", { role: "img" });
    this.legend = el("div.legend", { role: "group", "aria-label": "Series to show" });
    host.append(this.plot, this.legend);
    this.hidden = new Set();
    charts.add(this);
    new ResizeObserver(() => this.fit()).observe(this.plot);
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (width && height && (this.u?.width !== width || this.u.height !== height)) this.u?.setSize({ width, height });
  }

  destroy() {
    this.u?.destroy();
    charts.delete(this);
  }

  /// spec: {label, series: [{label, colour, dash, right, bars}], stacked, log, whole, left, right, full, marks, span, at}
  /// values: one array a series, as long as `t`; rest: what the legend says of each while nothing is pointed at.
  draw(spec, t, values, rest) {
    Object.assign(this, { spec, t, values, rest });
    const key = JSON.stringify([spec.series, spec.stacked, spec.log, spec.marks]);
    if (key === this.key) this.u.setData(this.data());
    else this.build();
    this.key = key;
    this.tell();
    this.fit();
    const parts = spec.series.map(({ label }, i) => `${label} ${this.write(i, rest[i])}`);
    this.plot.setAttribute("aria-label", `${spec.label}: ${parts.join(", ") || "no data"} (${spec.at})`);
  }

  shown(i) {
    return !this.hidden.has(this.spec.series[i].label);
  }

  write(i, v) {
    return (this.spec.series[i].right ? this.spec.right : this.spec.left)(v);
  }

  /// A stack's areas are drawn from the upper to the lower, each down to zero; then come the lines of the right axis.
  data() {
    const below = this.t.map(() => null);
    const rows = this.values.map((row, i) => {
      if (!this.spec.stacked || this.spec.series[i].right) return row;
      if (this.shown(i)) row.forEach((v, at) => { if (v != null) below[at] += v; });
      return below.slice();
    });
    return [this.t, ...this.order.map((i) => rows[i])];
  }

  build() {
    const { spec, plot } = this;
    const { series, stacked } = spec;
    this.u?.destroy();
    const area = (i) => series[i].bars || (stacked && !series[i].right);
    this.order = series.map((_, i) => i);
    if (stacked) this.order.sort((a, b) => !!series[a].right - !!series[b].right || b - a);

    const axis = (format, more) => ({
      stroke: () => paint("muted"), font: "11px system-ui, sans-serif", gap: 4, space: 28, ticks: { show: false },
      grid: { stroke: () => paint("grid"), width: 1 }, values: (u, marks) => marks.map((v) => v == null ? "" : format(v)), ...more,
    });
    const most = Math.max(0, ...(spec.marks ?? []).map((mark) => mark.value));
    const linear = (u, min, max) => [Math.min(0, min ?? 0), nice(Math.max(max ?? 0, most))];
    const decades = (u, min, max) => {
      if (!(max > 0)) return [1, 100];
      const low = 10 ** Math.floor(Math.log10(Math.max(min, 1e-9)));
      return [low, Math.max(low * 10, 10 ** Math.ceil(Math.log10(max)))];
    };
    const right = series.some((one) => one.right);
    this.u = new uPlot({
      width: plot.clientWidth || 300, height: plot.clientHeight || 160, padding: [10, right ? 2 : 24, 0, 0],
      legend: { show: false }, drawOrder: stacked ? ["series", "axes"] : ["axes", "series"],
      cursor: { y: false, drag: { x: false }, points: { show: !stacked, size: 7 }, sync: { key: "all" } },
      scales: {
        x: { range: (u, min, max) => this.spec.span ?? (min == null ? [0, 1] : [min, max]) },
        y: spec.log ? { distr: 3, range: decades } : { range: linear },
        right: { range: spec.full ? [0, spec.full] : linear },
      },
      axes: [
        axis(null, { space: 64, size: 28, gap: 8, values: (u, marks, _, __, step) => marks.map((v) => step >= 86400 ? day(v) : clock(v).slice(0, step >= 60 ? 5 : 8)) }),
        axis(spec.left, { scale: "y", size: 58, incrs: spec.whole && counts }),
        ...(right ? [axis(spec.right, { scale: "right", side: 1, size: 50, grid: { show: false } })] : []),
      ],
      series: [{}, ...this.order.map((i) => ({
        show: this.shown(i), scale: series[i].right ? "right" : "y", stroke: () => paint(series[i].colour), width: area(i) ? 1 : 1.6,
        dash: { dash: [6, 4] }[series[i].dash], paths: series[i].bars && uPlot.paths.bars({ size: [0.8, 14] }),
        fill: area(i) ? () => `color-mix(in srgb, ${paint(series[i].colour)} 62%, ${paint("panel")})` : undefined,
        // A value between two gaps has no line: it is a point.
        points: { show: false, size: 5, fill: () => paint(series[i].colour), filter: (u, at) => area(i) ? null
          : u.data[at].flatMap((v, x, row) => v != null && row[x - 1] == null && row[x + 1] == null ? [x] : []) },
      }))],
      hooks: { setCursor: [() => this.tell()], draw: [(u) => this.limits(u)] },
    }, this.data(), plot);

    this.cells = series.map(() => el("b"));
    this.legend.replaceChildren(...series.map(({ label, colour, dash }, i) => {
      const button = el("button", { title: label, "aria-pressed": this.shown(i), onclick: () => {
        if (!this.hidden.delete(label)) this.hidden.add(label);
        button.setAttribute("aria-pressed", this.shown(i));
        this.u.setSeries(this.order.indexOf(i) + 1, { show: this.shown(i) });
        this.u.setData(this.data());
      } }, swatch(colour, area(i) ? "fill" : dash), el("span", label), this.cells[i]);
      return button;
    }));
  }

  /// Limits, such as an alarm's.
  limits({ ctx, bbox, valToPos }) {
    const px = devicePixelRatio, end = bbox.left + bbox.width;
    for (const { label, value } of this.spec.marks ?? []) {
      const y = valToPos(value, "y", true);
      if (!(y >= bbox.top - 1 && y <= bbox.top + bbox.height)) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = paint("bad");
      ctx.lineWidth = px;
      ctx.setLineDash([5 * px, 4 * px]);
      ctx.stroke(new Path2D(`M${bbox.left} ${y}H${end}`));
      ctx.font = `${11 * px}px system-ui, sans-serif`;
      ctx.textAlign = "right";
      ctx.fillText(label ?? "", end - 4, y + 13 * px);
      ctx.restore();
    }
  }

  /// The legend's values: those pointed at, or else the resting ones.
  tell() {
    const at = this.u?.cursor.left >= 0 ? this.u.cursor.idx : null;
    this.cells?.forEach((cell, i) => put(cell, this.write(i, at == null ? this.rest[i] : this.values[i][at])));
    put(this.at, at == null ? this.spec.at : clock(this.t[at]));
  }
}

let said;
export function notice(state, ...parts) {
  if (said === (said = state + parts[0])) return;
  $("notice").dataset.state = state;
  $("notice").replaceChildren(...parts);
}

function connection(state) {
  $("connection").dataset.state = state;
  put($("connection"), state);
}

export async function get(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

export function poll(period, ask, show) {
  let paused = false, lost = 0, timer;
  async function once() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      const answer = await ask();
      if (paused) return;
      lost = 0;
      connection("live");
      show(answer);
      setTimeout(() => { root.dataset.ready = "true"; }, 50);
    } catch (error) {
      if (paused) return;
      lost ||= Date.now() / 1000;
      connection("disconnected");
      notice("disconnected", `No answer from the local cloud since ${clock(lost)} (${error.message}). Is it running? The page goes on by itself when it is back.`);
    } finally {
      clearTimeout(timer);
      timer = setTimeout(once, lost ? 1000 : period);
    }
  }
  document.addEventListener("visibilitychange", once);
  once();
  return () => {
    paused = !paused;
    connection(paused ? "paused" : "connecting");
    once();
    return paused;
  };
}

const colours = new Map(); // of variants, as first seen
function colourOf(variant) {
  if (!colours.has(variant)) colours.set(variant, variant === "none" ? "grey" : "c" + (colours.size - colours.has("none")) % 7);
  return colours.get(variant);
}

function start() {
  let last;
  const again = () => last && show(last);
  const select = (label, ...values) => el("select", { "aria-label": label, onchange: again }, ...values.map((value) => el("option", value)));
  const which = select("Percentile", "p99", "p90", "p50"), scale = select("Scale", "log", "linear");
  const figure = (title, ...tools) => {
    const at = el("span.at");
    const box = el("figure", el("figcaption", title, ...tools, at));
    $("charts").append(box);
    const chart = new Chart(box, at);
    return (series, t, values, rest, more) => chart.draw({ label: title, series, left: rate, right: percent, whole: true, at: "10 s mean", ...more }, t, values, rest);
  };
  const figures = {
    requests: figure("Requests per second, by variant"), latency: figure("Latency", which, scale), cache: figure("Cache results per second"),
    s3: figure("S3 requests per second"), status: figure("Answers per second, by status"), cold: figure("Cold starts"),
  };

  function show(state) {
    last = state;
    const { seconds: t, requests = {}, duration = {}, cache = {}, status = {}, s3 = {}, environments: env = {}, spans = {} } = state;
    // The second that is not over yet would look like a drop.
    const full = t.at(-1) >= Math.floor(state.now) ? t.length - 1 : t.length;
    const recent = (row) => {
      const values = row?.slice(Math.max(0, full - 10), full).filter(known) ?? [];
      return sum(values) / values.length;
    };
    const window = full < 60 ? `${full} s` : `${Math.round(full / 60)} min`;

    put($("service"), state.service);
    put($("curl"), `curl -H "test_version:v1" ${state.cdn}/test.html`);
    document.title = state.service + ": the console";

    const seen = Object.keys(requests).sort((a, b) => (a === "none") - (b === "none") || (a < b ? -1 : 1));
    const total = t.map((_, i) => sum(seen.map((name) => requests[name][i]))), all = sum(total);
    const looked = sum(Object.values(cache).map(sum)), hits = sum(cache.hit), bad = sum(status["5xx"]);
    [
      ["Requests", rate(recent(total)), `${num(all)} in ${window}`],
      ["Latency, p50", ms(state.overall?.p50), `all variants, ${window}`],
      ["Latency, p99", ms(state.overall?.p99), `all variants, ${window}`],
      ["Cache hit share", percent(100 * hits / looked), `${num(hits)} of ${num(looked)}`],
      ["S3 calls", rate(recent(s3.requests)), `${num(sum(s3.retries))} retries, ${window}`],
      ["Server errors", num(bad), `${percent(100 * bad / all)} of answers`, bad],
      ["Cold starts", num(sum(state.cold_starts)), `in ${window}; ${num(env.started)} ever`],
      ["Running / frozen", `${num(env.running)} / ${num(env.frozen)}`, `most at once: ${num(env.most)}`],
    ].forEach(([label, value, more, bad], i) => {
      const [, big, small] = ($("tiles").children[i] ?? $("tiles").appendChild(el("div", el("dt", label), el("dd"), el("dd.sub")))).children;
      put(big, value);
      put(small, more);
      big.className = bad ? "bad" : "";
    });

    const lines = (chart, rows, more, rest = recent) => chart(rows.map(([label, , colour, look]) => ({ label, colour, ...look })), t,
      rows.map(([, row]) => t.map((_, i) => i < full ? row?.[i] ?? null : null)), rows.map(([, row]) => rest(row)), more);
    const named = (values, kinds) => Object.entries(kinds).map(([kind, colour]) => [kind, values[kind], colour]);
    const perVariant = (pick) => seen.map((name) => [name, pick(name), colourOf(name)]);
    lines(figures.requests, perVariant((name) => requests[name]));
    lines(figures.latency, perVariant((name) => duration[name]?.[which.value]), { label: `Latency by variant, ${which.value}`, left: ms, whole: false, log: scale.value === "log" });

    const share = t.map((_, i) => {
      const part = (row) => sum(row.slice(Math.max(0, i - 9), i + 1));
      const of = sum(Object.values(cache).map(part));
      return of ? 100 * part(cache.hit) / of : null;
    });
    const results = { hit: "c0", stale: "c4", coalesced: "c6", revalidated: "c2", miss: "c1", bypass: "grey" };
    lines(figures.cache, [...named(cache, results), ["hit share", share, "text", { right: true }]], { stacked: true, full: 100 });
    lines(figures.s3, [["requests", s3.requests, "c0"], ["retries", s3.retries, "c1", { dash: "dash" }]]);
    lines(figures.status, named(status, { "2xx": "c0", "3xx": "c2", "4xx": "c5", "5xx": "c1" }), { stacked: true });
    lines(figures.cold, [["cold starts", state.cold_starts, "c6", { bars: true }]], { left: num, at: window }, sum);

    if (all || spans.received) notice("", `${clock(t[0])} to ${clock(t.at(-1))}, each second. ${num(spans.received)} spans received, ${num(spans.traces)} traces kept.`);
    else notice("empty", "No traffic yet. Send a request, and it is here within seconds: ", $("curl").cloneNode(true));
  }

  // ---- traces

  const rows = new Map(); // trace id → row
  const list = $("list");
  let latest = [];

  function makeRow() {
    const panel = el("div.panel", { hidden: "" });
    const cells = Object.fromEntries(["time", "method", "path", "variant", "status", "outcome", "cache", "n"].map((name) => [name, el("span", { class: name })]));
    const head = el("button.head", { "aria-expanded": false, onclick: () => {
      row.open = !row.open;
      panel.hidden = !row.open;
      head.setAttribute("aria-expanded", row.open);
      if (row.open) waterfall();
    } }, ...Object.values(cells));
    const row = { item: el("li", head, panel), open: false };
    let trace, seen, picked;

    row.set = (next) => {
      if (seen === (seen = JSON.stringify(next))) return;
      trace = next;
      const is = { method: next.method ?? next.name, path: next.path, variant: next.variant ?? "none", status: next.status, outcome: next.outcome, cache: next.cache };
      for (const name in is) {
        is[name] = String(is[name] ?? none);
        put(cells[name], is[name]);
        cells[name].title = is[name];
      }
      put(cells.time, `${clock(next.start_ms / 1000)}.${String(Math.floor(next.start_ms) % 1000).padStart(3, "0")}`);
      cells.variant.replaceChildren(swatch(colourOf(is.variant)), is.variant);
      cells.status.className = `status s${is.status[0]} ${next.error ? "bad" : ""}`;
      put(cells.n, ms(next.duration_ms));
      row.text = [...Object.values(is), is.status[0] + "xx", next.error ? "error" : ""].join("\n").toLowerCase();
      if (row.open) waterfall();
    };

    function waterfall() {
      const focused = panel.contains(document.activeElement) && document.activeElement.dataset.span;
      const { spans } = trace;
      const from = Math.min(...spans.map((s) => s.start_us));
      const length = Math.max(1, ...spans.map((s) => s.start_us + s.duration_us - from));
      const ids = new Set(spans.map((s) => s.id));
      const order = new Map(); // span → depth
      const under = (children, depth) => spans.filter(children).sort((a, b) => a.start_us - b.start_us).forEach((s) => {
        if (order.has(s)) return;
        order.set(s, depth);
        under((child) => child.parent === s.id, depth + 1);
      });
      under((s) => !ids.has(s.parent), 0);
      const detail = el("div.detail");
      const buttons = Array.from(order, ([s, depth]) => {
        const start = ms((s.start_us - from) / 1000), took = ms(s.duration_us / 1000), bad = s.error ? " bad" : "";
        const pick = () => {
          picked = s.id;
          for (const other of buttons) other.setAttribute("aria-current", other === button);
          const pairs = Object.entries({ start, duration: took, "span id": s.id, ...s.attributes });
          detail.replaceChildren(el("table", el("caption", s.name + (bad && " (error)")), el("tbody", ...pairs.map(([name, value]) =>
            el("tr", el("th", { scope: "row" }, name), el("td", typeof value === "object" ? JSON.stringify(value) : String(value)))))));
        };
        const bar = el("i", { class: s.kind + bad });
        bar.style.left = `min(${100 * (s.start_us - from) / length}%, 100% - 3px)`;
        bar.style.width = `${100 * s.duration_us / length}%`;
        const button = el("button.span", { "data-span": s.id, onclick: pick, onfocus: pick },
          el("span", { class: "name" + bad, "--d": depth, title: s.name }, s.name, el("small", " " + s.kind)), el("span.track", bar), el("span", { class: "n" + bad }, took));
        return button;
      });
      const ruler = [0, 0.25, 0.5, 0.75, 1].map((part) => el("small", ms(length * part / 1000)));
      panel.replaceChildren(
        el("p", "Trace ", el("code", trace.trace_id), ` of ${day(trace.start_ms / 1000)}, spans: ${spans.length}`),
        el("div.ruler", { "aria-hidden": true }, el("div", ...ruler)),
        el("ol", { onkeydown: (event) => {
          const next = buttons[buttons.indexOf(document.activeElement) + { ArrowDown: 1, ArrowUp: -1 }[event.key]];
          if (next) {
            event.preventDefault();
            next.focus();
          }
        } }, ...buttons.map((button) => el("li", button))), detail,
      );
      const bad = spans.find((s) => s.error)?.id;
      const find = (span) => span && buttons.find((button) => button.dataset.span === span);
      (find(picked) ?? find(bad) ?? buttons[0])?.click();
      if (focused) find(focused)?.focus({ preventScroll: true });
    }
    return row;
  }

  function filter() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { item, text } of rows.values()) {
      item.hidden = !words.every((word) => text.includes(word));
      shown += !item.hidden;
    }
    put($("count"), `${shown} of ${rows.size}`);
    list.hidden = !shown;
    $("none").hidden = rows.size > 0;
    $("unmatched").hidden = !rows.size || shown > 0;
  }

  /// While the pointer or the focus is in the list, nothing moves under it: new traces wait for a press.
  function traces(next, now) {
    latest = next;
    for (const trace of next) rows.get(trace.trace_id)?.set(trace);
    const fresh = next.filter((trace) => !rows.has(trace.trace_id));
    const hold = !now && rows.size && (list.matches(":hover") || list.contains(document.activeElement));
    $("newer").hidden = !hold || !fresh.length;
    if (hold) return put($("newer"), `Show ${fresh.length} newer`);
    for (const [id, row] of rows) {
      if (row.open || next.some((trace) => trace.trace_id === id)) continue;
      row.item.remove();
      rows.delete(id);
    }
    for (const trace of fresh.reverse()) {
      const row = makeRow();
      row.set(trace);
      rows.set(trace.trace_id, row);
      list.prepend(row.item);
    }
    filter();
  }
  $("filter").addEventListener("input", filter);
  $("newer").addEventListener("click", () => {
    traces(latest, true);
    $("traces").focus({ preventScroll: true });
  });

  const pause = poll(990, () => Promise.all([get("/api/state"), get("/api/traces")]), ([state, list]) => {
    show(state);
    traces(list);
  });
  $("pause").addEventListener("click", () => put($("pause"), pause() ? "Resume" : "Pause"));
}

if ($("tiles")) start();
