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
