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

/** The format of values with a unit of CloudWatch or of a dashboard's axis. */
export function formatOf(unit) {
  const lower = (unit ?? "").toLowerCase();
  if (/^(count|none|)$/.test(lower)) return formatNumber;
  if (/^(%|percent)$/.test(lower)) return formatPercent;
  if (lower.startsWith("bytes")) return formatBytes;
  if (lower === "count/second") return formatRate;
  const msPerUnit = { ms: 1, milliseconds: 1, microseconds: 1e-3, s: 1e3, seconds: 1e3 }[lower];
  if (msPerUnit) return (value) => formatMs(isNumber(value) ? value * msPerUnit : value);
  // The title shows the unit; a short one also follows each value.
  return lower.length > 8 || lower.startsWith("per ") ? formatNumber : suffixed(" " + unit);
}

export const formatTime = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
export const formatDay = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
