// Objects that change while they are asked for, and say themselves what they are: `key version sha256-of-the-rest`, a new line,
// and the rest. `loadtest/local/soak` writes them.

import crypto from 'k6/crypto';
import { ask, problemOf } from './ask.js';
import { count } from './measure.js';
import { base, number } from './settings.js';

/** How many there are of each variant; 0 when there are none. */
export const LIVING = number('LIVING', 0);
/** How old a version may be, in ms: the time between two versions, and as long as a cache may keep one. */
const OLDEST_MS = number('OLDEST_MS', 0);

/** @param {ArrayBuffer | null} body @param {string} key */
function problemOfBody(body, key) {
  const bytes = new Uint8Array(body || new ArrayBuffer(0));
  const end = bytes.subarray(0, 300).indexOf(10);
  if (end < 0) return 'no first line';
  const [name, version, sum] = String.fromCharCode(...bytes.subarray(0, end)).split(' ');
  if (name !== key) return `it is ${name}`;
  if (crypto.sha256(bytes.slice(end + 1).buffer, 'hex') !== sum) return 'other bytes than it says';
  const age = Date.now() - Number(version);
  if (OLDEST_MS > 0 && age > OLDEST_MS) return `a version of ${(age / 1e3).toFixed(1)} s ago`;
  return '';
}

/** A whole object that changes now and then; a few are wanted often. @param {string} variant */
export function living(variant) {
  const number = Math.floor(Math.random() ** 2 * LIVING);
  const path = `living/${number}.bin`;
  const answer = ask('GET', `${base}/${path}`, 'living', { test_version: variant });
  const problem = problemOf(answer, { status: 200, variant }) || problemOfBody(answer.body, `${variant}/${path}`);
  count(variant, 'living', answer, problem);
}
