// What a viewer asks for, one function an outcome; each checks the whole answer.

import crypto from 'k6/crypto';
import { ask, header, problemOf } from './ask.js';
import { count } from './measure.js';
import { api, base, follows } from './settings.js';
import { object, pathsOf } from './site.js';

/** @param {string} variant */
function somePath(variant) {
  const paths = pathsOf(variant);
  return paths[Math.floor(Math.random() * paths.length)];
}

/** The headers of an object. */
const OF_AN_OBJECT = { Etag: /^(W\/)?"[^"]+"$/, Vary: /test_version/, 'Content-Type': /./ };

/** Whole objects whose sum was right, by their address: parts are compared with them. @type {{ [of: string]: Uint8Array }} */
const known = {};

/** An object of the variant, whole. @param {string} variant */
export function found(variant, path = somePath(variant)) {
  const { bytes, sha256 } = object(variant, path);
  const answer = ask('GET', `${base}/${path}`, 'found', { test_version: variant });
  const problem = problemOf(answer, { status: 200, bytes, sha256, variant, headers: OF_AN_OBJECT });
  count(variant, 'found', answer, problem);
  if (!problem) known[`${variant}/${path}`] = new Uint8Array(answer.body || new ArrayBuffer(0));
  return answer;
}

/** The same again with its ETag: nothing new. @param {string} variant */
export function notModified(variant) {
  const path = somePath(variant);
  const etag = header(found(variant, path), 'Etag');
  if (!etag) return;
  const answer = ask('GET', `${base}/${path}`, 'not_modified', { test_version: variant, 'If-None-Match': etag });
  // CloudFront weakens a tag when it compresses.
  const opaque = etag.replace(/^W\//, '').replace(/[^A-Za-z0-9"]/g, '\\$&');
  const same = { Etag: new RegExp(`^(W/)?${opaque}$`), Vary: /test_version/ };
  count(variant, 'not_modified', answer, problemOf(answer, { status: 304, bytes: 0, variant, headers: same }));
}

/** Ten bytes of it, or what there are. @param {string} variant */
export function partial(variant) {
  const path = somePath(variant);
  const { bytes } = object(variant, path);
  if (!known[`${variant}/${path}`]) found(variant, path);
  const whole = known[`${variant}/${path}`];
  if (!whole || bytes === 0) return;
  const length = Math.min(10, bytes);
  const from = Math.floor(Math.random() * (bytes - length + 1));
  const last = from + length - 1;
  const answer = ask('GET', `${base}/${path}`, 'partial', { test_version: variant, Range: `bytes=${from}-${last}` });
  const sha256 = crypto.sha256(whole.slice(from, last + 1).buffer, 'hex');
  const wanted = { status: 206, bytes: length, sha256, variant, headers: { 'Content-Range': new RegExp(`^bytes ${from}-${last}/${bytes}$`) } };
  count(variant, 'partial', answer, problemOf(answer, wanted));
}

/** Its headers; API Gateway may leave the length out. @param {string} variant */
export function head(variant) {
  const path = somePath(variant);
  const answer = ask('HEAD', `${base}/${path}`, 'head', { test_version: variant });
  const headers = { ...OF_AN_OBJECT, 'Content-Length': new RegExp(`^(${object(variant, path).bytes})?$`) };
  count(variant, 'head', answer, problemOf(answer, { status: 200, bytes: 0, variant, headers }));
}

/** A redirect, followed to the object in the bucket. @param {string} variant */
export function redirected(variant) {
  const path = somePath(variant);
  const answer = ask('GET', `${base}/${path}`, 'redirect', { test_version: variant, redirect: 'true' });
  const ends = new RegExp(`^https?://.*/${variant}/${path}$`);
  const problem = problemOf(answer, { status: 302, bytes: 0, headers: { Location: ends, 'Cache-Control': /no-store/ } });
  count(variant, 'redirect', answer, problem);
  if (problem || !follows) return;
  const { bytes, sha256 } = object(variant, path);
  const followed = ask('GET', header(answer, 'Location'), 'followed', {});
  count(variant, 'followed', followed, problemOf(followed, { status: 200, bytes, sha256 }));
}

/** An object that is not there. @param {string} variant */
export function missing(variant) {
  const key = `no-such-object-${Math.floor(Math.random() * 50)}`;
  const answer = ask('GET', `${base}/${key}`, 'missing', { test_version: variant });
  const text = `no file: ${variant}/${key}`;
  const wanted = { status: 404, sha256: crypto.sha256(text, 'hex'), headers: { 'Cache-Control': /no-store/ } };
  count(variant, 'missing', answer, problemOf(answer, wanted));
}

let asked = 0;

/** An object that nobody has asked for before, and that is not there. @param {string} variant */
export function absent(variant) {
  asked += 1;
  const key = `nobody/${__VU}-${asked}-${Math.floor(Math.random() * 1e9)}.html`;
  const answer = ask('GET', `${base}/${key}`, 'absent', { test_version: variant });
  const text = `no file: ${variant}/${key}`;
  count(variant, 'absent', answer, problemOf(answer, { status: 404, sha256: crypto.sha256(text, 'hex') }));
}

/** A version that is none. @param {string} variant counted under it */
export function badVersion(variant) {
  const answer = ask('GET', `${base}/${somePath(variant)}`, 'bad_version', { test_version: `../${variant}` });
  count(variant, 'bad_version', answer, problemOf(answer, { status: 400, headers: { 'Content-Type': /^text\/plain/, 'Cache-Control': /no-store/ } }));
}

/** The API, past the distribution and without the secret. @param {string} variant counted under it */
export function forbidden(variant) {
  if (!api) return;
  const answer = ask('GET', `${api}/${somePath(variant)}`, 'forbidden', { test_version: variant });
  count(variant, 'forbidden', answer, problemOf(answer, { status: 403, sha256: crypto.sha256('request is forbidden', 'hex') }));
}
