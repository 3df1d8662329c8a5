// A minute's look before anything heavier: every outcome for every variant, by few viewers.

import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { api, variants } from './lib/settings.js';
import { OUTCOMES } from './lib/traffic.js';
import * as visit from './lib/visit.js';

const TURNS = 5;

export const options = {
  scenarios: { smoke: { executor: 'per-vu-iterations', vus: 2, iterations: TURNS, maxDuration: '1m' } },
  thresholds: thresholds(OUTCOMES, () => 2 * TURNS),
  summaryTrendStats: STATISTICS,
};

export default function () {
  for (const variant of variants) {
    visit.notModified(variant);
    visit.partial(variant);
    visit.head(variant);
    visit.redirected(variant);
    visit.missing(variant);
    visit.badVersion(variant);
    if (api) visit.forbidden(variant);
  }
}

export const handleSummary = summary('smoke');
