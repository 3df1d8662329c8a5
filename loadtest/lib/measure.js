// What is counted, by variant and outcome, and the thresholds that fail a run.

import { Counter, Rate, Trend } from 'k6/metrics';
import { p95, p99, variants } from './settings.js';

/** Until the last byte, in ms. */
const answerMs = new Trend('answer_ms', true);
const answers = new Counter('answers');
/** Answers that are not what was asked for, to the byte. */
const wrong = new Rate('wrong');

/**
 * Counts an answer.
 * @param {string} variant
 * @param {string} outcome
 * @param {import('k6/http').RefinedResponse<any>} response
 * @param {string} problem what is wrong with it; empty when nothing is
 */
export function count(variant, outcome, response, problem) {
  const tags = { variant, outcome };
  answerMs.add(response.timings.duration, tags);
  answers.add(1, tags);
  wrong.add(problem !== '', tags);
  if (problem) console.error(`${outcome} ${variant} ${response.url}: ${problem}`);
}

/**
 * None wrong, none dropped, and for each variant and outcome a least number: a threshold over nothing would pass.
 * @param {string[]} outcomes those that each variant has
 * @param {number} least how many of each there have to be
 */
export function thresholds(outcomes, least) {
  /** @type {{ [name: string]: any[] }} */
  const all = {
    wrong: [{ threshold: 'rate==0', abortOnFail: false }],
    dropped_iterations: ['count==0'],
    http_req_failed: ['rate<0.001'],
  };
  for (const variant of variants) {
    for (const outcome of outcomes) {
      const of = `{variant:${variant},outcome:${outcome}}`;
      all[`answer_ms${of}`] = [`p(95)<${p95}`, `p(99)<${p99}`];
      all[`answers${of}`] = [`count>=${Math.max(1, Math.floor(least))}`];
      all[`wrong${of}`] = ['rate==0'];
    }
  }
  return all;
}
