// The mix of a real test: mostly pages and pictures, some reloads, ranges, HEADs, redirects, and what goes wrong on any site.

import { api, follows, someVariant } from './settings.js';
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
/** The share of what changes, where something does. */
const CHANGING = 0.8;
/** The share of the rarest. */
export const RAREST = 0.01 * (LIVING > 0 ? 1 - CHANGING : 1);

/** One visit; where there are objects that change, most are to them. */
export function mixed() {
  if (LIVING > 0 && Math.random() < CHANGING) return living(someVariant());
  let left = Math.random() * 100;
  for (const [share, kind] of MIX) {
    left -= share;
    if (left < 0) return kind(someVariant());
  }
  return visit.found(someVariant());
}
