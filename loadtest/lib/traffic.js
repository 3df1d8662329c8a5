// The mix of a real test: mostly pages and pictures, some reloads, ranges, HEADs, redirects, and what goes wrong on any site.

import exec from 'k6/execution';
import { api, follows, someVariant, spread } from './settings.js';
import { LIVING, living } from './living.js';
import * as visit from './visit.js';

/** @type {[number, (variant: string) => unknown][]} */
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
  follows ? ['followed'] : [],
  api ? ['forbidden'] : [],
  LIVING > 0 ? ['living'] : [],
);
/** Where something changes, one visit in so many is to what does not. */
const UNCHANGING = 5;
/** The share of the rarest. */
export const RAREST = 0.01 / (LIVING > 0 ? UNCHANGING : 1);
/**
 * One visit. Which kind it is goes by its number, not by chance: every hundred visits have the mix exactly, and a short run has
 * the rarest kinds too.
 */
export function mixed() {
  let number = exec.scenario.iterationInTest;
  if (LIVING > 0) {
    if (number % UNCHANGING !== 0) return living(someVariant());
    number /= UNCHANGING;
  }
  // 37 and 100 have no common divisor: the kinds alternate.
  let left = (number * 37) % 100;
  const variant = someVariant(spread(number, 100));
  for (const [share, kind] of MIX) {
    left -= share;
    if (left < 0) return kind(variant);
  }
  return visit.found(variant);
}
