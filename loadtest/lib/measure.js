// Metrics by variant and outcome, and the thresholds that fail a run.

import { Counter, Rate, Trend } from 'k6/metrics';
import { explain } from './explain.js';
import { LEAKS_SECRET } from './request.js';
import { maxFailureRate, p95, p99, shares } from './settings.js';

/** Time from sending the request to the last byte, in ms. */
const responseMs = new Trend('response_ms', true);
const responses = new Counter('responses');
/** Share of responses that are neither the expected one, byte for byte, nor an error. */
const wrong = new Rate('wrong');
/** Share of requests that got an error response or none. */
const failed = new Rate('failed');

/**
 * Whether a client recognises a response as an error: a 5xx, a 429 or a broken connection.
 * @param {import('k6/http').RefinedResponse<any>} response
 */
export function isError(response) {
  return Boolean(response.error) || response.status >= 500 || response.status === 429;
}

/** Whether this VU has explained a response. */
let explained = false;

/**
 * Records a response.
 * @param {string} variant
 * @param {string} outcome
 * @param {import('./request.js').Response} response
 * @param {string} problem the mismatch with the expected response; '' for none
 * @param {(response: import('./request.js').Response, isWrong: boolean) => string} explanation of the first problem
 */
export function record(variant, outcome, response, problem, explanation = explain) {
  // A client would take any other mismatch for the object.
  const verdict = problem === '' ? 'correct' : problem !== LEAKS_SECRET && isError(response) ? 'failed' : 'wrong';
  const tags = { variant, outcome };
  responseMs.add(response.timings.duration, { ...tags, verdict, status: String(response.status) });
  responses.add(1, tags);
  wrong.add(verdict === 'wrong', tags);
  failed.add(verdict === 'failed', tags);
  if (!problem) return;
  console.error(`${verdict.toUpperCase()} ${outcome} ${variant} ${response.url}: ${problem}`);
  const cause = explained || problem === LEAKS_SECRET ? '' : explanation(response, verdict === 'wrong');
  if (cause) console.error(cause);
  explained ||= cause !== '';
}

/**
 * Thresholds: no wrong responses, failures up to FAILURES, no dropped iterations, and p95, p99 and a minimum number of responses
 * for each variant and outcome. Without the minimum, a threshold on an empty metric would pass.
 * @param {string[]} outcomes those of each variant
 * @param {(share: number) => number} minimum number of responses of each outcome for a variant with this share, 0 to 1
 * @param {{ name: string, share: number }[]} variants
 */
export function thresholds(outcomes, minimum, variants = shares) {
  const total = variants.reduce((sum, { share }) => sum + share, 0);
  /** @type {{ [metric: string]: any[] }} */
  const all = { wrong: ['rate==0'], failed: [`rate<=${maxFailureRate}`], dropped_iterations: ['count==0'] };
  for (const { name, share } of variants) {
    for (const outcome of outcomes) {
      const tags = `{variant:${name},outcome:${outcome}}`;
      all[`response_ms${tags}`] = [`p(95)<${p95}`, `p(99)<${p99}`];
      all[`responses${tags}`] = [`count>=${Math.max(1, Math.floor(minimum(share / total)))}`];
      all[`wrong${tags}`] = ['rate==0'];
      all[`failed${tags}`] = [`rate<=${maxFailureRate}`];
    }
  }
  return all;
}
