// Charts with uPlot, their legends, and their colours.
import { el, setText } from "/dom.js";
import { formatDay, formatTime } from "/format.js";

const root = document.documentElement;
const charts = new Set();
let theme = getComputedStyle(root);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  theme = getComputedStyle(root);
  for (const chart of charts) chart.u?.redraw();
});

// A colour is "#rrggbb" or the name of a custom property of console.css without "--". "~35" at its end mixes in 35 % of the
// text's colour.
function cssColour(colour, property) {
  const [name, mix] = colour.split("~");
  const base = name[0] === "#" ? name : property(name);
  return mix ? `color-mix(in srgb, ${property("text")} ${mix}%, ${base})` : base;
}

const resolve = (colour) => cssColour(colour, (name) => theme.getPropertyValue("--" + name).trim());

/** A small sample of a colour. `kind` is a class: "fill", "dash" or "dot". */
export const swatch = (colour, kind) => el("i", { class: kind, "--c": cssColour(colour, (name) => `var(--${name})`) });

const DASHES = { dash: [6, 4], dot: [2, 3] };

// A longer legend is collapsed to this many entries, of which the last one shows the others.
const LEGEND_MAX = 12;

/** The smallest round number that is not less than `max`. */
function roundUp(max) {
  const unit = 10 ** Math.floor(Math.log10(max));
  return max > 0 ? [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= max * 0.999) * unit : 1;
}

const integerSteps = [1, 10, 100, 1e3, 1e4, 1e5].flatMap((n) => [n, 2 * n, 5 * n]);

/** A chart with a legend inside `host`. `time` is the element that shows the time of the legend's values. */
export class Chart {
  constructor(host, time) {
    this.time = time;
    this.plot = el("div.plot", { role: "img", tabindex: 0, "aria-description": "The arrow keys show the values of a time.",
      onkeydown: (event) => this.moveCursor(event), onblur: () => this.u?.setCursor({ left: -10, top: -10 }) });
    this.empty = el("p.empty", "No data in this period.");
    this.legend = el("div.legend", { role: "group", "aria-label": "Series to show" });
    this.plot.append(this.empty);
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

  /**
   * Draws data, and builds the chart again if its structure changed.
   *
   * - `spec.label`: the title; `spec.series`: [{label, colour, dash, right, bars}]; `spec.stacked`, `spec.log`
   * - `spec.left`, `spec.right`: the formats of the axes; `spec.unit`: the left axis' unit if its format has none;
   *   `spec.signed`: values can be below zero; `spec.integers`: integer steps on the left axis;
   *   `spec.rightMax`: the end of the right axis; `spec.range`: the time range; `spec.limits`: [{label, value}]
   * - `times`: seconds since 1970; `values`: an array per series, as long as `times`
   * - `current`: the value of each series in the legend while the pointer is elsewhere; `spec.current`: its description
   */
  draw(spec, times, values, current) {
    Object.assign(this, { spec, times, values, current });
    const key = JSON.stringify([spec.series, spec.stacked, spec.log, spec.limits, spec.unit, spec.signed]);
    if (key === this.key) this.u.setData(this.data());
    else this.build();
    this.key = key;
    this.empty.hidden = values.some((row) => row.some((value) => value != null));
    this.updateLegend();
    this.fit();
    const parts = spec.series.map(({ label }, i) => `${label} ${this.format(i, current[i])}`);
    this.plot.setAttribute("aria-label", `${spec.label}: ${parts.join(", ") || "no data"} (${spec.current})`);
  }

  isShown(i) {
    return !this.hidden.has(this.spec.series[i].label);
  }

  format(i, value) {
    return (this.spec.series[i].right ? this.spec.right : this.spec.left)(value);
  }

  /** The data in drawing order. A stack is drawn from its top series down, each area to zero; lines of the right axis follow. */
  data() {
    const below = this.times.map(() => null);
    const rows = this.values.map((row, i) => {
      if (!this.spec.stacked || this.spec.series[i].right) return row;
      if (this.isShown(i)) row.forEach((value, at) => { if (value != null) below[at] += value; });
      return below.slice();
    });
    return [this.times, ...this.order.map((i) => rows[i])];
  }

  build() {
    const { spec, plot } = this;
    const { series, stacked } = spec;
    this.u?.destroy();
    const isArea = (i) => series[i].bars || (stacked && !series[i].right);
    this.order = series.map((_, i) => i);
    if (stacked) this.order.sort((a, b) => !!series[a].right - !!series[b].right || b - a);

    const axis = (format, options) => ({
      stroke: () => resolve("muted"), font: "11px system-ui, sans-serif", gap: 4, space: 28, ticks: { show: false },
      grid: { stroke: () => resolve("grid"), width: 1 }, values: (u, ticks) => ticks.map((v) => v == null ? "" : format(v)), ...options,
    });
    const timeTicks = (u, ticks, _, __, step) => ticks.map((v) => step >= 86400 ? formatDay(v) : formatTime(v).slice(0, step >= 60 ? 5 : 8));
    const highestLimit = Math.max(0, ...(spec.limits ?? []).map((limit) => limit.value));
    const lowest = (min) => spec.signed && min < 0 ? -roundUp(-min) : 0;
    const linear = (u, min, max) => [lowest(min), roundUp(Math.max(max ?? 0, highestLimit))];
    const decades = (u, min, max) => {
      if (!(max > 0)) return [1, 100];
      const low = 10 ** Math.floor(Math.log10(Math.max(min, 1e-9)));
      return [low, Math.max(low * 10, 10 ** Math.ceil(Math.log10(max)))];
    };
    const hasRight = series.some((one) => one.right);
    this.u = new uPlot({
      width: plot.clientWidth || 300, height: plot.clientHeight || 160, padding: [10, hasRight ? 2 : 24, 0, 0],
      legend: { show: false }, drawOrder: stacked ? ["series", "axes"] : ["axes", "series"],
      cursor: { y: false, drag: { x: false }, points: { show: !stacked, size: 7 }, sync: { key: "all" } },
      scales: {
        x: { range: (u, min, max) => this.spec.range ?? (min == null ? [0, 1] : [min, max]) },
        y: spec.log ? { distr: 3, range: decades } : { range: linear },
        right: { range: spec.rightMax ? [0, spec.rightMax] : linear },
      },
      axes: [
        axis(null, { space: 64, size: 28, gap: 8, values: timeTicks }),
        axis(spec.left, { scale: "y", size: 58, incrs: spec.integers && integerSteps,
          label: spec.unit, labelSize: 16, labelGap: 0, labelFont: "11px system-ui, sans-serif" }),
        ...(hasRight ? [axis(spec.right, { scale: "right", side: 1, size: 50, grid: { show: false } })] : []),
      ],
      series: [{}, ...this.order.map((i) => ({
        show: this.isShown(i), scale: series[i].right ? "right" : "y", stroke: () => resolve(series[i].colour), width: isArea(i) ? 1 : 1.6,
        dash: DASHES[series[i].dash], paths: series[i].bars && uPlot.paths.bars({ size: [0.8, 14] }),
        fill: isArea(i) ? () => `color-mix(in srgb, ${resolve(series[i].colour)} 62%, ${resolve("panel")})` : undefined,
        // A value between two gaps has no line, so it needs a point.
        points: { show: false, size: 5, fill: () => resolve(series[i].colour), filter: (u, at) => isArea(i) ? null
          : u.data[at].flatMap((v, x, row) => v != null && row[x - 1] == null && row[x + 1] == null ? [x] : []) },
      }))],
      hooks: { setCursor: [() => this.updateLegend()], draw: [(u) => this.drawLimits(u)] },
    }, this.data(), plot);

    this.buildLegend(isArea);
  }

  buildLegend(isArea) {
    const { series } = this.spec;
    const focused = this.legend.contains(document.activeElement) ? document.activeElement.dataset.label : null;
    this.cells = series.map(() => el("b"));
    const buttons = series.map(({ label, colour, dash }, i) => {
      const button = el("button", { "data-label": label, "aria-pressed": this.isShown(i), onclick: () => {
        if (!this.hidden.delete(label)) this.hidden.add(label);
        button.setAttribute("aria-pressed", this.isShown(i));
        this.u.setSeries(this.order.indexOf(i) + 1, { show: this.isShown(i) });
        this.u.setData(this.data());
      } }, swatch(colour, isArea(i) ? "fill" : dash), el("span", label), this.cells[i]);
      return button;
    });
    const more = el("button.more", { "data-label": "", onclick: () => this.collapseLegend(buttons, more, !this.expanded) });
    this.legend.replaceChildren(...buttons, more);
    this.collapseLegend(buttons, more, this.expanded);
    if (focused != null) [...buttons, more].find((button) => button.dataset.label === focused)?.focus({ preventScroll: true });
  }

  /** Shows all entries of the legend, or the first ones and the number of the others. */
  collapseLegend(buttons, more, expanded) {
    const count = buttons.length > LEGEND_MAX ? buttons.length - LEGEND_MAX + 1 : 0;
    this.expanded = expanded;
    buttons.forEach((button, i) => { button.hidden = !expanded && i >= buttons.length - count; });
    more.hidden = !count;
    more.setAttribute("aria-expanded", Boolean(expanded));
    setText(more, expanded ? "Show fewer" : `Show ${count} more`);
  }

  /** Moves the cursor to the previous, next, first or last time. */
  moveCursor(event) {
    const { u, times } = this, last = (times?.length ?? 0) - 1;
    if (last < 0) return;
    const shown = u.cursor.left >= 0 ? u.cursor.idx : last + 1;
    const at = { ArrowLeft: shown - 1, ArrowRight: shown + 1, Home: 0, End: last }[event.key];
    if (at == null) return;
    event.preventDefault();
    u.setCursor({ left: u.valToPos(times[Math.min(Math.max(at, 0), last)], "x"), top: 0 });
  }

  /** Draws the limits, such as the threshold of an alarm. */
  drawLimits({ ctx, bbox, valToPos }) {
    const px = devicePixelRatio, end = bbox.left + bbox.width;
    for (const { label, value } of this.spec.limits ?? []) {
      const y = valToPos(value, "y", true);
      if (!(y >= bbox.top - 1 && y <= bbox.top + bbox.height)) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = resolve("bad");
      ctx.lineWidth = px;
      ctx.setLineDash([5 * px, 4 * px]);
      ctx.stroke(new Path2D(`M${bbox.left} ${y}H${end}`));
      ctx.font = `${11 * px}px system-ui, sans-serif`;
      ctx.textAlign = "right";
      // Below the line, unless the time axis is there.
      ctx.fillText(label ?? "", end - 4, y + (y + 16 * px > bbox.top + bbox.height ? -5 : 13) * px);
      ctx.restore();
    }
  }

  /** Shows the values under the pointer, otherwise the current ones. */
  updateLegend() {
    const at = this.u?.cursor.left >= 0 ? this.u.cursor.idx : null;
    this.cells?.forEach((cell, i) => setText(cell, this.format(i, at == null ? this.current[i] : this.values[i][at])));
    const { current, unit } = this.spec;
    setText(this.time, at == null ? current : formatTime(this.times[at]) + (unit ? `, ${unit}` : ""));
  }
}
