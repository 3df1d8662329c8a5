// Objects that change while they are asked for, and say themselves what they are: `key version sha256-of-the-rest`, a new line,
// and the rest. `loadtest/local/soak` writes them.

import crypto from 'k6/crypto';
import { ask, header, problemOf } from './ask.js';
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
  return problemOfAge(Number(version));
}

/** @param {number} version when it was written, in ms since 1970 */
function problemOfAge(version) {
  const age = Date.now() - version;
  return OLDEST_MS > 0 && !(age <= OLDEST_MS) ? `a version of ${(age / 1e3).toFixed(1)} s ago` : '';
}

/** What a living object's headers are. @param {ArrayBuffer | null} body */
function headersOf(body) {
  // S3's own, of an object that was put in one piece: a new tag never comes with old bytes.
  const etag = `"${crypto.md5(body || new ArrayBuffer(0), 'hex')}"`;
  return { Etag: new RegExp(`^(W/)?${etag}$`), Vary: /test_version/, 'Content-Type': /^application\/octet-stream$/ };
}

/**
 * An object that changes now and then, whole; one in ten is then asked for again by its tag, one in ten for a part of it. A few are
 * wanted often.
 * @param {string} variant
 */
export function living(variant) {
  const number = Math.floor(Math.random() ** 2 * LIVING);
  const path = `living/${number}.bin`;
  const whole = asked(variant, path, {});
  const body = whole.body;
  const etag = header(whole, 'Etag');
  const chance = Math.random();
  if (whole.status !== 200 || !body || !etag || chance > 0.2) return;
  if (chance < 0.1) {
    // The same, or another that is whole.
    asked(variant, path, { 'If-None-Match': etag }, (answer) => {
      if (answer.status !== 304) return undefined;
      const { Etag, Vary } = headersOf(body);
      return problemOf(answer, { status: 304, bytes: 0, variant, headers: { Etag, Vary } }) || ageOf(body);
    });
  } else {
    const last = Math.min(99, body.byteLength - 1);
    asked(variant, path, { Range: `bytes=0-${last}`, 'If-Range': etag }, (answer) => {
      if (answer.status !== 206) return undefined;
      const sha256 = crypto.sha256(body.slice(0, last + 1), 'hex');
      return problemOf(answer, { status: 206, bytes: last + 1, sha256, variant, headers: headersOf(body) }) || ageOf(body);
    });
  }
}

/** What is wrong with the age of what was answered with. @param {ArrayBuffer} body */
function ageOf(body) {
  const line = String.fromCharCode(...new Uint8Array(body.slice(0, 300)));
  return problemOfAge(Number(line.split(' ')[1]));
}

/**
 * @param {string} variant
 * @param {string} path
 * @param {{ [name: string]: string }} headers
 * @param {(answer: import('./ask.js').Answer) => string | undefined} partly what is wrong with an answer that is no whole object
 */
function asked(variant, path, headers, partly = () => undefined) {
  const answer = ask('GET', `${base}/${path}`, 'living', { test_version: variant, ...headers });
  const problem =
    partly(answer) ??
    (problemOf(answer, { status: 200, variant, headers: headersOf(answer.body) }) || problemOfBody(answer.body, `${variant}/${path}`));
  count(variant, 'living', answer, problem);
  return answer;
}
