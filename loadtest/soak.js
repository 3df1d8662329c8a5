// The mix for a long time at a rate well below the knee: what grows, grows here.

import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, preallocated, rate, seconds, users } from './lib/settings.js';
import { OUTCOMES, RAREST, mixed } from './lib/traffic.js';

const perSecond = rate || 50;
const time = duration || '30m';

export const options = {
  scenarios: { soak: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocated, maxVUs: users } },
  thresholds: thresholds(OUTCOMES, (share) => (perSecond * seconds(time) * RAREST * share) / 2),
  summaryTrendStats: STATISTICS,
};

export default mixed;
export const handleSummary = summary('soak');
