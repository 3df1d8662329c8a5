// The traffic mix for a long time at a rate well below the knee, to find leaks and slow growth.

import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { duration, maxVus, preallocatedVus, rate, seconds } from './lib/settings.js';
import { OUTCOMES, RAREST_SHARE, mixed } from './lib/traffic.js';

const perSecond = rate || 50;
const time = duration || '30m';

export const options = {
  scenarios: {
    soak: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocatedVus, maxVUs: maxVus },
  },
  thresholds: thresholds(OUTCOMES, (share) => (perSecond * seconds(time) * RAREST_SHARE * share) / 2),
  summaryTrendStats: TREND_STATS,
};

export default mixed;
export const handleSummary = summary('soak');
