// Requests every outcome for every variant, ten times. Takes less than a minute; run it before the other scenarios.

import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { apiUrl, variants } from './lib/settings.js';
import { OUTCOMES } from './lib/traffic.js';
import * as visit from './lib/visit.js';

const VUS = 2;
const ITERATIONS = 5;

export const options = {
  scenarios: { smoke: { executor: 'per-vu-iterations', vus: VUS, iterations: ITERATIONS, maxDuration: '1m' } },
  thresholds: thresholds(OUTCOMES, () => VUS * ITERATIONS),
  summaryTrendStats: TREND_STATS,
};

export default function () {
  for (const variant of variants) {
    visit.notModified(variant);
    visit.partial(variant);
    visit.head(variant);
    visit.redirected(variant);
    visit.missing(variant);
    visit.badVersion(variant);
    if (apiUrl) visit.forbidden(variant);
  }
}

export const handleSummary = summary('smoke');
