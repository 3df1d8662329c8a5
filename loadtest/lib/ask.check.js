// What an answer's check must find, by examples of answers that are almost right: k6 run loadtest/lib/ask.check.js, with SECRET=secret

import crypto from 'k6/crypto';
import { check } from 'k6';
import { problemOf } from './ask.js';

/** @typedef {import('./ask.js').Answer} Answer */

export const options = { thresholds: { checks: ['rate==1'] } };

const TEXT = new Uint8Array([104, 105]).buffer;
const RIGHT = { status: 200, error: '', body: TEXT, headers: { 'X-Variant': 'v1', Etag: '"a"', Vary: 'test_version, redirect' } };
const WANTED = { status: 200, bytes: 2, sha256: crypto.sha256(TEXT, 'hex'), variant: 'v1', headers: { Etag: /^"a"$/, Vary: /test_version/ } };

/** @type {[string, object, string][]} */
const ALMOST = [
  ['another status', { status: 206 }, 'status 206'],
  ['an error of the connection', { error: 'unexpected EOF' }, 'unexpected EOF'],
  ['a byte less', { body: TEXT.slice(1) }, '1 bytes, not 2'],
  ['another byte', { body: new Uint8Array([104, 111]).buffer }, 'other bytes'],
  ['no body', { body: null }, '0 bytes, not 2'],
  ['another variant', { headers: { ...RIGHT.headers, 'X-Variant': 'v2' } }, 'x-variant v2'],
  ['no variant', { headers: { Etag: '"a"', Vary: 'test_version' } }, 'x-variant '],
  ['another header', { headers: { ...RIGHT.headers, Etag: '"b"' } }, 'Etag is'],
  ['a header that is not there', { headers: { 'X-Variant': 'v1', Etag: '"a"' } }, 'Vary is'],
  ['the secret in a header', { headers: { ...RIGHT.headers, 'X-Why': 'not secret' } }, 'it tells the secret'],
  ['the secret in an error', { status: 500, body: new Uint8Array([...'a secret'].map((letter) => letter.charCodeAt(0))).buffer }, 'it tells the secret'],
];

export default function () {
  check(/** @type {Answer} */ (/** @type {unknown} */ (RIGHT)), { 'what is right has no problem': (answer) => problemOf(answer, WANTED) === '' });
  for (const [what, differs, problem] of ALMOST) {
    check(/** @type {Answer} */ (/** @type {unknown} */ ({ ...RIGHT, ...differs })), { [what]: (answer) => problemOf(answer, WANTED).startsWith(problem) });
  }
}
