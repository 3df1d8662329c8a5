// A request, and what of its answer is not as wanted.

import crypto from 'k6/crypto';
import http from 'k6/http';
import { secret } from './settings.js';

/** @typedef {import('k6/http').RefinedResponse<'binary'>} Answer */
/** @typedef {{ status: number, bytes?: number, sha256?: string, variant?: string, headers?: { [name: string]: RegExp } }} Wanted */

/** Wrong whatever the status. */
export const TELLS_SECRET = 'it tells the secret';

/**
 * Says what of an answer is not as wanted; empty when all of it is.
 * @param {Answer} answer
 * @param {Wanted} wanted
 */
export function problemOf(answer, wanted) {
  if (secret && tells(answer, secret)) return TELLS_SECRET;
  // No answer, or one that broke off.
  if (answer.error) return answer.error;
  if (answer.status !== wanted.status) return `status ${answer.status}, not ${wanted.status}`;
  const bytes = answer.body ? answer.body.byteLength : 0;
  if (wanted.bytes !== undefined && bytes !== wanted.bytes) return `${bytes} bytes, not ${wanted.bytes}`;
  if (wanted.sha256 !== undefined && (!answer.body || crypto.sha256(answer.body, 'hex') !== wanted.sha256)) return 'other bytes';
  if (wanted.variant !== undefined && header(answer, 'X-Variant') !== wanted.variant) {
    return `x-variant ${header(answer, 'X-Variant')}, not ${wanted.variant}`;
  }
  for (const [name, pattern] of Object.entries(wanted.headers || {})) {
    if (!pattern.test(header(answer, name))) return `${name} is '${header(answer, name)}', not ${pattern}`;
  }
  return '';
}

/**
 * Whether a header or a text has it; an object is known by its sum.
 * @param {Answer} answer
 * @param {string} what
 */
function tells(answer, what) {
  if (Object.values(answer.headers).some((value) => value.includes(what))) return true;
  const bytes = new Uint8Array(answer.body || new ArrayBuffer(0));
  return bytes.length < 4096 && String.fromCharCode(...bytes).includes(what);
}

/** @param {Answer} answer @param {string} name as Go writes it: X-Variant */
export function header(answer, name) {
  return answer.headers[name] || '';
}

/**
 * @param {string} method
 * @param {string} url
 * @param {string} name what the requests are called together
 * @param {{ [name: string]: string }} headers
 */
export function ask(method, url, name, headers) {
  return /** @type {Answer} */ (http.request(method, url, null, { headers, redirects: 0, responseType: 'binary', tags: { name }, timeout: '30s' }));
}

