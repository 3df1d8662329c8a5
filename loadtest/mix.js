// The A/B test itself: the variants by their shares (VARIANTS=v1=80,v2=20), viewers that come, look at some things and go.

import exec from 'k6/execution';
import { sleep } from 'k6';
import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { api, duration, follows, number, seconds, someVariant, spread, users } from './lib/settings.js';
import * as visit from './lib/visit.js';

const viewers = Math.max(1, Math.min(users, number('VIEWERS', 20)));
const time = duration || '1m';
const THINKS_SECONDS = number('THINK_MS', 200) / 1e3;

/** Every visit has these. */
const USUAL = ['found', 'not_modified', 'redirect', 'head', 'partial'].concat(follows ? ['followed'] : []);
/** One visit in so many has these. */
const SELDOM = 5;
const RARE = ['missing', 'bad_version'].concat(api ? ['forbidden'] : []);
// A visit takes five thoughts and some answers.
const least = Math.min(20, (viewers * seconds(time)) / 20);

export const options = {
  scenarios: { mix: { executor: 'constant-vus', vus: viewers, duration: time, gracefulStop: '30s' } },
  thresholds: { ...thresholds(USUAL, (share) => least * share), ...thresholds(RARE, (share) => (least * share) / 10) },
  summaryTrendStats: STATISTICS,
};

/** A viewer keeps the variant that the first page was of. */
export default function () {
  const number = exec.scenario.iterationInTest;
  const variant = someVariant(spread(number, SELDOM));
  visit.found(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
  visit.notModified(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
  visit.redirected(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
  visit.head(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
  visit.partial(variant);
  if (number % SELDOM === 0) {
    visit.missing(variant);
    visit.badVersion(variant);
    visit.forbidden(variant);
  }
  sleep(Math.random() * 2 * THINKS_SECONDS);
}

export const handleSummary = summary('mix');
