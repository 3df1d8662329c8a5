// A burst out of nothing: as many requests at once as VUS says, each of which needs an environment of its own. Let the function rest
// for ten minutes before it, or deploy it anew, so that none is warm.

import exec from 'k6/execution';
import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { number, someVariant, spread, users } from './lib/settings.js';
import { found } from './lib/visit.js';

const bursts = Math.max(1, number('BURSTS', 1));

export const options = {
  scenarios: { cold: { executor: 'per-vu-iterations', vus: users, iterations: bursts, maxDuration: '1m' } },
  thresholds: thresholds(['found'], (share) => (users * bursts * share) / 4),
  summaryTrendStats: STATISTICS,
};

export default function () {
  found(someVariant(spread(exec.scenario.iterationInTest, 100)));
}

export const handleSummary = summary('cold');
