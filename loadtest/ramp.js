// Finds the knee: the rate grows in steps until requests are dropped, slow or failed. The last step that passed is the maximum rate.

import { thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { duration, integer, maxFailureRate, maxVus, number, p99, pickVariant, preallocatedVus, rate, seconds } from './lib/settings.js';
import { found } from './lib/visit.js';

const maxRate = rate || 1000;
const steps = integer('STEPS', 10, 2);
const stepSeconds = Math.max(2, Math.floor(seconds(duration || '2m') / steps));
const rates = Array.from({ length: steps }, (_, index) => Math.max(1, Math.round((maxRate * (index + 1)) / steps)));

export const options = {
  scenarios: {
    ramp: {
      executor: 'ramping-arrival-rate',
      startRate: rates[0],
      // Jumps to each rate and holds it, so that each step has one rate.
      stages: rates.flatMap((target) => [{ target, duration: '0s' }, { target, duration: `${stepSeconds}s` }]),
      preAllocatedVUs: preallocatedVus,
      maxVUs: maxVus,
    },
  },
  thresholds: {
    ...thresholds(['found'], () => 1),
    // Abort past the knee. `failed` also covers an origin that rejects requests quickly and so is neither slow nor dropping.
    failed: [{ threshold: `rate<=${maxFailureRate}`, abortOnFail: true }],
    wrong: [{ threshold: 'rate==0', abortOnFail: true }],
    dropped_iterations: [{ threshold: `count<${number('DROPS', 10)}`, abortOnFail: true }],
    response_ms: [{ threshold: `p(99)<${p99}`, abortOnFail: true, delayAbortEval: '5s' }],
  },
  summaryTrendStats: TREND_STATS,
};

export default function () {
  found(pickVariant());
}

export const handleSummary = summary('ramp');
