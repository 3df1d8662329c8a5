// The traffic mix of a site: mostly pages and images, some reloads, ranges, HEAD requests and redirects, and a few client errors.

import exec from 'k6/execution';
import { apiUrl, followRedirects, pickVariant, spread } from './settings.js';
import { CHANGING, changing } from './changing.js';
import * as visit from './visit.js';

/** Percent of the visits, and the visit. @type {[number, (variant: string) => unknown][]} */
const MIX = [
  [70, visit.found],
  [10, visit.notModified],
  [6, visit.redirected],
  [5, visit.partial],
  [4, visit.head],
  [3, visit.missing],
  [1, visit.badVersion],
  [1, visit.forbidden],
];

/** The outcomes of the mix. */
export const OUTCOMES = ['found', 'not_modified', 'partial', 'head', 'redirect', 'missing', 'bad_version'].concat(
  followRedirects ? ['followed'] : [],
  apiUrl ? ['forbidden'] : [],
  CHANGING > 0 ? ['changing'] : [],
);
/** With changing objects, one visit in this many requests the static site. */
const STATIC_INTERVAL = 5;
/** Share of the rarest outcome. */
export const RAREST_SHARE = 0.01 / (CHANGING > 0 ? STATIC_INTERVAL : 1);
/** One visit. The iteration number selects its kind, so that every hundred visits contain the exact mix, even in a short run. */
export function mixed() {
  let number = exec.scenario.iterationInTest;
  if (CHANGING > 0) {
    if (number % STATIC_INTERVAL !== 0) return changing(pickVariant());
    number /= STATIC_INTERVAL;
  }
  // 37 and 100 are coprime: this visits every percentage once and alternates the kinds.
  let left = (number * 37) % 100;
  const variant = pickVariant(spread(number, 100));
  for (const [share, kind] of MIX) {
    left -= share;
    if (left < 0) return kind(variant);
  }
  return visit.found(variant);
}
