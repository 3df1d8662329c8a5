// Tests `mismatch` with almost correct responses: SECRET=secret k6 run loadtest/lib/request.check.js

import crypto from 'k6/crypto';
import { check } from 'k6';
import { LEAKS_SECRET, mismatch } from './request.js';

/** @typedef {import('./request.js').Response} Response */

export const options = { thresholds: { checks: ['rate==1'] } };

/** @param {string} text */
const bytesOf = (text) => new Uint8Array([...text].map((letter) => letter.charCodeAt(0))).buffer;

const BODY = bytesOf('hi');
const CORRECT = { status: 200, error: '', body: BODY, headers: { 'X-Variant': 'v1', Etag: '"a"', Vary: 'test_version, redirect' } };
const EXPECTED = {
  status: 200,
  bytes: 2,
  sha256: crypto.sha256(BODY, 'hex'),
  variant: 'v1',
  headers: { Etag: /^"a"$/, Vary: /test_version/ },
};

/** Name of the case, what differs from CORRECT, start of the message. @type {[string, object, string][]} */
const CASES = [
  ['a different status', { status: 206 }, 'status 206, expected 200'],
  ['a connection error', { error: 'unexpected EOF' }, 'unexpected EOF'],
  ['a body that is one byte short', { body: BODY.slice(1) }, 'body of 1 bytes, expected 2'],
  ['a different body of the same length', { body: bytesOf('ho') }, 'body has a different SHA-256'],
  ['no body', { body: null }, 'body of 0 bytes, expected 2'],
  ['a different variant', { headers: { ...CORRECT.headers, 'X-Variant': 'v2' } }, "x-variant 'v2', expected 'v1'"],
  ['no variant', { headers: { Etag: '"a"', Vary: 'test_version' } }, "x-variant ''"],
  ['a different header value', { headers: { ...CORRECT.headers, Etag: '"b"' } }, 'Etag \'"b"\''],
  ['a missing header', { headers: { 'X-Variant': 'v1', Etag: '"a"' } }, "Vary ''"],
  ['the secret in a header', { headers: { ...CORRECT.headers, 'X-Why': 'not secret' } }, LEAKS_SECRET],
  ['the secret in an error body', { status: 500, body: bytesOf('a secret') }, LEAKS_SECRET],
];

/** @param {object} response */
const asResponse = (response) => /** @type {Response} */ (/** @type {unknown} */ (response));

export default function () {
  check(asResponse(CORRECT), { 'a correct response matches': (response) => mismatch(response, EXPECTED) === '' });
  for (const [name, changes, message] of CASES) {
    check(asResponse({ ...CORRECT, ...changes }), { [name]: (response) => mismatch(response, EXPECTED).startsWith(message) });
  }
}
