// The traffic mix at a constant arrival rate: slow responses do not reduce the offered load.

import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { duration, maxVus, preallocatedVus, rate, seconds } from './lib/settings.js';
import { OUTCOMES, RAREST_SHARE, mixed } from './lib/traffic.js';

const perSecond = rate || 50;
const time = duration || '1m';
/** Half of the expected number of the rarest outcome. @param {number} share */
const minimum = (share) => (perSecond * seconds(time) * RAREST_SHARE * share) / 2;

export const options = {
  scenarios: {
    steady: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocatedVus, maxVUs: maxVus },
  },
  thresholds: thresholds(OUTCOMES, minimum),
  summaryTrendStats: TREND_STATS,
};

export default mixed;
export const handleSummary = summary('steady');
