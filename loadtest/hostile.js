// Cache-busting traffic: four of five requests are for unique missing keys, so each is a cache miss. One of five is for the site's
// objects, which must stay correct and fast. With CHANGING objects, more than the cache holds, two of the four are for those, so that
// the cache evicts bodies continuously (loadtest/local/soak --scenario hostile).

import exec from 'k6/execution';
import { CHANGING, changing } from './lib/changing.js';
import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { duration, maxVus, pickVariant, preallocatedVus, rate, seconds, spread } from './lib/settings.js';
import { found, uniqueMissing } from './lib/visit.js';

const perSecond = rate || 30;
const time = duration || '1m';
/** Of five requests, the numbers of those for the site's objects and for changing objects. */
const [SITE, CHANGED] = [1, CHANGING > 0 ? 2 : 0];
const outcomes = ['found', 'unique_missing'].concat(CHANGING > 0 ? ['changing'] : []);

export const options = {
  scenarios: {
    hostile: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocatedVus, maxVUs: maxVus },
  },
  thresholds: thresholds(outcomes, (share) => (perSecond * seconds(time) * share) / 10),
  summaryTrendStats: TREND_STATS,
};

export default function () {
  const number = exec.scenario.iterationInTest;
  const variant = pickVariant(spread(number, 5));
  if (number % 5 < SITE) found(variant);
  else if (number % 5 < SITE + CHANGED) changing(variant);
  else uniqueMissing(variant);
}

export const handleSummary = summary('hostile');
