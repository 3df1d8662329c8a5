// A spike: ten times the base rate within one second, held, and back. Tests whether the origin survives and recovers.

import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { duration, maxVus, preallocatedVus, rate, seconds } from './lib/settings.js';
import { OUTCOMES, RAREST_SHARE, mixed } from './lib/traffic.js';

const baseRate = rate || 20;
const quarter = Math.max(2, Math.floor(seconds(duration || '1m') / 4));
const visits = baseRate * quarter * (1 + 10 * 2 + 1);

export const options = {
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      startRate: baseRate,
      stages: [
        { target: baseRate, duration: `${quarter}s` },
        { target: baseRate * 10, duration: '1s' },
        { target: baseRate * 10, duration: `${2 * quarter - 2}s` },
        { target: baseRate, duration: '1s' },
        { target: baseRate, duration: `${quarter}s` },
      ],
      preAllocatedVUs: preallocatedVus,
      maxVUs: maxVus,
    },
  },
  thresholds: thresholds(OUTCOMES, (share) => (visits * RAREST_SHARE * share) / 2),
  summaryTrendStats: TREND_STATS,
};

export default mixed;
export const handleSummary = summary('spike');
