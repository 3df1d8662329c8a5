// Files of rules: a redirect, a rewrite, a generated response, header rules, CORS preflights, and a guarded path with and without a
// link. The function serves loadtest/rules-site, whose files these requests assume.

import crypto from 'k6/crypto';
import exec from 'k6/execution';
import { record, thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { mismatch, send } from './lib/request.js';
import { baseUrl, duration, maxVus, preallocatedVus, rate, seconds } from './lib/settings.js';

/** @typedef {import('./lib/request.js').Expected} Expected */

const perSecond = rate || 30;
const time = duration || '1m';
/** These requests have no variant. */
const VARIANT = 'none';

/** @param {string} key of an object of the site */
function body(key) {
  const bytes = open(`./rules-site/${key}`, 'b');
  return { bytes: bytes.byteLength, sha256: crypto.sha256(bytes, 'hex') };
}
const bodies = {
  page: body('new.html'),
  app: body('app.html'),
  gone: body('errors/gone.html'),
  data: body('data/a.json'),
  file: body('files/a.txt'),
};
const link = JSON.parse(open('./rules-site/access.json')).rules[0].signed_url;

/** A rule for all paths sets it, also on redirects and errors. */
const FRAMES = { 'X-Frame-Options': /^DENY$/ };
const NO_STORE = /no-store/;
const GUARDED = '/files/a.txt';

/** A signed link: docs/access.md. @param {string} path @param {number} seconds when it was signed, in Unix seconds */
function signed(path, seconds) {
  const mac = crypto.hmac('sha256', link.keys[0], `${path}${seconds}`, 'base64rawurl');
  return `${path}?${link.parameter}=${seconds}-${mac}`;
}

/**
 * @param {string} outcome
 * @param {string} path
 * @param {Expected} expected
 * @param {{ [name: string]: string }} headers
 */
function visit(outcome, path, expected, headers = {}, method = 'GET') {
  const response = send(method, `${baseUrl}${path}`, outcome, headers);
  const all = { ...expected, headers: { ...FRAMES, ...expected.headers } };
  record(VARIANT, outcome, response, mismatch(response, all));
}

/** @param {string} origin @param {RegExp} allowed @param {RegExp} headers that a preflight response allows */
function preflight(origin, allowed, headers) {
  const asked = { Origin: origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'x-token' };
  const fields = { 'Access-Control-Allow-Origin': allowed, 'Access-Control-Allow-Headers': headers, Vary: /origin/i };
  const response = send('OPTIONS', `${baseUrl}/data/a.json`, 'preflight', asked);
  record(VARIANT, 'preflight', response, mismatch(response, { status: 204, bytes: 0, headers: fields }));
}

const now = () => Math.floor(Date.now() / 1000);
const DAY = 86400;

/** The visits, one after the other. @type {[string, () => void][]} */
const VISITS = [
  ['redirect', () => visit('redirect', '/old?a=1', { status: 301, headers: { Location: /\/new\.html\?a=1$/, 'Cache-Control': NO_STORE } })],
  ['splat', () => visit('splat', '/moved/%2F%2Fevil.example', { status: 302, headers: { Location: /^(https?:\/\/[^/]+)?\/articles\/\/*evil\.example$/ } })],
  ['rewrite', () => visit('rewrite', '/app/settings', { status: 200, ...bodies.app })],
  ['generated', () => visit('generated', '/gone', { status: 410, ...bodies.gone, headers: { 'Cache-Control': NO_STORE } })],
  ['header_rule', () => visit('header_rule', '/new.html', { status: 200, ...bodies.page })],
  [
    'cors',
    () =>
      visit(
        'cors',
        '/data/a.json',
        {
          status: 200,
          ...bodies.data,
          headers: { 'Access-Control-Allow-Origin': /^https:\/\/b\.example$/, 'Cache-Control': /^public, max-age=60$/, Vary: /origin/i },
        },
        { Origin: 'https://b.example' },
      ),
  ],
  ['preflight', () => preflight('https://a.example', /^https:\/\/a\.example$/, /^x-token$/)],
  ['preflight', () => preflight('https://evil.example', /^$/, /^$/)],
  ['guarded', () => visit('guarded', GUARDED, { status: 403, headers: { 'Cache-Control': NO_STORE } })],
  // Directly from S3 it would be 200.
  ['guarded', () => visit('guarded', `/v1${GUARDED}`, { status: 403, headers: { 'Cache-Control': NO_STORE } })],
  ['guarded', () => visit('guarded', '/files%2fa.txt', { status: 403, headers: { 'Cache-Control': NO_STORE } })],
  ['link', () => visit('link', signed(GUARDED, now()), { status: 200, ...bodies.file, headers: { 'Cache-Control': /private/ } })],
  ['wrong_link', () => visit('wrong_link', signed('/files/b.txt', now()).replace('b.txt', 'a.txt'), { status: 403 })],
  ['old_link', () => visit('old_link', signed(GUARDED, now() - DAY), { status: 410, headers: { 'Cache-Control': NO_STORE } })],
  ['hidden', () => visit('hidden', '/access.json', { status: 404 })],
];
const OUTCOMES = [...new Set(VISITS.map(([outcome]) => outcome))];

export const options = {
  scenarios: {
    rules: { executor: 'constant-arrival-rate', rate: perSecond, duration: time, preAllocatedVUs: preallocatedVus, maxVUs: maxVus },
  },
  thresholds: thresholds(OUTCOMES, () => Math.floor((perSecond * seconds(time)) / VISITS.length), [{ name: VARIANT, share: 1 }]),
  summaryTrendStats: TREND_STATS,
};

export default function () {
  const [, request] = VISITS[exec.scenario.iterationInTest % VISITS.length];
  request();
}

export const handleSummary = summary('rules');
