// What is counted, by variant and outcome, and the thresholds that fail a run.

import { Counter, Rate, Trend } from 'k6/metrics';
import { TELLS_SECRET } from './ask.js';
import { failures, p95, p99, shares } from './settings.js';

/** Until the last byte, in ms. */
const answerMs = new Trend('answer_ms', true);
const answers = new Counter('answers');
/** Answers that say they are what was asked for and are not, to the byte. */
const wrong = new Rate('wrong');
/** Requests with an error, or nothing, for an answer. */
const failed = new Rate('failed');

/**
 * Counts an answer.
 * @param {string} variant
 * @param {string} outcome
 * @param {import('k6/http').RefinedResponse<any>} response
 * @param {string} problem what is wrong with it; empty when nothing is
 */
export function count(variant, outcome, response, problem) {
  // An error owns up, and so does a refusal for want of quota: neither can be taken for the object. Anything else that is not as
  // wanted is a lie.
  const owns = problem !== TELLS_SECRET && (response.error || response.status >= 500 || response.status === 429);
  const verdict = problem === '' ? 'right' : owns ? 'failed' : 'wrong';
  const tags = { variant, outcome };
  answerMs.add(response.timings.duration, { ...tags, verdict, status: String(response.status) });
  answers.add(1, tags);
  wrong.add(verdict === 'wrong', tags);
  failed.add(verdict === 'failed', tags);
  if (problem) console.error(`${verdict.toUpperCase()} ${outcome} ${variant} ${response.url}: ${problem}`);
}

/**
 * None wrong, none failed, none dropped, and for each variant and outcome a least number: a threshold over nothing would pass.
 * @param {string[]} outcomes those that each variant has
 * @param {(share: number) => number} least how many of each there have to be of a variant, whose share is 0 to 1
 */
export function thresholds(outcomes, least) {
  const whole = shares.reduce((sum, { share }) => sum + share, 0);
  /** @type {{ [name: string]: any[] }} */
  const all = { wrong: ['rate==0'], failed: [`rate<=${failures}`], dropped_iterations: ['count==0'] };
  for (const { name, share } of shares) {
    for (const outcome of outcomes) {
      const of = `{variant:${name},outcome:${outcome}}`;
      all[`answer_ms${of}`] = [`p(95)<${p95}`, `p(99)<${p99}`];
      all[`answers${of}`] = [`count>=${Math.max(1, Math.floor(least(share / whole)))}`];
      all[`wrong${of}`] = ['rate==0'];
      all[`failed${of}`] = [`rate<=${failures}`];
    }
  }
  return all;
}
