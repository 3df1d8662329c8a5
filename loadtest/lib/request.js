// Sends a request and compares its response with the expected one.

import crypto from 'k6/crypto';
import http from 'k6/http';
import { secret } from './settings.js';

/** @typedef {import('k6/http').RefinedResponse<'binary'>} Response */
/** @typedef {{ status: number, bytes?: number, sha256?: string, variant?: string, headers?: { [name: string]: RegExp } }} Expected */

/** This mismatch counts as `wrong` with any status. */
export const LEAKS_SECRET = 'the response contains the secret';
/** Bodies below this size are searched for the secret; larger ones are checked by their SHA-256. */
const SEARCHED_BYTES = 4096;

/**
 * Describes the first difference between a response and the expected one; '' if they match.
 * @param {Response} response
 * @param {Expected} expected
 */
export function mismatch(response, expected) {
  if (secret && contains(response, secret)) return LEAKS_SECRET;
  // The connection failed, or closed before the response was complete.
  if (response.error) return response.error;
  if (response.status !== expected.status) return `status ${response.status}, expected ${expected.status}`;
  const bytes = response.body ? response.body.byteLength : 0;
  if (expected.bytes !== undefined && bytes !== expected.bytes) return `body of ${bytes} bytes, expected ${expected.bytes}`;
  if (expected.sha256 !== undefined && (!response.body || crypto.sha256(response.body, 'hex') !== expected.sha256)) {
    return 'body has a different SHA-256';
  }
  if (expected.variant !== undefined && header(response, 'X-Variant') !== expected.variant) {
    return `x-variant '${header(response, 'X-Variant')}', expected '${expected.variant}'`;
  }
  for (const [name, pattern] of Object.entries(expected.headers || {})) {
    if (!pattern.test(header(response, name))) return `${name} '${header(response, name)}', expected ${pattern}`;
  }
  return '';
}

/**
 * Whether a header field or a small body contains `text`.
 * @param {Response} response
 * @param {string} text
 */
function contains(response, text) {
  if (Object.values(response.headers).some((value) => value.includes(text))) return true;
  const bytes = new Uint8Array(response.body || new ArrayBuffer(0));
  return bytes.length < SEARCHED_BYTES && String.fromCharCode(...bytes).includes(text);
}

/** The value of a header field, or ''. @param {Response} response @param {string} name in Go's canonical form, such as X-Variant */
export function header(response, name) {
  return response.headers[name] || '';
}

/**
 * Sends a request without following redirects. It times out after 30 s.
 * @param {string} method
 * @param {string} url
 * @param {string} name k6's `name` tag, which groups requests
 * @param {{ [name: string]: string }} headers
 * @param {import('k6/http').CookieJar} [jar] sent with the request, and updated by the response; by default the VU's
 */
export function send(method, url, name, headers, jar) {
  const parameters = { headers, redirects: 0, responseType: 'binary', tags: { name }, timeout: '30s', ...(jar ? { jar } : {}) };
  return /** @type {Response} */ (http.request(method, url, null, /** @type {import('k6/http').RefinedParams<'binary'>} */ (parameters)));
}
