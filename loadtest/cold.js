// Cold starts: VUS concurrent requests, each of which needs its own execution environment. Wait ten minutes without traffic, or deploy
// the function again, so that no environment is warm.

import exec from 'k6/execution';
import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { integer, maxVus, pickVariant, spread } from './lib/settings.js';
import { found } from './lib/visit.js';

const bursts = integer('BURSTS', 1, 1);

export const options = {
  scenarios: { cold: { executor: 'per-vu-iterations', vus: maxVus, iterations: bursts, maxDuration: '1m' } },
  thresholds: thresholds(['found'], (share) => (maxVus * bursts * share) / 4),
  summaryTrendStats: TREND_STATS,
};

export default function () {
  found(pickVariant(spread(exec.scenario.iterationInTest, 100)));
}

export const handleSummary = summary('cold');
