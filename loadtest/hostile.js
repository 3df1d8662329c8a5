// Against the cache: most requests are for keys that nobody has asked for, so each is a miss, and a few are for what everybody
// wants, which has to stay right and quick beside them. Where there are more objects than the cache holds (LIVING, as in
// loadtest/local/soak), half of the others are for one of them, so that bodies are evicted all the time.

import { LIVING, living } from './lib/living.js';
import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, preallocated, rate, seconds, someVariant, users } from './lib/settings.js';
import { absent, found } from './lib/visit.js';

const perSecond = rate || 30;
const time = duration || '1m';
const WANTED = 0.2;
const HELD = LIVING > 0 ? 0.4 : 0;

export const options = {
  scenarios: { hostile: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocated, maxVUs: users } },
  thresholds: thresholds(['found', 'absent'].concat(LIVING > 0 ? ['living'] : []), (share) => (perSecond * seconds(time) * WANTED * share) / 2),
  summaryTrendStats: STATISTICS,
};

export default function () {
  const chance = Math.random();
  if (chance < WANTED) found(someVariant());
  else if (chance < WANTED + HELD) living(someVariant());
  else absent(someVariant());
}

export const handleSummary = summary('hostile');
