// The mix of a real test: mostly pages and pictures, some reloads, ranges, HEADs, redirects, and what goes wrong on any site.

import { api, someVariant } from './settings.js';
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
export const OUTCOMES = ['found', 'not_modified', 'partial', 'head', 'redirect', 'followed', 'missing', 'bad_version'].concat(api ? ['forbidden'] : []);
/** The share of the rarest. */
export const RAREST = 0.01;

/** One visit. */
export function mixed() {
  let left = Math.random() * 100;
  for (const [share, kind] of MIX) {
    left -= share;
    if (left < 0) return kind(someVariant());
  }
  return visit.found(someVariant());
}
