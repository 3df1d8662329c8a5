// Settings from environment variables: `k6 run -e BASE_URL=… loadtest/steady.js`. docs/loadtest.md lists them.

/**
 * @param {string} name
 * @param {string} fallback
 */
export function text(name, fallback) {
  return __ENV[name] || fallback;
}

/**
 * @param {string} name
 * @param {number} fallback
 */
export function number(name, fallback) {
  const given = __ENV[name];
  if (!given) return fallback;
  const value = Number(given);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name}=${given}: expected a number of at least 0`);
  return value;
}

/**
 * A rate or a count: k6 takes only whole numbers.
 * @param {string} name
 * @param {number} fallback
 */
export function integer(name, fallback, minimum = 0) {
  const value = number(name, fallback);
  if (!Number.isInteger(value) || value < minimum) {
    throw new Error(`${name}=${__ENV[name]}: expected a whole number of at least ${minimum}`);
  }
  return value;
}

/** URL of the distribution. */
export const baseUrl = text('BASE_URL', 'http://127.0.0.1:3000').replace(/\/$/, '');
/** URL of the API behind it, for requests that bypass the distribution; '' disables them. */
export const apiUrl = text('API_URL', '').replace(/\/$/, '');
/** Requests per second; 0 selects the scenario's default. */
export const rate = integer('RATE', 0);
/** Duration in k6's notation, such as 30s or 5m; '' selects the scenario's default. */
export const duration = text('DURATION', '');
/** Maximum number of concurrent requests. k6 drops iterations above it, which fails the run. */
export const maxVus = integer('VUS', 200, 1);
/** VUs created before the start. k6 drops iterations while it creates more. */
export const preallocatedVus = Math.min(maxVus, integer('PREALLOCATED', 100));
/** Limit of the 99th percentile of each variant and outcome, in ms. */
export const p99 = number('P99_MS', 1000);
/** Limit of the 95th percentile of each variant and outcome, in ms. */
export const p95 = number('P95_MS', 500);

/** Share of requests that may fail (5xx, 429, no response), 0 to 1. Wrong responses are never allowed. */
export const maxFailureRate = number('FAILURES', 0);
if (maxFailureRate > 1) throw new Error(`FAILURES=${maxFailureRate}: expected a share of the requests, 0 to 1`);
/** Text that no response may contain; '' disables the check. */
export const secret = text('SECRET', '');

/** Whether redirects are followed into the bucket; FOLLOW=no turns that off. */
export const followRedirects = text('FOLLOW', 'yes') !== 'no';

/** Variants and their shares, such as VARIANTS=v1=80,v2=20. */
export const shares = text('VARIANTS', 'v1=50,v2=50')
  .split(',')
  .map((part) => {
    const [name, share] = part.split('=');
    const value = share === undefined ? 1 : Number(share);
    if (!name || !(value > 0)) throw new Error(`VARIANTS has '${part}': expected NAME=SHARE, such as v1=80,v2=20`);
    return { name, share: value };
  });

/** Names of the variants. */
export const variants = shares.map(({ name }) => name);

/** Picks a variant by share. @param {number} at position in the cumulated shares, 0 to 1; random by default */
export function pickVariant(at = Math.random()) {
  let left = at * shares.reduce((sum, { share }) => sum + share, 0);
  for (const { name, share } of shares) {
    left -= share;
    if (left < 0) return name;
  }
  return variants[0];
}

/** Fractional parts of its multiples are evenly distributed, for any number of them. */
const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

/**
 * A low-discrepancy sequence in [0, 1): evenly distributed over each `period` of indexes, and over the same position of successive
 * periods (van der Corput). With random numbers, a short run could miss the rarest outcome of a variant.
 * @param {number} index
 * @param {number} period
 */
export function spread(index, period) {
  let at = ((index % period) * GOLDEN_RATIO) % 1;
  for (let left = Math.floor(index / period), part = 0.5; left > 0; left = Math.floor(left / 2), part /= 2) at += (left % 2) * part;
  return at % 1;
}

/** Converts a duration such as 1m30s to seconds. @param {string} given */
export function seconds(given) {
  const unit = { h: 3600, m: 60, s: 1, ms: 0.001 };
  let sum = 0;
  for (const [, amount, name] of given.matchAll(/([0-9.]+)(ms|h|m|s)/g)) sum += Number(amount) * unit[/** @type {keyof typeof unit} */ (name)];
  // Also for NaN, of `1.2.3s`.
  if (!(sum > 0) || !/^([0-9.]+(ms|h|m|s))+$/.test(given)) throw new Error(`'${given}' is not a duration: expected 30s, 5m or 1h`);
  return sum;
}
