// The A/B test: viewers that keep their variant and pause between requests, with variants by share (VARIANTS=v1=80,v2=20).

import exec from 'k6/execution';
import { sleep } from 'k6';
import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { apiUrl, duration, followRedirects, integer, maxVus, number, pickVariant, seconds, spread, text } from './lib/settings.js';
import * as visit from './lib/visit.js';

const viewers = Math.min(maxVus, integer('VIEWERS', 20, 1));
const time = duration || '1m';
/** Mean pause between requests. */
const THINK_SECONDS = number('THINK_MS', 200) / 1e3;

/** Outcomes of every visit. */
const REGULAR = ['found', 'coded', 'not_modified', 'redirect', 'head', 'partial'].concat(followRedirects ? ['followed'] : []);
/** One visit in this many adds the rare outcomes. */
const RARE_INTERVAL = 5;
const RARE = ['missing', 'bad_version'].concat(apiUrl ? ['forbidden'] : []);
// A visit takes six pauses and the responses.
const minimum = Math.min(20, (viewers * seconds(time)) / 24);
/** CODED=yes: fail unless a response has a Content-Encoding. */
const mustBeCoded = text('CODED', 'no') === 'yes';

export const options = {
  scenarios: { mix: { executor: 'constant-vus', vus: viewers, duration: time, gracefulStop: '30s' } },
  thresholds: { ...thresholds(REGULAR, (share) => minimum * share), ...thresholds(RARE, (share) => (minimum * share) / 10), ...(mustBeCoded ? { coded_responses: ['count>0'] } : {}) },
  summaryTrendStats: TREND_STATS,
};

function think() {
  sleep(Math.random() * 2 * THINK_SECONDS);
}

export default function () {
  const number = exec.scenario.iterationInTest;
  const variant = pickVariant(spread(number, RARE_INTERVAL));
  visit.found(variant);
  think();
  visit.coded(variant);
  think();
  visit.notModified(variant);
  think();
  visit.redirected(variant);
  think();
  visit.head(variant);
  think();
  visit.partial(variant);
  if (number % RARE_INTERVAL === 0) {
    visit.missing(variant);
    visit.badVersion(variant);
    visit.forbidden(variant);
  }
  think();
}

export const handleSummary = summary('mix');
