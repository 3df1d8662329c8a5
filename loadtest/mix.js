// The A/B test itself: the variants by their shares (VARIANTS=v1=80,v2=20), viewers that come, look at some things and go.

import { sleep } from 'k6';
import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, number, seconds, someVariant, users, variants } from './lib/settings.js';
import * as visit from './lib/visit.js';

const viewers = Math.max(1, Math.min(users, number('VIEWERS', 20)));
const time = duration || '1m';
const THINKS_SECONDS = number('THINK_MS', 200) / 1e3;

export const options = {
  scenarios: { mix: { executor: 'constant-vus', vus: viewers, duration: time, gracefulStop: '30s' } },
  // A visit takes four thoughts and some answers.
  thresholds: thresholds(['found', 'not_modified', 'redirect', 'followed', 'head'], Math.min(10, (viewers * seconds(time)) / 20 / variants.length)),
  summaryTrendStats: STATISTICS,
};

/** A viewer keeps the variant that the first page was of. */
export default function () {
  const variant = someVariant();
  visit.found(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
  visit.notModified(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
  visit.redirected(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
  visit.head(variant);
  sleep(Math.random() * 2 * THINKS_SECONDS);
}

export const handleSummary = summary('mix');
