// A constant rate: a slow answer does not slow what is asked.

import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, preallocated, rate, seconds, users } from './lib/settings.js';
import { OUTCOMES, RAREST, mixed } from './lib/traffic.js';

const perSecond = rate || 50;
const time = duration || '1m';
/** Half of what there will be. @param {number} share */
const least = (share) => (perSecond * seconds(time) * RAREST * share) / 2;

export const options = {
  scenarios: { steady: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocated, maxVUs: users } },
  thresholds: thresholds(OUTCOMES, least),
  summaryTrendStats: STATISTICS,
};

export default mixed;
export const handleSummary = summary('steady');
