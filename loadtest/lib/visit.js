// A viewer's requests, one function per outcome. Each checks and records the whole response.

import crypto from 'k6/crypto';
import { Counter } from 'k6/metrics';
import { header, mismatch, send } from './request.js';
import { record } from './measure.js';
import { apiUrl, baseUrl, followRedirects } from './settings.js';
import { object, pathsOf } from './site.js';

/** @param {string} variant */
function pickPath(variant) {
  const paths = pathsOf(variant);
  return paths[Math.floor(Math.random() * paths.length)];
}

/** Expected headers of an object. */
const OBJECT_HEADERS = { Etag: /^(W\/)?"[^"]+"$/, Vary: /test_version/, 'Content-Type': /./ };

/** Verified bodies by key; `partial` compares ranges with them. @type {{ [key: string]: Uint8Array }} */
const bodies = {};

/** GET of a whole object: 200. @param {string} variant */
export function found(variant, path = pickPath(variant)) {
  const { bytes, sha256 } = object(variant, path);
  const response = send('GET', `${baseUrl}/${path}`, 'found', { test_version: variant });
  const problem = mismatch(response, { status: 200, bytes, sha256, variant, headers: OBJECT_HEADERS });
  record(variant, 'found', response, problem);
  if (!problem) bodies[`${variant}/${path}`] = new Uint8Array(response.body || new ArrayBuffer(0));
  return response;
}

/** Responses with a Content-Encoding. k6 decodes them, so that their bytes are compared with the object's. */
const codedResponses = new Counter('coded_responses');
const CODINGS = ['gzip, deflate, br, zstd', 'gzip', 'br;q=0.5, gzip;q=0.4', 'identity;q=0, *', 'identity'];

/** GET by a client that accepts codings: 200, whose decoded bytes are those of the object. @param {string} variant */
export function coded(variant) {
  const path = pickPath(variant);
  const accepted = CODINGS[Math.floor(Math.random() * CODINGS.length)];
  const { bytes, sha256 } = object(variant, path);
  const response = send('GET', `${baseUrl}/${path}`, 'coded', { test_version: variant, 'Accept-Encoding': accepted });
  const coding = header(response, 'Content-Encoding');
  const headers = { ...OBJECT_HEADERS, ...(coding ? { Vary: /accept-encoding/i } : {}) };
  let problem = mismatch(response, { status: 200, bytes, sha256, variant, headers });
  if (!problem && coding && !accepted.includes(coding) && !accepted.includes('*')) problem = `coding ${coding}, accepted ${accepted}`;
  record(variant, 'coded', response, problem);
  if (coding) codedResponses.add(1, { coding });
}

/** GET of an object, then again with If-None-Match: 304. @param {string} variant */
export function notModified(variant) {
  const path = pickPath(variant);
  const etag = header(found(variant, path), 'Etag');
  if (!etag) return;
  const response = send('GET', `${baseUrl}/${path}`, 'not_modified', { test_version: variant, 'If-None-Match': etag });
  // CloudFront weakens an ETag when it compresses.
  const opaque = etag.replace(/^W\//, '').replace(/[^A-Za-z0-9"]/g, '\\$&');
  const headers = { Etag: new RegExp(`^(W/)?${opaque}$`), Vary: /test_version/ };
  record(variant, 'not_modified', response, mismatch(response, { status: 304, bytes: 0, variant, headers }));
}

/** GET of up to ten bytes at a random offset: 206. @param {string} variant */
export function partial(variant) {
  const path = pickPath(variant);
  const { bytes } = object(variant, path);
  if (!bodies[`${variant}/${path}`]) found(variant, path);
  const whole = bodies[`${variant}/${path}`];
  if (!whole || bytes === 0) return;
  const length = Math.min(10, bytes);
  const first = Math.floor(Math.random() * (bytes - length + 1));
  const last = first + length - 1;
  const response = send('GET', `${baseUrl}/${path}`, 'partial', { test_version: variant, Range: `bytes=${first}-${last}` });
  const sha256 = crypto.sha256(whole.slice(first, last + 1).buffer, 'hex');
  const headers = { 'Content-Range': new RegExp(`^bytes ${first}-${last}/${bytes}$`) };
  record(variant, 'partial', response, mismatch(response, { status: 206, bytes: length, sha256, variant, headers }));
}

/** HEAD of an object: 200. API Gateway may omit Content-Length. @param {string} variant */
export function head(variant) {
  const path = pickPath(variant);
  const response = send('HEAD', `${baseUrl}/${path}`, 'head', { test_version: variant });
  const headers = { ...OBJECT_HEADERS, 'Content-Length': new RegExp(`^(${object(variant, path).bytes})?$`) };
  record(variant, 'head', response, mismatch(response, { status: 200, bytes: 0, variant, headers }));
}

/** Redirect: 302, then, unless FOLLOW=no, the object from the bucket. @param {string} variant */
export function redirected(variant) {
  const path = pickPath(variant);
  const response = send('GET', `${baseUrl}/${path}`, 'redirect', { test_version: variant, redirect: 'true' });
  const location = new RegExp(`^https?://.*/${variant}/${path}$`);
  const problem = mismatch(response, { status: 302, bytes: 0, headers: { Location: location, 'Cache-Control': /no-store/ } });
  record(variant, 'redirect', response, problem);
  if (problem || !followRedirects) return;
  const { bytes, sha256 } = object(variant, path);
  const followed = send('GET', header(response, 'Location'), 'followed', {});
  record(variant, 'followed', followed, mismatch(followed, { status: 200, bytes, sha256 }));
}

/** GET of one of fifty missing objects: 404. @param {string} variant */
export function missing(variant) {
  const key = `no-such-object-${Math.floor(Math.random() * 50)}`;
  const response = send('GET', `${baseUrl}/${key}`, 'missing', { test_version: variant });
  const sha256 = crypto.sha256(`no file: ${variant}/${key}`, 'hex');
  record(variant, 'missing', response, mismatch(response, { status: 404, sha256, headers: { 'Cache-Control': /no-store/ } }));
}

let uniqueKeys = 0;

/** GET of a missing object with a key that no request has used before: 404, never from the cache. @param {string} variant */
export function uniqueMissing(variant) {
  uniqueKeys += 1;
  const key = `unique/${__VU}-${uniqueKeys}-${Math.floor(Math.random() * 1e9)}.html`;
  const response = send('GET', `${baseUrl}/${key}`, 'unique_missing', { test_version: variant });
  const sha256 = crypto.sha256(`no file: ${variant}/${key}`, 'hex');
  record(variant, 'unique_missing', response, mismatch(response, { status: 404, sha256 }));
}

/** GET with an invalid test_version: 400. @param {string} variant for the metrics and in the header */
export function badVersion(variant) {
  const response = send('GET', `${baseUrl}/${pickPath(variant)}`, 'bad_version', { test_version: `../${variant}` });
  const headers = { 'Content-Type': /^text\/plain/, 'Cache-Control': /no-store/ };
  record(variant, 'bad_version', response, mismatch(response, { status: 400, headers }));
}

/** GET from the API without the secret: 403. Does nothing without API_URL. @param {string} variant */
export function forbidden(variant) {
  if (!apiUrl) return;
  const response = send('GET', `${apiUrl}/${pickPath(variant)}`, 'forbidden', { test_version: variant });
  const sha256 = crypto.sha256('request is forbidden', 'hex');
  record(variant, 'forbidden', response, mismatch(response, { status: 403, sha256 }));
}
