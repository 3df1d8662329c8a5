// The console's page, and what the dashboards' page shares with it: elements, numbers with units, charts.
// Whatever the server says is put into the page as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function el(tag, props, ...kids) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (value != null) node.setAttribute(name, value);
  }
  node.append(...kids.filter((kid) => kid != null));
  return node;
}

const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };

// ---- numbers

const none = "–";
const known = (v) => typeof v === "number" && Number.isFinite(v);

export function num(v) {
  if (!known(v)) return none;
  const size = Math.abs(v);
  if (size >= 1e9) return num(v / 1e9) + " G";
  if (size >= 1e6) return num(v / 1e6) + " M";
  return v.toLocaleString("en-GB", { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4 });
}

export function ms(v) {
  if (!known(v)) return none;
  if (v === 0) return "0 ms";
  if (Math.abs(v) < 1) return num(v * 1000) + " µs";
  if (Math.abs(v) < 1000) return num(v) + " ms";
  return num(v / 1000) + " s";
}

const bytes = (v) => !known(v) ? none : v < 1e3 ? num(v) + " B" : v < 1e6 ? num(v / 1e3) + " kB" : v < 1e9 ? num(v / 1e6) + " MB" : num(v / 1e9) + " GB";
const rate = (v) => known(v) ? num(v) + "/s" : none;
const percent = (v) => known(v) ? num(v) + " %" : none;

/// How a value of CloudWatch's or the server's unit is written.
export function inUnit(unit) {
  switch ((unit ?? "").toLowerCase()) {
    case "": case "count": case "none": return num;
    case "ms": case "milliseconds": return ms;
    case "us": case "µs": case "microseconds": return (v) => ms(known(v) ? v / 1e3 : v);
    case "s": case "seconds": return (v) => ms(known(v) ? v * 1e3 : v);
    case "%": case "percent": return percent;
    case "bytes": return bytes;
    case "/s": case "count/second": return rate;
    default: return (v) => known(v) ? num(v) + " " + unit : none;
  }
}

const two = (n) => String(n).padStart(2, "0");
export const clock = (seconds) => {
  const d = new Date(seconds * 1000);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
};
export const day = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });

export const sum = (values) => (values ?? []).reduce((all, v) => all + (v || 0), 0);

// ---- colours

let theme = getComputedStyle(document.documentElement);
const hex = (colour) => colour.startsWith("#") ? colour : theme.getPropertyValue("--" + colour).trim();
const css = (colour) => colour.startsWith("#") ? colour : `var(--${colour})`;

/// A colour laid thinly on the panel's: opaque, so that stacked areas do not mix.
function wash(colour, share) {
  const part = (text) => {
    const full = text.length === 4 ? text.replace(/[^#]/g, "$&$&") : text;
    return [1, 3, 5].map((at) => parseInt(full.slice(at, at + 2), 16));
  };
  const [over, under] = [part(hex(colour)), part(hex("panel"))];
  return `rgb(${over.map((v, i) => Math.round(v * share + under[i] * (1 - share))).join(" ")})`;
}

/// A colour that a dashboard names, or the next of the palette.
export const colourOf = (named, index) => /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.test(named ?? "") ? named : "c" + (index % 7);

// ---- charts

const charts = new Set();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  theme = getComputedStyle(document.documentElement);
  for (const chart of charts) chart.redraw();
});

function nice(max) {
  if (!(max > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(max));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= max * 0.999) * unit;
}

const dashes = { dash: [6, 4], dot: [2, 3] };

/// A chart and its legend in `host`. `draw` makes it anew only when its series, scale or axes have become others.
/// spec: {label, series: [{label, colour, dash, axis, bars}], stacked, log, left, right, marks, span, sync, at}
export class Chart {
  constructor(host) {
    this.plot = el("div", { class: "plot", role: "img" });
    this.legend = el("div", { class: "legend", role: "group", "aria-label": "Series: press to hide or show" });
    host.append(this.plot, this.legend);
    this.hidden = new Set();
    charts.add(this);
    this.watch = new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = this.plot;
      if (this.u && width && height && (width !== this.u.width || height !== this.u.height)) this.u.setSize({ width, height });
    });
    this.watch.observe(this.plot);
  }

  destroy() {
    this.watch.disconnect();
    this.u?.destroy();
    charts.delete(this);
  }

  redraw() {
    this.u?.redraw();
  }

  /// values: one array a series, as long as `t`; `rest`, what the legend says of each while nothing is pointed at.
  draw(spec, t, values, rest) {
    Object.assign(this, { spec, t, values, rest });
    const { series, stacked, log, marks, span } = spec;
    const key = JSON.stringify([series, stacked, log, marks, spec.label]);
    this.span = span;
    if (key !== this.key) {
      this.key = key;
      this.build();
    } else {
      this.u.setData(this.stack());
    }
    this.say();
  }

  shown(i) {
    return !this.hidden.has(this.spec.series[i].label);
  }

  /// uPlot's data. A stack's upper areas come first, so that the lower ones are drawn over them.
  stack() {
    const { series, stacked } = this.spec;
    if (!stacked) return [this.t, ...this.values];
    const below = new Array(this.t.length).fill(0);
    const layers = this.values.map((row, i) => {
      if (series[i].axis === "right") return row;
      if (this.shown(i)) row.forEach((v, at) => { below[at] += v || 0; });
      return below.slice();
    });
    return [this.t, ...layers.reverse()];
  }

  build() {
    const { spec, plot } = this;
    this.u?.destroy();
    const axis = (more) => ({
      stroke: () => hex("muted"), font: "11px system-ui, sans-serif", gap: 4,
      grid: { stroke: () => hex("grid"), width: 1 }, ticks: { show: false }, ...more,
    });
    const labels = (format) => (u, splits) => splits.map((v) => v == null ? "" : format(v));
    const most = Math.max(0, ...(spec.marks ?? []).map((mark) => mark.value));
    const linear = (u, min, max) => [Math.min(0, min ?? 0), nice(Math.max(max ?? 0, most))];
    const logarithmic = (u, min, max) => {
      if (!(max > 0)) return [1, 100];
      const low = 10 ** Math.floor(Math.log10(Math.max(min, 1e-9)));
      return [low, Math.max(low * 10, 10 ** Math.ceil(Math.log10(Math.max(max, most))))];
    };
    const line = ({ label, colour, dash, axis: side, bars }, i) => {
      const area = (spec.stacked && side !== "right") || bars;
      return {
        label, show: this.shown(i), scale: side === "right" ? "r" : "y", stroke: () => hex(colour),
        width: area ? 1 : 1.6, dash: dashes[dash], fill: area ? () => wash(colour, bars ? 0.8 : 0.6) : undefined,
        paths: bars ? uPlot.paths.bars({ size: [0.8, 14], align: 0 }) : undefined,
        // A value between two gaps has no line: it is a point.
        points: { show: false, size: 5, fill: () => hex(colour), filter: area ? () => null : (u, at) => {
          const row = u.data[at];
          return row.flatMap((v, x) => v != null && row[x - 1] == null && row[x + 1] == null ? [x] : []);
        } },
      };
    };
    const lines = spec.series.map(line);
    if (spec.stacked) lines.reverse();
    const right = spec.series.some((one) => one.axis === "right");
    this.u = new uPlot({
      width: plot.clientWidth || 300, height: plot.clientHeight || 160, padding: [10, right ? 2 : 12, 0, 0],
      legend: { show: false }, drawOrder: spec.stacked ? ["series", "axes"] : ["axes", "series"],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: !spec.stacked, size: 7 }, sync: spec.sync ? { key: spec.sync } : undefined },
      scales: {
        x: { range: (u, min, max) => this.span ?? (min == null ? [0, 1] : [min, max]) },
        y: spec.log ? { distr: 3, range: logarithmic } : { range: linear },
        r: { range: spec.full ? [0, spec.full] : linear },
      },
      axes: [
        axis({ space: 64, size: 26, values: (u, splits, _, __, step) => splits.map((v) => step >= 86400 ? day(v) : step >= 60 ? clock(v).slice(0, 5) : clock(v)) }),
        axis({ scale: "y", size: 58, space: 28, values: labels(spec.left ?? num) }),
        ...(right ? [axis({ scale: "r", side: 1, size: 50, space: 28, grid: { show: false }, values: labels(spec.right ?? num) })] : []),
      ],
      series: [{}, ...lines],
      hooks: { setCursor: [() => this.tell()], draw: [(u) => this.mark(u)] },
    }, this.stack(), plot);

    this.cells = spec.series.map(({ label, colour, dash, axis: side, bars }, i) => {
      const value = el("b");
      const swatch = el("i", { class: bars || (spec.stacked && side !== "right") ? "fill" : dash ?? "", "--c": css(colour) });
      const button = el("button", { type: "button", title: label, "aria-pressed": String(this.shown(i)), onclick: () => {
        if (!this.hidden.delete(label)) this.hidden.add(label);
        button.setAttribute("aria-pressed", String(this.shown(i)));
        this.u.setSeries(spec.stacked ? this.spec.series.length - i : i + 1, { show: this.shown(i) });
        this.u.setData(this.stack());
      } }, swatch, el("span", {}, label), value);
      return { button, value };
    });
    this.at = el("span", { class: "at" });
    this.legend.replaceChildren(...this.cells.map((cell) => cell.button), this.at);
  }

  /// The limits, such as an alarm's: dashed lines with their names.
  mark(u) {
    const { ctx, bbox } = u;
    for (const { label, value } of this.spec.marks ?? []) {
      const y = Math.round(u.valToPos(value, "y", true));
      if (!known(value) || y < bbox.top - 1 || y > bbox.top + bbox.height) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = hex("bad");
      ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = "right";
      ctx.fillText(label ?? "", bbox.left + bbox.width - 4, y > bbox.top + 16 * devicePixelRatio ? y - 5 : y + 13 * devicePixelRatio);
      ctx.restore();
    }
  }

  format(i) {
    return (this.spec.series[i].axis === "right" ? this.spec.right : this.spec.left) ?? num;
  }

  /// The legend's values: those under the pointer, or else the resting ones.
  tell() {
    if (!this.cells) return;
    const at = this.u?.cursor.idx;
    const pointed = at != null && this.u.cursor.left >= 0;
    this.cells.forEach(({ value }, i) => put(value, this.format(i)(pointed ? this.values[i][at] : this.rest?.[i])));
    put(this.at, pointed ? clock(this.t[at]) : this.spec.at ?? "");
  }

  say() {
    this.tell();
    const parts = this.spec.series.map((one, i) => `${one.label} ${this.format(i)(this.rest?.[i])}`);
    this.plot.setAttribute("aria-label", `${this.spec.label}: ${parts.join(", ") || "no data"}${this.spec.at ? ` (${this.spec.at})` : ""}`);
  }
}

// ---- the page

const variants = new Map(); // name → colour, as first seen
function colourFor(variant) {
  if (!variants.has(variant)) variants.set(variant, variant === "none" ? "grey" : "c" + (variants.size - variants.has("none")) % 7);
  return variants.get(variant);
}

/// The p-th share of all requests, out of each second's p50, p90 and p99: each is a curve through its points,
/// and their sum, weighted by its requests, is the curve of all. Exact where a second had one request.
function overall(state, p) {
  const curves = [];
  let all = 0;
  for (const [variant, d] of Object.entries(state.duration ?? {})) {
    (d.p50 ?? []).forEach((p50, i) => {
      const n = state.requests?.[variant]?.[i] || 1;
      if (!known(p50)) return;
      const p90 = d.p90?.[i] ?? p50, p99 = d.p99?.[i] ?? p90;
      curves.push({ n, x: [Math.max(0, 2 * p50 - p90), p50, p90, p99] });
      all += n;
    });
  }
  if (!all) return null;
  const y = [0, 0.5, 0.9, 0.99];
  const below = (x, at) => {
    if (at >= x[3]) return at > x[3] ? 1 : 0.99;
    for (let i = 3; i > 0; i--) if (at >= x[i - 1]) return y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1] || 1);
    return 0;
  };
  let low = 0, high = Math.max(...curves.map((c) => c.x[3])) * 1.001;
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (curves.reduce((s, c) => s + c.n * below(c.x, middle), 0) < p * all) low = middle; else high = middle;
  }
  return high;
}

function start() {
  const curl = 'curl -H "test_version:v1" http://127.0.0.1:3000/test.html';

  const tile = (label) => {
    const value = el("dd"), sub = el("dd", { class: "sub" });
    $("tiles").append(el("div", {}, el("dt", {}, label), value, sub));
    value.textContent = none;
    sub.textContent = "\u00a0";
    return (text, more, bad) => {
      put(value, text);
      put(sub, more || "\u00a0");
      sub.title = more ?? "";
      value.classList.toggle("bad", !!bad);
    };
  };
  const tiles = {
    requests: tile("Requests"), p50: tile("Latency, p50"), p99: tile("Latency, p99"), hit: tile("Cache hit share"),
    s3: tile("S3 calls"), bad: tile("Server errors"), cold: tile("Cold starts"), env: tile("Environments"),
  };

  const figure = (title, ...side) => {
    const more = el("span", { class: "side" }, ...side);
    const box = el("figure", {}, el("figcaption", {}, title, more));
    $("charts").append(box);
    return Object.assign(new Chart(box), { side: more, title });
  };
  const again = () => last && show(last);
  const which = el("select", { "aria-label": "Which latencies", onchange: again });
  const scale = el("select", { "aria-label": "Scale", onchange: again }, el("option", {}, "log"), el("option", {}, "linear"));
  const figures = {
    requests: figure("Requests per second, by variant"), latency: figure("Latency", which, scale), cache: figure("Cache results per second"),
    s3: figure("S3 requests per second"), status: figure("Answers per second, by status"), cold: figure("Cold starts"),
  };

  let choices = "";
  function choose(names) {
    const key = JSON.stringify(names);
    if (key === choices) return;
    choices = key;
    const before = which.value || "all p99";
    const option = (value, text) => el("option", { value }, text);
    which.replaceChildren(
      el("optgroup", { label: "Compare variants" }, ...["p50", "p90", "p99"].map((p) => option("all " + p, "all, " + p))),
      el("optgroup", { label: "One variant: p50, p90, p99" }, ...names.map((name) => option("one " + name, name.length > 24 ? name.slice(0, 23) + "…" : name))),
    );
    which.value = before;
    if (which.selectedIndex < 0) which.selectedIndex = 2;
  }

  let last = null;
  function show(state) {
    last = state;
    const t = state.seconds ?? [];
    // The second that is not over yet would look like a drop.
    const full = t.length && t[t.length - 1] >= Math.floor(state.now) ? t.length - 1 : t.length;
    const recent = (row) => full ? sum((row ?? []).slice(Math.max(0, full - 10), full)) / Math.min(10, full) : null;
    const whole = (row) => Array.from({ length: t.length }, (_, i) => i < full ? row?.[i] ?? null : null);
    const { requests = {}, duration = {}, cache = {}, status = {}, s3 = {}, environments: env = {} } = state;

    put($("service"), state.service ?? "nearedge");
    document.title = `${state.service ?? "nearedge"}: the console`;

    // The busiest seven variants; the rest is one line.
    const busy = Object.keys(requests).sort((a, b) => sum(requests[b]) - sum(requests[a]));
    const seen = busy.slice(0, 7).sort((a, b) => (a === "none") - (b === "none") || (a < b ? -1 : 1));
    seen.forEach(colourFor);
    const rest = busy.slice(7);
    const total = t.map((_, i) => sum(busy.map((name) => requests[name][i])));
    const all = sum(total);
    const window = full >= 60 ? `${num(full / 60)} min` : `${full} s`;

    tiles.requests(rate(recent(total)), `${num(all)} in ${window}`);
    const estimate = (p) => [ms(overall(state, p)), `all variants, ${window}`];
    tiles.p50(...estimate(0.5));
    tiles.p99(...estimate(0.99));
    const results = sum(Object.values(cache).map(sum));
    tiles.hit(results ? percent(100 * sum(cache.hit) / results) : none, `${num(sum(cache.hit))} of ${num(results)}`);
    tiles.s3(rate(recent(s3.requests)), `${num(sum(s3.retries))} retries in ${window}`);
    const bad = sum(status["5xx"]);
    tiles.bad(num(bad), all ? `${percent(100 * bad / all)} of requests` : "", bad > 0);
    tiles.cold(num(sum(state.cold_starts)), `in ${window}; ${num(env.started)} ever`);
    tiles.env(`${num(env.running)} / ${num(env.frozen)}`, `running / frozen; most ${num(env.most)}`);

    const draw = (chart, spec, rows, at = "10 s mean") =>
      chart.draw({ label: chart.title, sync: "live", left: rate, at, ...spec }, t, rows.map(whole), rows.map(recent));
    draw(figures.requests, {
      series: [...seen.map((label) => ({ label, colour: colourFor(label) })), ...(rest.length ? [{ label: `${rest.length} others`, colour: "grey", dash: "dot" }] : [])],
    }, [...seen.map((name) => requests[name]), ...(rest.length ? [t.map((_, i) => sum(rest.map((name) => requests[name][i])))] : [])]);

    choose(seen);
    const log = scale.value === "log";
    const [mode, ...words] = which.value.split(" ");
    const choice = words.join(" ");
    const middle = (row) => {
      const values = (row ?? []).slice(0, full).filter(known).slice(-10);
      return values.length ? sum(values) / values.length : null;
    };
    const lines = mode === "one"
      ? [["p50", "c0"], ["p90", "c2", "dash"], ["p99", "c1", "dot"]].map(([p, colour, dash]) => [{ label: p, colour, dash }, duration[choice]?.[p]])
      : seen.map((name) => [{ label: name, colour: colourFor(name) }, duration[name]?.[choice]]);
    figures.latency.draw(
      { label: `Latency, ${mode === "one" ? choice : choice + " by variant"}`, series: lines.map(([one]) => one), log, left: ms, sync: "live", at: "10 s mean" },
      t, lines.map(([, row]) => whole(row)), lines.map(([, row]) => middle(row)),
    );

    const share = t.map((_, i) => {
      const part = (row) => sum((row ?? []).slice(Math.max(0, i - 9), i + 1));
      const of = sum(Object.values(cache).map(part));
      return of ? 100 * part(cache.hit) / of : null;
    });
    const kinds = [["hit", "c0"], ["stale", "c4"], ["coalesced", "c6"], ["revalidated", "c2"], ["miss", "c1"], ["bypass", "grey"]];
    figures.cache.draw(
      { label: figures.cache.title, stacked: true, sync: "live", left: rate, right: percent, full: 100, at: "10 s mean",
        series: [...kinds.map(([label, colour]) => ({ label, colour })), { label: "hit share", colour: "text", axis: "right" }] },
      t, [...kinds.map(([kind]) => whole(cache[kind])), whole(share)], [...kinds.map(([kind]) => recent(cache[kind])), share[full - 1]],
    );
    draw(figures.s3, { series: [{ label: "requests", colour: "c0" }, { label: "retries", colour: "c1", dash: "dash" }] }, [s3.requests, s3.retries]);
    draw(figures.status, { stacked: true, series: [["2xx", "c0"], ["3xx", "c2"], ["4xx", "c5"], ["5xx", "c1"]].map(([label, colour]) => ({ label, colour })) },
      ["2xx", "3xx", "4xx", "5xx"].map((kind) => status[kind]));
    figures.cold.draw({ label: "Cold starts a second", sync: "live", left: num, at: window, series: [{ label: "cold starts", colour: "c6", bars: true }] },
      t, [whole(state.cold_starts)], [sum(state.cold_starts)]);

    $("charts").setAttribute("aria-label", `The last ${window}`);
    if (all || state.spans?.received) {
      notice("", `${clock(t[0] ?? state.now)} to ${clock(t[t.length - 1] ?? state.now)}, each second. ${num(state.spans?.received)} spans received, ${num(state.spans?.traces)} traces kept.`);
    } else {
      notice("empty", "No traffic yet. Send a request, and it is here within a second or two: ", el("code", {}, curl));
    }
  }

  let said = "";
  function notice(state, text, ...more) {
    if (said === state + text) return;
    said = state + text;
    $("notice").dataset.state = state;
    $("notice").replaceChildren(text, ...more);
  }

  // ---- traces

  const rows = new Map(); // trace id → row
  let latest = [];

  function fieldsOf(trace) {
    const root = trace.spans?.find((span) => !span.parent) ?? trace.spans?.[0];
    const a = root?.attributes ?? {};
    return {
      method: String(a["http.request.method"] ?? a["http.method"] ?? trace.name ?? ""), path: String(a["url.path"] ?? a["http.target"] ?? ""),
      variant: String(trace.variant ?? "none"), status: String(trace.status ?? none), outcome: String(trace.outcome ?? none), cache: String(trace.cache ?? none),
    };
  }

  function makeRow(id) {
    const panel = el("div", { class: "panel", id: "t" + id, hidden: "" });
    const cells = {};
    for (const name of ["time", "verb", "path", "v", "code", "out", "cache", "n"]) cells[name] = el("span", { class: name });
    const head = el("button", { type: "button", class: "head", "aria-expanded": "false", "aria-controls": "t" + id, onclick: () => open(panel.hidden) }, ...Object.values(cells));
    const row = { item: el("li", {}, head, panel), text: "", is: {}, open: false };
    let trace, seen = "", picked = null;

    function open(yes) {
      row.open = yes;
      panel.hidden = !yes;
      head.setAttribute("aria-expanded", String(yes));
      if (yes) waterfall(); else panel.replaceChildren();
    }

    row.set = (next) => {
      const text = JSON.stringify(next);
      if (text === seen) return;
      [seen, trace] = [text, next];
      const f = fieldsOf(next);
      const at = next.start_ms / 1000;
      put(cells.time, `${clock(at)}.${String(Math.floor(next.start_ms % 1000)).padStart(3, "0")}`);
      put(cells.verb, f.method);
      put(cells.path, f.path || none);
      cells.path.title = f.path;
      cells.v.replaceChildren(el("i", { "--c": `var(--${colourFor(f.variant)})` }), el("span", { title: f.variant }, f.variant));
      put(cells.code, next.error ? f.status + " ✕" : f.status);
      cells.code.className = "code s" + f.status[0];
      cells.code.classList.toggle("err", !!next.error);
      cells.code.title = next.error ? "a span of it failed" : "";
      put(cells.out, f.outcome);
      put(cells.cache, f.cache);
      put(cells.n, ms(next.duration_ms));
      row.is = { ...f, status: `${f.status} ${f.status[0]}xx`, error: next.error ? "error" : "" };
      row.text = Object.values(row.is).join("\n").toLowerCase();
      if (row.open) waterfall();
    };

    function waterfall() {
      const focused = panel.contains(document.activeElement) ? document.activeElement.dataset.span : null;
      const spans = trace.spans ?? [];
      const from = Math.min(...spans.map((s) => s.start_us)), to = Math.max(...spans.map((s) => s.start_us + s.duration_us));
      const length = Math.max(1, to - from);
      const ids = new Set(spans.map((s) => s.id));
      const order = [];
      const under = (parent, depth) => spans
        .filter((s) => parent === null ? !ids.has(s.parent) || s.parent === s.id : s.parent === parent && s.id !== parent)
        .sort((a, b) => a.start_us - b.start_us)
        .forEach((s) => { if (!order.some(([o]) => o === s)) { order.push([s, depth]); under(s.id, depth + 1); } });
      under(null, 0);
      const attrs = el("div", { class: "attrs", id: "a" + id });
      const buttons = order.map(([s, depth]) => {
        const at = s.start_us - from;
        const pick = () => {
          picked = s.id;
          buttons.forEach((b) => b.setAttribute("aria-current", String(b === button)));
          attrs.replaceChildren(attributes(s, at));
        };
        const bar = el("i", { class: s.error ? "bad" : String(s.kind ?? "").toLowerCase() });
        bar.style.left = `min(${100 * at / length}%, 100% - 3px)`;
        bar.style.width = `${100 * s.duration_us / length}%`;
        const button = el("button", {
          type: "button", class: "span", "data-span": s.id, "aria-current": "false", "aria-controls": "a" + id, onclick: pick, onfocus: pick,
          "aria-label": `${s.name}, ${s.kind ?? "span"}, level ${depth + 1}, at ${ms(at / 1000)}, takes ${ms(s.duration_us / 1000)}${s.error ? ", error" : ""}`,
        },
          el("span", { class: "name", "--d": depth, title: s.name }, s.error ? el("span", { class: "err" }, "✕ ") : null, s.name, el("small", {}, " " + (s.kind ?? ""))),
          el("span", { class: "track" }, bar), el("span", { class: s.error ? "n err" : "n" }, ms(s.duration_us / 1000)));
        button.pick = pick;
        return button;
      });
      panel.replaceChildren(
        el("p", {}, "Trace ", el("code", {}, trace.trace_id), ` of ${day(trace.start_ms / 1000)}, ${spans.length} ${spans.length === 1 ? "span" : "spans"}${trace.error ? ", with an error" : ""}`),
        el("div", { class: "ruler", "aria-hidden": "true" }, el("span"), el("div", {}, ...[0, 0.25, 0.5, 0.75, 1].map((part) => el("small", {}, ms(length * part / 1000)))), el("span")),
        el("ol", { class: "fall", onkeydown: (event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          const next = step && buttons[buttons.indexOf(document.activeElement) + step];
          if (next) { event.preventDefault(); next.focus(); }
        } }, ...buttons.map((b) => el("li", {}, b))),
        attrs,
      );
      const first = buttons.find((b) => b.dataset.span === picked) ?? buttons.find((b, i) => order[i][0].error) ?? buttons[0];
      first?.pick();
      if (focused) buttons.find((b) => b.dataset.span === focused)?.focus({ preventScroll: true });
    }
    return row;
  }

  function attributes(span, at) {
    const pairs = [["start", ms(at / 1000)], ["duration", ms(span.duration_us / 1000)], ["span id", span.id], ...Object.entries(span.attributes ?? {})];
    return el("table", {}, el("caption", {}, span.name + (span.error ? " (error)" : "")),
      el("tbody", {}, ...pairs.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, typeof value === "object" ? JSON.stringify(value) : String(value))))));
  }

  /// Each word has to be in the trace; `variant:v1`, `status:5xx`, `path:/x` ask of one field.
  function filter() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows.values()) {
      const good = words.every((word) => {
        const [, field, want] = /^(\w+):(.+)$/.exec(word) ?? [];
        return field in row.is ? row.is[field].toLowerCase().includes(want) : row.text.includes(word);
      });
      row.item.hidden = !good;
      shown += good;
    }
    put($("count"), !rows.size ? "" : words.length ? `${shown} of ${rows.size}` : `${rows.size}`);
    const empty = $("none");
    empty.hidden = shown > 0;
    $("list").hidden = !shown;
    if (rows.size && !shown) put(empty, "No trace has all of these words.");
    else if (!rows.size) empty.replaceChildren("No traces yet. Send a request: ", el("code", {}, curl));
  }

  /// While the pointer or the keyboard is in the list, nothing moves under it: new traces wait for a press.
  const list = $("list");
  const held = () => list.matches(":hover") || list.contains(document.activeElement);
  function traces(next, force) {
    latest = next;
    const fresh = next.filter((trace) => !rows.has(trace.trace_id));
    for (const trace of next) rows.get(trace.trace_id)?.set(trace);
    const hold = !force && rows.size > 0 && held();
    $("newer").hidden = !(hold && fresh.length);
    if (hold) {
      put($("newer"), `Show ${fresh.length} newer`);
      return;
    }
    const kept = new Set(next.map((trace) => trace.trace_id));
    for (const [id, row] of rows) {
      if (kept.has(id) || row.open || row.item.contains(document.activeElement)) continue;
      row.item.remove();
      rows.delete(id);
    }
    for (const trace of fresh.reverse()) {
      const row = makeRow(trace.trace_id);
      row.set(trace);
      rows.set(trace.trace_id, row);
      list.prepend(row.item);
    }
    filter();
  }
  $("filter").addEventListener("input", filter);
  $("newer").addEventListener("click", () => { traces(latest, true); $("traces").focus({ preventScroll: true }); });
  list.addEventListener("pointerleave", () => { if (!paused) traces(latest); });

  // ---- polling

  let paused = false, lost = 0, timer = 0;
  function connection(state, text) {
    $("connection").dataset.state = state;
    put($("connection"), text);
  }

  async function get(path) {
    const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
    return answer.json();
  }

  async function poll() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    const began = performance.now();
    let answers = null;
    try {
      answers = await Promise.all([get("/api/state"), get("/api/traces")]);
    } catch (error) {
      lost ||= Date.now() / 1000;
      if (!paused) connection("lost", "disconnected");
      const why = error.message.startsWith("/api/") ? ` (${error.message})` : "";
      notice("lost", `The local cloud has not answered since ${clock(lost)}${why}. Is it still running? ${last ? "These are the last figures that came; the" : "The"} console goes on by itself when it is back.`);
    }
    if (answers && !paused) {
      lost = 0;
      connection("live", "live");
      show(answers[0]);
      traces(answers[1]);
      if (!document.documentElement.dataset.ready) setTimeout(() => { document.documentElement.dataset.ready = "true"; }, 50);
    }
    clearTimeout(timer);
    timer = setTimeout(poll, Math.max(100, 1000 - (performance.now() - began)));
  }
  document.addEventListener("visibilitychange", poll);
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    put($("pause"), paused ? "Resume" : "Pause");
    connection(paused ? "paused" : "wait", paused ? "paused" : "connecting");
    poll();
  });
  poll();
}

if ($("tiles")) start();
