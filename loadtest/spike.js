// From little to ten times as much in a second, and back: does it hold, and is it well again afterwards?

import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, preallocated, rate, seconds, users } from './lib/settings.js';
import { OUTCOMES, RAREST, mixed } from './lib/traffic.js';

const calm = rate || 20;
const part = Math.max(2, Math.floor(seconds(duration || '1m') / 4));
const visits = calm * part * (1 + 10 * 2 + 1);

export const options = {
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      startRate: calm,
      stages: [
        { target: calm, duration: `${part}s` },
        { target: calm * 10, duration: '1s' },
        { target: calm * 10, duration: `${2 * part - 2}s` },
        { target: calm, duration: '1s' },
        { target: calm, duration: `${part}s` },
      ],
      preAllocatedVUs: preallocated,
      maxVUs: users,
    },
  },
  thresholds: thresholds(OUTCOMES, (share) => (visits * RAREST * share) / 2),
  summaryTrendStats: STATISTICS,
};

export default mixed;
export const handleSummary = summary('spike');
