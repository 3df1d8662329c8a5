// Formats numbers with units, and times.

export const NO_VALUE = "–";

export const isNumber = Number.isFinite;

export const sum = (values) => (values ?? []).reduce((total, value) => total + (value || 0), 0);

/** Formats a value with the largest unit that it reaches. A unit is [factor, suffix], in ascending order. */
function scaled(value, ...units) {
  if (!isNumber(value)) return NO_VALUE;
  const [factor, suffix] = units.findLast(([factor]) => Math.abs(value) >= factor) ?? units[0];
  const quotient = value / (factor || 1), size = Math.abs(quotient);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 4;
  return quotient.toLocaleString("en-GB", { maximumFractionDigits: digits }) + suffix;
}

export const formatNumber = (value) => scaled(value, [0, ""], [1e6, " M"], [1e9, " G"]);
export const formatMs = (value) => value === 0 ? "0 ms" : scaled(value, [1e-3, " µs"], [1, " ms"], [1e3, " s"]);
export const formatBytes = (value) => scaled(value, [0, " B"], [1e3, " kB"], [1e6, " MB"], [1e9, " GB"]);

const suffixed = (suffix) => (value) => isNumber(value) ? formatNumber(value) + suffix : NO_VALUE;
export const formatRate = suffixed("/s");
export const formatPercent = suffixed(" %");

/** A part of 1 as a percentage: 0.0312 is "3.12 %". */
export const formatShare = (value) => formatPercent(isNumber(value) ? 100 * value : value);

/** A relative difference with its sign: 0.1 is "+10 %". */
export const formatUplift = (value) => isNumber(value) ? (value > 0 ? "+" : value < 0 ? "−" : "") + formatShare(Math.abs(value)) : NO_VALUE;

/** A p-value: very small ones as a bound. */
export const formatProbability = (value) => !isNumber(value) ? NO_VALUE : value < 0.0001 ? "< 0.0001" : value.toFixed(value < 0.1 ? 4 : 2);

/** A chance: never 0 or 100 %, which would be a certainty. */
export const formatChance = (value) => !isNumber(value) ? NO_VALUE : value < 0.001 ? "< 0.1 %" : value > 0.999 ? "> 99.9 %" : `${(100 * value).toFixed(1)} %`;

/** A duration in its largest whole unit. */
export function formatAge(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [factor, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([factor]) => seconds >= factor) ?? [1, "s"];
  return `${Math.floor(seconds / factor)} ${unit}`;
}

/** The part of a unit that `formatOf` does not add to each value, such as "per 2 s" of "bytes per 2 s". */
export function axisUnit(unit) {
  const rest = (unit ?? "").replace(/^bytes /i, "");
  return /^(none|bytes|%|percent|count\/second|(micro|milli)?seconds|m?s|)$/i.test(rest) || isSuffix(rest) ? undefined : rest;
}

const isSuffix = (unit) => unit.length <= 3;

/** The format of values with a unit of CloudWatch or of a dashboard's axis. */
export function formatOf(unit) {
  const lower = (unit ?? "").toLowerCase();
  if (/^(count|none|)$/.test(lower)) return formatNumber;
  if (/^(%|percent)$/.test(lower)) return formatPercent;
  if (/^bytes\b/.test(lower)) return formatBytes;
  if (lower === "count/second") return formatRate;
  const msPerUnit = { ms: 1, milliseconds: 1, microseconds: 1e-3, s: 1e3, seconds: 1e3 }[lower];
  if (msPerUnit) return (value) => formatMs(isNumber(value) ? value * msPerUnit : value);
  return isSuffix(lower) ? suffixed(" " + unit) : formatNumber;
}

export const formatTime = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
export const formatDay = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
