// Visitors of an experiment: first and later visits, reloads, assets, bots, prefetches, previews, visitors without consent, and forged
// cookies. Each response must show the variation that the visitor's id has by GrowthBook's hash. In each iteration, a new visitor and
// an earlier one visit the site, and another client.

import crypto from 'k6/crypto';
import encoding from 'k6/encoding';
import exec from 'k6/execution';
import http from 'k6/http';
import { Rate } from 'k6/metrics';
import { parseExperiment } from './lib/definition.js';
import { explain } from './lib/explain.js';
import { isError, record, thresholds } from './lib/measure.js';
import { TREND_STATS, summary } from './lib/report.js';
import { header, send } from './lib/request.js';
import { baseUrl, duration, integer, maxVus, number, preallocatedVus, rate, seconds, text } from './lib/settings.js';
import { find, pathsOf } from './lib/site.js';
import { expiresBoth, fromCache, idOf, isObject, isPrivate, ownOnly, setsBoth, setsNothing, shows, showsPreview } from './lib/visitor.js';

/** @typedef {import('./lib/request.js').Response} Response */
/** @typedef {import('./lib/definition.js').Variation} Variation */
/** @typedef {import('k6/http').CookieJar} CookieJar */
/** `cookie` is the value of the visitor's cookie. @typedef {{ jar: CookieJar, cookie: string, variation: Variation }} Visitor */

const perSecond = rate || 10;
const time = duration || '1m';
const planned = perSecond * seconds(time);

const file = text('EXPERIMENTS', '');
/** The name of the visitor's cookie. */
const COOKIE = text('COOKIE', 'nearedge');
/** The cookie of visitors that have consented, as in experiments_consent; '' if consent is not required. */
const [CONSENT, CONSENT_VALUE = 'yes'] = text('CONSENT', '').split('=');
/** Whether experiments_preview is on. */
const PREVIEW = text('PREVIEW', 'no') === 'yes';
/** Whether the CDN caches: some responses must then come from its cache. */
const CACHED = text('CACHED', 'no') === 'yes';
/** Allowed deviation of the split from the weights, in standard deviations. */
const DEVIATIONS = number('DEVIATIONS', 3);
/** Earlier visitors that each VU remembers, and assets that a visit requests at most. */
const [REMEMBERED, ASSETS] = [50, integer('ASSETS', 4, 1)];

const experiment = read();
const { key, variations, none } = experiment;

function read() {
  try {
    return parseExperiment(open(file || '../emulator/site/experiments.json'), text('FEATURE', 'test_version'));
  } catch (error) {
    const name = file ? `EXPERIMENTS=${file}` : 'the definition of the sample site';
    throw new Error(`${name} cannot be used (${error instanceof Error ? error.message : error}): set EXPERIMENTS to a copy of the object that the function's setting experiments names`);
  }
}

const versions = variations.map(({ version }) => String(version));
/** Paths that all variations have: pages, and their assets. */
const shared = pathsOf(versions[0]).filter((path) => versions.every((version) => find(version, path)));
const [pages, files] = [true, false].map((isPage) => shared.filter((path) => /\.html?$/.test(path) === isPage));
if (pages.length === 0) throw new Error(`expected a page, such as ${versions[0]}/index.html, that each of ${versions.join(', ')} has`);

/** Rules, and their descriptions in the report. */
const RULES = {
  own: 'no response contains another variation',
  agree: 'a page and its assets show one variation',
  stays: 'a visitor keeps the variation',
  hashed: 'an id is new, and its hash selects the variation',
  first: 'a first visit sets both cookies; private, no-store',
  returning: 'a returning visitor gets no cookie',
  shareable: "a returning visitor's response may be cached",
  unassigned: 'bots, prefetches, no consent: the default, no cookie; private, no-store',
  forged: 'a forged cookie has no effect on other visitors',
  preview: PREVIEW ? 'a preview shows its variation' : 'a preview has no effect',
  ...(CONSENT ? { withdrawn: 'consent withdrawn: the default, both cookies expire; private, no-store' } : {}),
};
/** @typedef {keyof typeof RULES | 'withdrawn'} Rule */
/** By rule: whether a response violates it. */
const violations = new Rate('violations');
const hits = new Rate('cache_hits');
/** By variation: whether a visitor has it. */
const split = new Rate('split');

/** Outcomes by variant: those of visitors, and those of other clients. */
const VISITS = ['first_visit', 'returning', 'not_modified'].concat(files.length > 0 ? ['asset'] : []);
const OTHERS = ['bot', 'prefetch', 'forged', 'preview'].concat(CONSENT ? ['no_consent', 'withdrawn'] : []);
/** The tag of a variation. @param {Variation} variation */
const tagOf = ({ version }) => version ?? 'default';
const groups = [...variations, ...(none.share > 0 ? [none] : [])];
const shareOf = new Map();
for (const variation of groups) shareOf.set(tagOf(variation), (shareOf.get(tagOf(variation)) || 0) + variation.share);

/** Standard deviation of a share of the planned visitors. @param {number} share */
const deviationOf = (share) => Math.sqrt((share * (1 - share)) / planned);
/** @type {{ [metric: string]: string[] }} */
const limits = {};
for (const [index, { share }] of groups.entries()) {
  const limit = DEVIATIONS * deviationOf(share);
  limits[`split{variation:${index}}`] = [`rate>=${(share - limit).toFixed(5)}`, `rate<=${(share + limit).toFixed(5)}`];
}
// Five standard deviations below the expected number: the split has its own threshold.
const visitLimits = thresholds(VISITS, (share) => planned * (share - 5 * deviationOf(share)), [...shareOf].map(([name, share]) => ({ name, share })));
// Missing objects have no ETag.
if (!find(none.version, pages[0])) for (const metric of Object.keys(visitLimits)) if (/:default,.*not_modified/.test(metric)) delete visitLimits[metric];
for (const rule of Object.keys(RULES)) limits[`violations{rule:${rule}}`] = ['rate==0'];
for (const outcome of [...VISITS, ...OTHERS]) limits[`cache_hits{outcome:${outcome}}`] = outcome === 'returning' && CACHED ? ['rate>0'] : ['rate>=0'];

export const options = {
  scenarios: {
    experiment: {
      executor: 'constant-arrival-rate',
      rate: perSecond,
      duration: time,
      // Few, so that each soon gets earlier visitors.
      preAllocatedVUs: Math.min(preallocatedVus, 2 * perSecond),
      maxVUs: maxVus,
    },
  },
  thresholds: {
    ...visitLimits,
    ...thresholds(OTHERS, () => planned / 40, [{ name: 'any', share: 1 }]),
    ...limits,
  },
  summaryTrendStats: TREND_STATS,
};

/** Headers of a browser: k6 has none of them. */
const BROWSER = { 'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0' };
const OLD_NAVIGATION = { ...BROWSER, Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
const NAVIGATION = { ...OLD_NAVIGATION, 'Sec-Fetch-Dest': 'document' };
const SUBRESOURCE = { ...BROWSER, Accept: '*/*', 'Sec-Fetch-Dest': 'empty' };
/** @type {{ [name: string]: string }[]} */
const PREFETCHES = [{ 'Sec-Purpose': 'prefetch' }, { 'Sec-Purpose': 'prefetch;prerender' }, { Purpose: 'prefetch' }];
const BOTS = ['Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)', 'curl/8.5.0', 'python-requests/2.32'];

/** This VU's earlier visitors, and all ids that it has got. @type {Visitor[]} */
const visitors = [];
const ids = new Set();
/** The last ETag of each page. @type {{ [path: string]: string }} */
const etags = {};

/** @template T @param {T[]} list */
const pick = (list) => list[Math.floor(Math.random() * list.length)];
/** Another variation. @param {Variation} variation */
const otherThan = (variation) => pick(variations.filter(({ name }) => name !== variation.name));
/** Assignments that no visitor has, and that no other request has sent. */
const unknownText = () => `${encodeURIComponent(key)}__0.no-such-variation-${__VU}-${Math.floor(Math.random() * 1e9)}`;

/** A jar with these cookies. @param {{ [name: string]: string }} cookies @param {boolean} consents */
function jarWith(cookies, consents = true) {
  const jar = new http.CookieJar();
  for (const [name, value] of Object.entries(cookies)) jar.set(baseUrl, name, value);
  if (CONSENT && consents) jar.set(baseUrl, CONSENT, CONSENT_VALUE);
  return jar;
}
/** A jar with a visitor's id, and other assignments. @param {Visitor} visitor @param {string} assignments @param {boolean} consents */
const jarOf = ({ cookie }, assignments, consents = true) => jarWith({ [COOKIE]: cookie, [`${COOKIE}_v`]: assignments }, consents);

/** @param {string} outcome @param {string} path @param {{ [name: string]: string }} headers @param {CookieJar} jar */
const get = (outcome, path, headers, jar) => send('GET', `${baseUrl}/${path}`, outcome, headers, jar);

/** The usual cause of an unexpected response, as `explain`. @param {Response} response @param {boolean} isWrong */
function explainExperiment(response, isWrong) {
  if (!isWrong || response.status === 403) return explain(response, isWrong);
  if (fromCache(response)) return `From the CDN's cache: its key must contain the cookie ${COOKIE}_v, and its minimum TTL must be 0. \`nearedge policy check\` checks a distribution`;
  if (!header(response, 'Vary').toLowerCase().includes('cookie')) return `The function needs the setting experiments`;
  return isObject(response) ? '' : explain(response, isWrong);
}

/**
 * Records a response and its violations of rules; a failed one violates none.
 * @param {string} outcome
 * @param {Response} response
 * @param {Variation} variation the expected one
 * @param {string} path
 * @param {{ [rule in Rule]?: string }} problems by rule; '' for none
 */
function judge(outcome, response, variation, path, problems) {
  const all = { own: ownOnly(response, variation, path, variations, COOKIE), ...problems };
  const problem = Object.values(all).find(Boolean) ?? '';
  record(VISITS.includes(outcome) ? tagOf(variation) : 'any', outcome, response, problem, explainExperiment);
  hits.add(fromCache(response), { outcome });
  if (isError(response)) return false;
  for (const [rule, found] of Object.entries(all)) violations.add(found !== '', { rule });
  return problem === '';
}

/**
 * Judges the response to a new visitor. Returns the visitor, unless the response is wrong.
 * @param {string} outcome
 * @param {Response} response
 * @param {CookieJar} jar
 * @param {string} path
 * @param {Variation} [previewed]
 * @returns {Visitor | undefined}
 */
function admit(outcome, response, jar, path, previewed) {
  const id = idOf(response, COOKIE);
  const variation = previewed ?? experiment.assign(id);
  const isKnown = ids.has(id);
  ids.add(id);
  const repeated = isKnown ? `sets the id ${id} of an earlier visitor` : '';
  const isRight = judge(outcome, response, variation, path, {
    first: setsBoth(response, COOKIE, variation, { isPreview: previewed !== undefined }) || isPrivate(response),
    hashed: repeated || (previewed ? '' : shows(response, variation, path)),
    ...(previewed ? { preview: showsPreview(response, variation, path) } : {}),
  });
  return isRight ? { jar, cookie: response.cookies[COOKIE][0].value, variation } : undefined;
}

/** A new visitor opens a page. @param {string} path @param {number} number */
function firstVisit(path, number) {
  const jar = jarWith({});
  /** @type {{ [name: string]: string }} */
  const headers = { ...(number % 2 ? NAVIGATION : OLD_NAVIGATION) };
  // A browser that has deleted the cookies and not its cache sends conditions. A first visit ignores them.
  if (number % 4 === 3 && etags[path]) headers['If-None-Match'] = etags[path];
  else if (number % 4 === 1) headers.Range = 'bytes=0-0';
  const response = get('first_visit', path, headers, jar);
  const visitor = admit('first_visit', response, jar, path);
  if (!visitor) return undefined;
  for (const [index, { name }] of groups.entries()) split.add(name === visitor.variation.name, { variation: String(index) });
  etags[path] = header(response, 'Etag');
  return visitor;
}

/**
 * A visitor with an id of our own, after a first visit has failed. The run fails too; the assets of this visitor show whether a cache
 * mixes visitors.
 */
function standIn() {
  const id = encoding.b64encode(crypto.randomBytes(16), 'rawurl');
  const variation = experiment.assign(id);
  const cookie = `1.${id}.`;
  return { jar: jarWith({ [COOKIE]: cookie, [`${COOKIE}_v`]: variation.assignment }), cookie, variation };
}

/** The rules for a known visitor's response. @param {Response} response @param {Variation} variation */
function known(response, { assignment }) {
  const isShareable = !/private|no-store/.test(header(response, 'Cache-Control'));
  const problem = isShareable ? '' : `Cache-Control '${header(response, 'Cache-Control')}', expected that of the object`;
  // Without an assignment, the cache key does not determine the response.
  const set = setsNothing(response, COOKIE);
  return assignment ? { returning: set, shareable: problem } : { returning: set || isPrivate(response) };
}

/** A known visitor opens a page. Returns its ETag. @param {Visitor} visitor @param {string} path @param {string} outcome */
function visit({ jar, variation }, path, outcome = 'returning') {
  const response = get(outcome, path, NAVIGATION, jar);
  judge(outcome, response, variation, path, { stays: shows(response, variation, path), ...known(response, variation) });
  return header(response, 'Etag');
}

/** A known visitor reloads a page that the browser has. @param {Visitor} visitor @param {string} path @param {string} etag */
function reload({ jar, variation }, path, etag) {
  const response = get('not_modified', path, { ...NAVIGATION, 'If-None-Match': etag }, jar);
  judge('not_modified', response, variation, path, { stays: shows(response, variation, path, etag), ...known(response, variation) });
}

/** The assets of a page. @param {Visitor} visitor @param {string} outcome */
function assets({ jar, variation }, outcome = 'asset') {
  const first = Math.floor(Math.random() * files.length);
  for (const path of [...files, ...files].slice(first, first + Math.min(ASSETS, files.length))) {
    const response = get(outcome, path, SUBRESOURCE, jar);
    judge(outcome, response, variation, path, { agree: shows(response, variation, path), ...known(response, variation) });
  }
}

/** Judges a response to a client without an id. @param {string} outcome @param {Response} response @param {string} path */
function unassigned(outcome, response, path) {
  judge(outcome, response, none, path, { unassigned: shows(response, none, path) || setsNothing(response, COOKIE) || isPrivate(response) });
}

/** A bot. @param {string} path @param {number} number */
function bot(path, number) {
  const headers = { ...NAVIGATION, 'User-Agent': BOTS[number % BOTS.length] };
  unassigned('bot', get('bot', path, headers, jarWith({})), path);
}

/** A prefetch by a known visitor's browser, and by a new one's. @param {string} path @param {number} number @param {Visitor} visitor */
function prefetch(path, number, { jar, variation }) {
  const headers = { ...NAVIGATION, ...PREFETCHES[number % PREFETCHES.length] };
  const response = get('prefetch', path, headers, jar);
  judge('prefetch', response, variation, path, { stays: shows(response, variation, path), ...known(response, variation) });
  unassigned('prefetch', get('prefetch', path, headers, jarWith({})), path);
}

/**
 * Forged assignments. Those of another variation select it: a visitor could as well return as a new one. Other texts select none, and
 * no cache may keep the responses.
 * @param {string} path
 * @param {number} _
 * @param {Visitor} visitor
 */
function forged(path, _, visitor) {
  const { cookie, variation } = visitor;
  let response = get('forged', path, NAVIGATION, jarOf(visitor, unknownText()));
  judge('forged', response, variation, path, {
    forged: shows(response, variation, path) || setsBoth(response, COOKIE, variation, { value: cookie }) || isPrivate(response),
  });
  response = get('forged', path, SUBRESOURCE, jarOf(visitor, unknownText()));
  judge('forged', response, variation, path, {
    forged: shows(response, variation, path) || setsNothing(response, COOKIE) || isPrivate(response),
  });

  const claimed = otherThan(variation);
  response = get('forged', path, SUBRESOURCE, jarOf(visitor, claimed.assignment));
  judge('forged', response, claimed, path, { forged: shows(response, claimed, path) || setsNothing(response, COOKIE) });

  // Without an id, the claim selects a copy in the CDN's cache. Without a copy, it has no effect.
  const claim = { [`${COOKIE}_v`]: claimed.assignment };
  for (const jar of [jarWith(claim), jarWith({ ...claim, [COOKIE]: '1.malformed' })]) {
    response = get('forged', path, NAVIGATION, jar);
    if (fromCache(response)) judge('forged', response, claimed, path, { forged: shows(response, claimed, path) || setsNothing(response, COOKIE) });
    else admit('forged', response, jar, path);
  }
  response = get('forged', path, SUBRESOURCE, jarWith(claim));
  if (fromCache(response)) judge('forged', response, claimed, path, { forged: shows(response, claimed, path) || setsNothing(response, COOKIE) });
  else unassigned('forged', response, path);
}

/** `?KEY=INDEX` of a new visitor, and of a known one. @param {string} path @param {number} number @param {Visitor} visitor */
function preview(path, number, visitor) {
  const index = number % variations.length;
  const address = `${path}?${encodeURIComponent(key)}=${index}`;
  const jar = jarWith({});
  const response = get('preview', address, NAVIGATION, jar);
  const previewing = admit('preview', response, jar, path, PREVIEW ? variations[index] : undefined);
  if (previewing) {
    assets(previewing, 'preview');
    visit(previewing, path, 'preview');
  }
  const other = otherThan(visitor.variation);
  const again = get('preview', `${path}?${encodeURIComponent(key)}=${variations.indexOf(other)}`, NAVIGATION, jarOf(visitor, visitor.variation.assignment));
  // A CDN without query strings in its cache key may have the visitor's own page.
  const shown = PREVIEW && !fromCache(again) ? other : visitor.variation;
  judge('preview', again, shown, path, { preview: shown === other ? showsPreview(again, shown, path) : shows(again, shown, path) });
}

/** A visitor who has not consented, and one who no longer does. @param {string} path @param {number} _ @param {Visitor} visitor */
function withoutConsent(path, _, visitor) {
  for (const headers of [NAVIGATION, SUBRESOURCE]) unassigned('no_consent', get('no_consent', path, headers, jarWith({}, false)), path);
  for (const assignments of [visitor.variation.assignment, unknownText()]) {
    const response = get('withdrawn', path, NAVIGATION, jarOf(visitor, assignments, false));
    // The CDN may have a copy for these assignments, unless the cookie of consent is in its cache key.
    const isCopy = fromCache(response) && assignments === visitor.variation.assignment;
    if (isCopy) judge('withdrawn', response, visitor.variation, path, { stays: shows(response, visitor.variation, path) || setsNothing(response, COOKIE) });
    else judge('withdrawn', response, none, path, { withdrawn: shows(response, none, path) || expiresBoth(response, COOKIE) || isPrivate(response) });
  }
}

const CLIENTS = [bot, prefetch, forged, preview, ...(CONSENT ? [withoutConsent] : [])];

export default function () {
  const number = exec.scenario.iterationInTest;
  const page = pick(pages);
  const visitor = firstVisit(page, number);
  assets(visitor ?? standIn());
  if (!visitor) return;
  // A cycle of the clients, and then the next cycle of their own alternatives.
  const client = CLIENTS[number % CLIENTS.length];
  client(page, Math.floor(number / CLIENTS.length), visitor);
  const etag = visit(visitor, page);
  if (etag) reload(visitor, page, etag);
  if (visitors.length > 0) {
    const earlier = pick(visitors);
    const other = pick(pages);
    visit(earlier, other);
    assets(earlier);
  }
  if (visitors.length < REMEMBERED) visitors.push(visitor);
  else visitors[Math.floor(Math.random() * REMEMBERED)] = visitor;
}

/** @param {number} part */
const percent = (part) => `${(part * 100).toFixed(1)} %`;

/** The tables of visitors, cached responses and rules. @param {any} data */
function details(data) {
  /** @param {string} metric @returns {{ passes: number, fails: number }} */
  const rateOf = (metric) => data.metrics[metric]?.values ?? { passes: 0, fails: 0 };
  const shares = groups.map(({ name, version, share }, index) => {
    const { passes, fails } = rateOf(`split{variation:${index}}`);
    const all = passes + fails;
    const deviation = all > 0 && share < 1 ? (passes / all - share) / Math.sqrt((share * (1 - share)) / all) : 0;
    return { variation: name, version, weight: share, visitors: passes, share: all > 0 ? passes / all : 0, deviation };
  });
  const cached = [...VISITS, ...OTHERS].map((outcome) => {
    const { passes, fails } = rateOf(`cache_hits{outcome:${outcome}}`);
    return { outcome, responses: passes + fails, hits: passes };
  });
  const rules = Object.entries(RULES).map(([rule, description]) => {
    const { passes, fails } = rateOf(`violations{rule:${rule}}`);
    return { rule, description, checked: passes + fails, violations: passes };
  });
  const total = (/** @type {number[]} */ counts) => counts.reduce((sum, count) => sum + count, 0);
  const visitorCount = total(shares.map(({ visitors }) => visitors));
  const lines = [
    `${key}: ${visitorCount} visitors, ${total(rules.map((rule) => rule.violations))} violations`,
    '',
    '| variation | version | weight | visitors | share | standard deviations |',
    '|---|---|---:|---:|---:|---:|',
    ...shares.map((row) => `| ${row.variation} | ${row.version ?? '–'} | ${percent(row.weight)} | ${row.visitors} | ${percent(row.share)} | ${row.deviation.toFixed(2)} |`),
    '',
    "| outcome | responses | from the CDN's cache |",
    '|---|---:|---:|',
    ...cached.map((row) => `| ${row.outcome} | ${row.responses} | ${row.hits} |`),
    '',
    '| rule | responses checked | violations |',
    '|---|---:|---:|',
    ...rules.map((row) => `| ${row.description} | ${row.checked} | ${row.violations} |`),
    '',
  ];
  return { fields: { visitors: visitorCount, split: shares, cached, rules }, lines };
}

export const handleSummary = summary('experiment', details);
