// What a run is told by its environment: `k6 run -e BASE_URL=… loadtest/steady.js`.

/**
 * @param {string} name
 * @param {string} otherwise
 */
export function text(name, otherwise) {
  return __ENV[name] || otherwise;
}

/**
 * @param {string} name
 * @param {number} otherwise
 */
export function number(name, otherwise) {
  const given = __ENV[name];
  if (!given) return otherwise;
  const value = Number(given);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name}=${given} is no number: give one that is not negative`);
  return value;
}

/** Where the distribution is. */
export const base = text('BASE_URL', 'http://127.0.0.1:3000').replace(/\/$/, '');
/** The API behind it, for requests that pass the distribution by; none are made without it. */
export const api = text('API_URL', '').replace(/\/$/, '');
/** Requests per second. */
export const rate = number('RATE', 0);
/** How long, as k6 has it: 30s, 5m. */
export const duration = text('DURATION', '');
/** Requests under way at once, at most: more wait or are dropped, which fails the run. */
export const users = number('VUS', 200);
/** So many of them are there from the start: to make another takes a moment, in which requests are dropped. */
export const preallocated = Math.min(users, number('PREALLOCATED', 100));
/** How slow the slowest hundredth may be, in ms. */
export const p99 = number('P99_MS', 1000);
/** How slow the slowest twentieth may be, in ms. */
export const p95 = number('P95_MS', 500);

/** The share of requests that may fail, 0 to 1: errors that own up to it, never wrong bytes. */
export const failures = number('FAILURES', 0);
/** What must be in no answer; nothing is looked for without it. */
export const secret = text('SECRET', '');

/** Whether redirects are followed, to what is not the origin's any more: FOLLOW=no */
export const follows = text('FOLLOW', 'yes') !== 'no';

/** The share of each variant: VARIANTS=v1=80,v2=20 */
export const shares = text('VARIANTS', 'v1=50,v2=50')
  .split(',')
  .map((part) => {
    const [name, share] = part.split('=');
    const value = share === undefined ? 1 : Number(share);
    if (!name || !(value > 0)) throw new Error(`VARIANTS=${part}: use names and shares, such as v1=80,v2=20`);
    return { name, share: value };
  });

/** The variants' names. */
export const variants = shares.map(({ name }) => name);

/** A variant, by the shares. @param {number} at where, from 0 to 1, among the shares laid side by side; by chance without it */
export function someVariant(at = Math.random()) {
  let left = at * shares.reduce((sum, { share }) => sum + share, 0);
  for (const { name, share } of shares) {
    left -= share;
    if (left < 0) return name;
  }
  return variants[0];
}

/** Its multiples lie evenly between 0 and 1, however many there are. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * From 0 to 1, evenly: within each `turn` of numbers, and for those at the same place of each turn, which halve what is left between
 * those before them (van der Corput). By chance a short run might have none of the rarest kind for one variant.
 * @param {number} number
 * @param {number} turn
 */
export function spread(number, turn) {
  let at = ((number % turn) * GOLDEN) % 1;
  for (let left = Math.floor(number / turn), part = 0.5; left > 0; left = Math.floor(left / 2), part /= 2) at += (left % 2) * part;
  return at % 1;
}

/** The seconds of a duration such as 1m30s. @param {string} given */
export function seconds(given) {
  const unit = { h: 3600, m: 60, s: 1, ms: 0.001 };
  let sum = 0;
  for (const [, amount, name] of given.matchAll(/([0-9.]+)(ms|h|m|s)/g)) sum += Number(amount) * unit[/** @type {keyof typeof unit} */ (name)];
  if (sum === 0) throw new Error(`${given} is no duration: use 30s, 5m or 1h`);
  return sum;
}
