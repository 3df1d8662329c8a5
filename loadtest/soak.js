// The mix for a long time at a rate well below the knee: what grows, grows here.

import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, rate, seconds, users, variants } from './lib/settings.js';
import { OUTCOMES, RAREST, mixed } from './lib/traffic.js';

const perSecond = rate || 50;
const time = duration || '30m';

export const options = {
  scenarios: { soak: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: Math.min(users, 50), maxVUs: users } },
  thresholds: thresholds(OUTCOMES, (perSecond * seconds(time) * RAREST) / variants.length / 2),
  summaryTrendStats: STATISTICS,
};

export default mixed;
export const handleSummary = summary('soak');
