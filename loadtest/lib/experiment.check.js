// Tests the rules of the scenario `experiment` with almost correct responses: k6 run loadtest/lib/experiment.check.js

import { check } from 'k6';
import { hash, parseExperiment } from './definition.js';
import { expiresBoth, fromCache, idOf, isPrivate, ownOnly, setsBoth, setsNothing, shows, showsPreview } from './visitor.js';

/** @typedef {import('./request.js').Response} Response */

export const options = { thresholds: { checks: ['rate==1'] } };

/** From GrowthBook's test cases: seed, value, version and hash. @type {[string, string, number, number][]} */
const HASHES = [
  ['', 'a', 1, 0.22],
  ['b', 'a', 1, 0.946],
  ['asdf', '8952klfjas09ujk', 1, 0.549],
  ['seed', 'a', 2, 0.0505],
  ['foo', 'def', 2, 0.2019],
  ['89123klj', '8952klfjas09ujkasdf', 2, 0.124],
];

const RULE = { key: 'a test!', variations: ['v1', 'v2'], weights: [0.7, 0.3], hashVersion: 2, meta: [{ key: 'control' }, {}] };
/** @param {object} rule @param {object} more */
const definition = (rule = {}, more = {}) => JSON.stringify({ features: { test_version: { rules: [{ ...RULE, ...rule }] } }, ...more });
/** @param {string} text */
const read = (text) => parseExperiment(text, 'test_version');
const { variations, none } = read(definition());
const [control, other] = variations;

/** Definition and part of the message. @type {[string, string][]} */
const UNUSABLE = [
  ['{', 'JSON'],
  ['{"features": {}}', 'expected a feature test_version'],
  [definition({ variations: ['v1'] }), 'at least two versions'],
  [definition({ variations: ['v1', null] }), 'at least two versions'],
  [definition({ condition: { country: 'CN' }, namespace: ['a', 0, 1] }), 'does not evaluate condition, namespace'],
  [definition({ hashAttribute: 'company' }), 'does not evaluate hashAttribute'],
  [definition({}, { experiments: [{}] }), 'does not evaluate experiments'],
];

const ID = 'AAECAwQFBgcICQoLDA0ODw';
/** @param {string} name @param {string} value @param {object} changes */
const cookie = (name, value, changes = {}) => ({ [name]: [{ name, value, path: '/', http_only: name === 'nearedge', secure: false, max_age: 9, ...changes }] });
const COOKIES = { ...cookie('nearedge', `1.${ID}.abcd`), ...cookie('nearedge_v', control.assignment) };
/** A 304, which has no body. */
const CORRECT = {
  status: 304,
  error: '',
  url: 'http://cdn/test.html',
  body: null,
  headers: { 'X-Variant': 'v1', Etag: '"a+"', Vary: 'test_version, redirect, cookie', 'Server-Timing': 'nearedge;desc="a%20test%21.control"', 'Cache-Control': 'private, no-store' },
  cookies: COOKIES,
};
/** @param {object} changes of the headers */
const headers = (changes) => ({ headers: { ...CORRECT.headers, ...changes } });
/** @param {object[]} changes */
const cookies = (...changes) => ({ cookies: Object.assign({}, COOKIES, ...changes) });

/** A rule, what differs from CORRECT, and the start of the problem. @type {[string, (response: Response) => string, object, string][]} */
const CASES = [
  ['shows', (response) => shows(response, control, 'test.html', '"a+"'), {}, ''],
  ['shows: another timing', (response) => shows(response, control, 'test.html', '"a+"'), headers({ 'Server-Timing': '' }), "Server-Timing ''"],
  ['shows: no Vary: Cookie', (response) => shows(response, control, 'test.html', '"a+"'), headers({ Vary: 'test_version' }), "Vary 'test_version'"],
  ['shows: another ETag', (response) => shows(response, control, 'test.html', '"b"'), {}, 'Etag \'"a+"\''],
  ['shows: a page', (response) => shows(response, control, 'test.html'), {}, 'status 304, expected 200'],
  ['shows: no such object', (response) => shows(response, none, 'test.html'), {}, 'status 304, expected 404'],
  ['a preview', (response) => showsPreview(response, control, 'test.html'), {}, 'status 304, expected 200'],
  ['own', (response) => ownOnly(response, control, 'test.html', variations, 'nearedge'), {}, ''],
  ['own: another variant', (response) => ownOnly(response, control, 'test.html', variations, 'nearedge'), headers({ 'X-Variant': 'v2' }), "x-variant 'v2'"],
  ['own: another timing', (response) => ownOnly(response, other, 'test.html', variations, 'nearedge'), headers({ 'X-Variant': 'v2' }), 'Server-Timing of control'],
  ['own: of no visitor', (response) => ownOnly(response, none, 'test.html', variations, 'nearedge'), {}, "x-variant 'v1'"],
  ['own: another cookie', (response) => ownOnly(response, control, 'test.html', variations, 'nearedge'), cookies(cookie('nearedge_v', other.assignment)), 'sets nearedge_v of 1'],
  ['private', isPrivate, {}, ''],
  ['private: only private', isPrivate, headers({ 'Cache-Control': 'private' }), "Cache-Control 'private'"],
  ['private: a hit', isPrivate, headers({ 'X-Cache': 'RefreshHit from cloudfront' }), 'from a cache'],
  ['private: an old copy', isPrivate, headers({ Age: '0' }), 'from a cache'],
  ['sets both', (response) => setsBoth(response, 'nearedge', control), {}, ''],
  ['sets both: another name', (response) => setsBoth(response, 'other', control), {}, 'sets nearedge and nearedge_v, expected other and other_v'],
  ['sets both: only one', (response) => setsBoth(response, 'nearedge', control), { cookies: cookie('nearedge', 'a') }, 'sets nearedge, expected'],
  ['sets both: a short id', (response) => setsBoth(response, 'nearedge', control), cookies(cookie('nearedge', '1.abc.')), "sets nearedge to '1.abc.'"],
  ['sets both: another id', (response) => setsBoth(response, 'nearedge', control, { value: `1.${ID}.` }), {}, `sets nearedge to '1.${ID}.abcd'`],
  ['sets both: another variation', (response) => setsBoth(response, 'nearedge', other), {}, "sets nearedge_v to 'a%20test%21__0.control'"],
  ['sets both: readable', (response) => setsBoth(response, 'nearedge', control), cookies(cookie('nearedge', `1.${ID}.`, { http_only: false })), 'nearedge is not HttpOnly'],
  ['sets both: unreadable', (response) => setsBoth(response, 'nearedge', control), cookies(cookie('nearedge_v', control.assignment, { http_only: true })), 'nearedge_v is HttpOnly'],
  ['sets both: a path', (response) => setsBoth(response, 'nearedge', control), cookies(cookie('nearedge_v', control.assignment, { path: '/a' })), 'cookies with Path=/ and Path=/a'],
  ['sets both: a session', (response) => setsBoth(response, 'nearedge', control), cookies(cookie('nearedge_v', control.assignment, { max_age: 0 })), 'nearedge_v has the Max-Age 0'],
  ['sets both: a lasting preview', (response) => setsBoth(response, 'nearedge', control, { isPreview: true }), {}, 'nearedge_v has the Max-Age 9'],
  ['sets both: Secure', (response) => setsBoth(response, 'nearedge', control), cookies(cookie('nearedge', `1.${ID}.`, { secure: true })), 'cookies are Secure'],
  ['sets nothing', (response) => setsNothing(response, 'nearedge'), { cookies: cookie('session', '1') }, ''],
  ['sets nothing: one', (response) => setsNothing(response, 'nearedge'), { cookies: cookie('nearedge_v', '') }, 'sets nearedge_v'],
  ['expires both', (response) => expiresBoth(response, 'nearedge'), { cookies: { ...cookie('nearedge', '', { max_age: -1 }), ...cookie('nearedge_v', '', { max_age: -1 }) } }, ''],
  ['expires both: one', (response) => expiresBoth(response, 'nearedge'), { cookies: cookie('nearedge', '', { max_age: -1 }) }, 'does not expire nearedge_v'],
];

/** @param {object} response */
const asResponse = (response) => /** @type {Response} */ (/** @type {unknown} */ (response));

/** @param {() => unknown} read */
function messageOf(read) {
  try {
    read();
  } catch (error) {
    return String(error);
  }
  return '';
}

export default function () {
  for (const [seed, value, version, expected] of HASHES) {
    check(null, { [`hash of ${value}, version ${version}`]: () => hash(seed, value, version) === expected });
  }
  for (const [text, message] of UNUSABLE) {
    check(null, { [`a definition is refused: ${message}`]: () => messageOf(() => read(text)).includes(message) });
  }
  const partial = read(definition({ coverage: 0.5, weights: undefined }));
  check(null, {
    'names are percent-encoded': () => other.assignment === 'a%20test%21__0.1',
    'visitors outside the coverage have no variation': () => partial.none.share === 0.5 && partial.variations[1].share === 0.25,
    'an id is assigned by its hash': () => read(definition({ seed: 'seed' })).assign('b').name === 'control',
    'an id outside the coverage is not assigned': () => read(definition({ seed: 'foo', coverage: 0.2 })).assign('def').name === '(none)',
    'the id of a response': () => idOf(asResponse(CORRECT), 'nearedge') === ID && idOf(asResponse(CORRECT), 'other') === '',
    'a miss is not from a cache': () => !fromCache(asResponse({ ...CORRECT, ...headers({ 'X-Cache': 'Miss from cloudfront' }) })),
  });
  for (const [name, rule, changes, problem] of CASES) {
    check(asResponse({ ...CORRECT, ...changes }), { [name]: (response) => (problem ? rule(response).startsWith(problem) : rule(response) === '') });
  }
}
