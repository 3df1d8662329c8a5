// Self-describing objects that are rewritten during the run: `key version sha256-of-the-payload`, a newline, and the payload.
// The version is the time of the write, in ms since 1970. `loadtest/local/soak` and `loadtest/local/faults` write them.

import crypto from 'k6/crypto';
import { header, mismatch, send } from './request.js';
import { record } from './measure.js';
import { baseUrl, number } from './settings.js';

/** Number of these objects in each variant; 0 turns them off. */
export const CHANGING = number('CHANGING', 0);
/** Maximum age of a served version, in ms: the rewrite period plus the time that a cache may serve a copy. 0: not checked. */
const MAX_AGE_MS = number('MAX_AGE_MS', 0);
/** The first line fits into this many bytes. */
const FIRST_LINE_BYTES = 300;

/** @param {ArrayBuffer | null} body @param {string} key */
function bodyMismatch(body, key) {
  const bytes = new Uint8Array(body || new ArrayBuffer(0));
  const end = bytes.subarray(0, FIRST_LINE_BYTES).indexOf(10);
  if (end < 0) return 'body has no first line';
  const [name, version, sha256] = String.fromCharCode(...bytes.subarray(0, end)).split(' ');
  if (name !== key) return `body of ${name}, expected ${key}`;
  if (crypto.sha256(bytes.slice(end + 1).buffer, 'hex') !== sha256) return 'payload has a different SHA-256';
  return ageMismatch(Number(version));
}

/** @param {number} version */
function ageMismatch(version) {
  const age = Date.now() - version;
  return MAX_AGE_MS > 0 && !(age <= MAX_AGE_MS) ? `version is ${(age / 1e3).toFixed(1)} s old, at most ${MAX_AGE_MS / 1e3} allowed` : '';
}

/** Expected headers of a response with this body. @param {ArrayBuffer | null} body */
function headersFor(body) {
  // S3's ETag of an object uploaded in one part is its MD5, so a new ETag with an old body is detected.
  const etag = `"${crypto.md5(body || new ArrayBuffer(0), 'hex')}"`;
  return { Etag: new RegExp(`^(W/)?${etag}$`), Vary: /test_version/, 'Content-Type': /^application\/octet-stream$/ };
}

/**
 * Requests a whole object; then, for one in ten each, again with If-None-Match, or a range with If-Range. Low numbers are
 * requested more often than high ones.
 * @param {string} variant
 */
export function changing(variant) {
  const index = Math.floor(Math.random() ** 2 * CHANGING);
  const path = `changing/${index}.bin`;
  const whole = get(variant, path, {});
  const body = whole.body;
  const etag = header(whole, 'Etag');
  const chance = Math.random();
  if (whole.status !== 200 || !body || !etag || chance > 0.2) return;
  if (chance < 0.1) {
    // 304, or a new version in full.
    get(variant, path, { 'If-None-Match': etag }, (response) => {
      if (response.status !== 304) return undefined;
      const { Etag, Vary } = headersFor(body);
      return mismatch(response, { status: 304, bytes: 0, variant, headers: { Etag, Vary } }) || ageOf(body);
    });
  } else {
    const last = Math.min(99, body.byteLength - 1);
    get(variant, path, { Range: `bytes=0-${last}`, 'If-Range': etag }, (response) => {
      if (response.status !== 206) return undefined;
      const sha256 = crypto.sha256(body.slice(0, last + 1), 'hex');
      return mismatch(response, { status: 206, bytes: last + 1, sha256, variant, headers: headersFor(body) }) || ageOf(body);
    });
  }
}

/** Checks the age of a body that a 304 or 206 confirmed. @param {ArrayBuffer} body */
function ageOf(body) {
  const line = String.fromCharCode(...new Uint8Array(body.slice(0, FIRST_LINE_BYTES)));
  return ageMismatch(Number(line.split(' ')[1]));
}

/**
 * Sends a GET, checks the response and records it.
 * @param {string} variant
 * @param {string} path
 * @param {{ [name: string]: string }} headers
 * @param {(response: import('./request.js').Response) => string | undefined} checkPartial the mismatch of a response that is not the
 *   whole object; undefined for a whole object
 */
function get(variant, path, headers, checkPartial = () => undefined) {
  const response = send('GET', `${baseUrl}/${path}`, 'changing', { test_version: variant, ...headers });
  const problem =
    checkPartial(response) ??
    (mismatch(response, { status: 200, variant, headers: headersFor(response.body) }) || bodyMismatch(response.body, `${variant}/${path}`));
  record(variant, 'changing', response, problem);
  return response;
}
