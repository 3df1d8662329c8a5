// Against the cache: most requests are for keys that nobody has asked for, so each is a miss, and a few are for what everybody
// wants, which has to stay right and quick beside them. Where there are more objects than the cache holds (LIVING, as in
// loadtest/local/soak), half of the others are for one of them, so that bodies are evicted all the time.

import exec from 'k6/execution';
import { LIVING, living } from './lib/living.js';
import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, preallocated, rate, seconds, someVariant, spread, users } from './lib/settings.js';
import { absent, found } from './lib/visit.js';

const perSecond = rate || 30;
const time = duration || '1m';
/** Of five requests so many are for what everybody wants, and so many for one of many objects. */
const [WANTED, HELD] = [1, LIVING > 0 ? 2 : 0];

export const options = {
  scenarios: { hostile: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocated, maxVUs: users } },
  thresholds: thresholds(['found', 'absent'].concat(LIVING > 0 ? ['living'] : []), (share) => (perSecond * seconds(time) * share) / 10),
  summaryTrendStats: STATISTICS,
};

export default function () {
  const number = exec.scenario.iterationInTest;
  const variant = someVariant(spread(number, 5));
  if (number % 5 < WANTED) found(variant);
  else if (number % 5 < WANTED + HELD) living(variant);
  else absent(variant);
}

export const handleSummary = summary('hostile');
