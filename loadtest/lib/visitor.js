// Visitors of an experiment, and the rules for the responses that they get. Each rule returns the first problem, or ''.

import crypto from 'k6/crypto';
import { header, mismatch } from './request.js';
import { find, keysWith } from './site.js';

/** @typedef {import('./request.js').Response} Response */
/** @typedef {import('./definition.js').Variation} Variation */

/** An id of 128 bits, and marks of what has been counted. */
const VISITOR_COOKIE = /^1\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{4})*$/;

/** Whether a response comes from the CDN's cache. @param {Response} response */
export function fromCache(response) {
  return /^(Hit|RefreshHit)\b/.test(header(response, 'X-Cache')) || header(response, 'Age') !== '';
}

/**
 * A response that is byte for byte the variation's.
 * @param {Response} response
 * @param {Variation} variation
 * @param {string} path
 * @param {string} etag of a request with If-None-Match, which expects 304
 */
export function shows(response, variation, path, etag = '') {
  return content(response, variation, path, etag, /test_version.*cookie/i);
}

/** As `shows`, for a page that a preview selects: no cookie does. @param {Response} response @param {Variation} variation @param {string} path */
export function showsPreview(response, variation, path) {
  return content(response, variation, path, '', /test_version/);
}

/** @param {Response} response @param {Variation} variation @param {string} path @param {string} etag @param {RegExp} vary */
function content(response, { version, timing }, path, etag, vary) {
  const variant = version ?? '';
  const headers = { Vary: vary, 'Server-Timing': exactly(timing) };
  const object = find(version, path);
  // Without a version, the site may have no such object.
  if (!object) return mismatch(response, { status: 404, variant, headers });
  // CloudFront weakens an ETag when it compresses.
  if (etag) return mismatch(response, { status: 304, bytes: 0, variant, headers: { ...headers, Etag: exactly(etag.replace(/^W\//, ''), '(W/)?') } });
  const { bytes, sha256 } = object;
  return mismatch(response, { status: 200, bytes, sha256, variant, headers: { ...headers, Etag: /^(W\/)?"[^"]+"$/ } });
}

/** @param {string} text @param {string} prefix a pattern */
const exactly = (text, prefix = '') => new RegExp(`^${prefix}${text.replace(/[^A-Za-z0-9"=;]/g, '\\$&')}$`);

/** The keys of all objects with the response's body. @param {Response} response */
const keysOf = ({ body }) => (body && body.byteLength > 0 ? keysWith(crypto.sha256(body, 'hex')) : []);

/** Whether the body is an object of the site. @param {Response} response */
export const isObject = (response) => keysOf(response).length > 0;

/**
 * A response without any trace of another variation: in its body, its headers or its cookies.
 * @param {Response} response
 * @param {Variation} own
 * @param {string} path
 * @param {Variation[]} variations all of the experiment
 * @param {string} cookie the name of the visitor's cookie
 */
export function ownOnly(response, own, path, variations, cookie) {
  const others = variations.filter(({ name }) => name !== own.name);
  const keys = keysOf(response);
  const isOther = others.some(({ version }) => version !== own.version && keys.some((key) => key.startsWith(`${version}/`)));
  const expected = own.version === null ? path : `${own.version}/${path}`;
  if (isOther && !keys.includes(expected)) return `body of ${keys.join(' or ')}, expected ${expected}`;
  const variant = header(response, 'X-Variant');
  if (others.some(({ version }) => version !== own.version && version === variant)) return `x-variant '${variant}', expected '${own.version ?? ''}'`;
  const timed = others.find(({ timing }) => header(response, 'Server-Timing').includes(timing));
  if (timed) return `Server-Timing of ${timed.name}, expected ${own.name}`;
  const assigned = response.cookies[`${cookie}_v`]?.[0]?.value;
  const set = others.find(({ assignment }) => assignment === assigned);
  return set ? `sets ${cookie}_v of ${set.name}, expected ${own.name}` : '';
}

/** A response that no cache may keep, and that comes from none. @param {Response} response */
export function isPrivate(response) {
  const cacheControl = header(response, 'Cache-Control');
  if (!/\bprivate\b/.test(cacheControl) || !/\bno-store\b/.test(cacheControl)) return `Cache-Control '${cacheControl}', expected private, no-store`;
  return fromCache(response) ? `from a cache (X-Cache '${header(response, 'X-Cache')}', Age '${header(response, 'Age')}')` : '';
}

/** A response that sets neither cookie. @param {Response} response @param {string} cookie the name of the visitor's cookie */
export function setsNothing(response, cookie) {
  const set = [cookie, `${cookie}_v`].filter((name) => response.cookies[name]);
  return set.length > 0 ? `sets ${set.join(' and ')}, expected no cookie` : '';
}

/**
 * A response that sets both cookies. The one of assignments has no Max-Age in a preview.
 * @param {Response} response
 * @param {string} cookie the name of the visitor's cookie
 * @param {Variation} variation
 * @param {{ value?: string, isPreview?: boolean }} expected `value` of the visitor's cookie; '' for any
 */
export function setsBoth(response, cookie, { assignment }, { value: expected = '', isPreview = false } = {}) {
  const [visitor, assignments] = [cookie, `${cookie}_v`].map((name) => response.cookies[name]);
  if (!visitor || !assignments) return `sets ${Object.keys(response.cookies).join(' and ') || 'no cookie'}, expected ${cookie} and ${cookie}_v`;
  if (visitor.length > 1 || assignments.length > 1) return `sets a cookie twice`;
  const [{ value, path }, given] = [visitor[0], assignments[0]];
  if (!VISITOR_COOKIE.test(value)) return `sets ${cookie} to '${value}', expected 1.ID.MARKS`;
  if (expected && value !== expected) return `sets ${cookie} to '${value}', expected '${expected}'`;
  if (given.value !== assignment) return `sets ${cookie}_v to '${given.value}', expected '${assignment}'`;
  if (!flag(visitor[0], 'http_only')) return `${cookie} is not HttpOnly`;
  if (flag(given, 'http_only')) return `${cookie}_v is HttpOnly`;
  if (path !== '/' || given.path !== '/') return `cookies with Path=${path} and Path=${given.path}, expected /`;
  if (!(flag(visitor[0], 'max_age') > 0)) return `${cookie} has no Max-Age`;
  if (flag(given, 'max_age') > 0 === isPreview) return `${cookie}_v has the Max-Age ${flag(given, 'max_age')}`;
  // The jar would not send them back.
  return visitor[0].secure && response.url.startsWith('http:') ? 'cookies are Secure, and the URL is http: set experiments_cookie_secure=false' : '';
}

/** A response that deletes both cookies. @param {Response} response @param {string} cookie the name of the visitor's cookie */
export function expiresBoth(response, cookie) {
  const kept = [cookie, `${cookie}_v`].find((name) => response.cookies[name]?.[0]?.value !== '' || flag(response.cookies[name][0], 'max_age') > 0);
  return kept ? `does not expire ${kept}` : '';
}

/** The id that a response sets, or ''. @param {Response} response @param {string} cookie the name of the visitor's cookie */
export function idOf(response, cookie) {
  return response.cookies[cookie]?.[0]?.value.match(VISITOR_COOKIE)?.[1] ?? '';
}

/** A field of a cookie. @types/k6 has other names than k6. @param {object} cookie @param {'http_only' | 'max_age'} name */
function flag(cookie, name) {
  return /** @type {{ [name: string]: any }} */ (cookie)[name];
}
