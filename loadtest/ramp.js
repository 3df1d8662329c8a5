// To the knee: the rate grows by steps until answers are dropped or slow; the last step that held is the most that there is.

import { thresholds } from './lib/measure.js';
import { STATISTICS, summary } from './lib/report.js';
import { duration, failures, number, p99, preallocated, rate, seconds, someVariant, users } from './lib/settings.js';
import { found } from './lib/visit.js';

const most = rate || 1000;
const steps = Math.max(2, number('STEPS', 10));
const step = Math.max(2, Math.floor(seconds(duration || '2m') / steps));
const rates = Array.from({ length: steps }, (_, index) => Math.max(1, Math.round((most * (index + 1)) / steps)));

export const options = {
  scenarios: {
    ramp: {
      executor: 'ramping-arrival-rate',
      startRate: rates[0],
      // A jump to each rate, then it is held: what the knee is at can be read off.
      stages: rates.flatMap((target) => [{ target, duration: '0s' }, { target, duration: `${step}s` }]),
      preAllocatedVUs: preallocated,
      maxVUs: users,
    },
  },
  thresholds: {
    ...thresholds(['found'], () => 1),
    // Past the knee the rest says nothing, and what refuses at once is neither slow nor dropped: stop there.
    failed: [{ threshold: `rate<=${failures}`, abortOnFail: true }],
    wrong: [{ threshold: 'rate==0', abortOnFail: true }],
    dropped_iterations: [{ threshold: `count<${number('DROPS', 10)}`, abortOnFail: true }],
    answer_ms: [{ threshold: `p(99)<${p99}`, abortOnFail: true, delayAbortEval: '5s' }],
  },
  summaryTrendStats: STATISTICS,
};

export default function () {
  found(someVariant());
}

export const handleSummary = summary('ramp');
