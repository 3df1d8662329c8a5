// The experiment of a definition. Its own evaluation, by GrowthBook's hash, is compared with what the function assigns.
// https://docs.growthbook.io/lib/build-your-own

/**
 * A variation: `name` is its `meta` key or its index, `version` the folder of its objects (`null`: objects without a version), `share`
 * its part of all visitors, `assignment` its text in the cookie of assignments, and `timing` its Server-Timing.
 * @typedef {{ name: string, version: string | null, share: number, assignment: string, timing: string }} Variation
 */

/** Fields of a rule that this evaluation does not know, and that could change its result. */
const UNSUPPORTED = [
  'active',
  'condition',
  'disableStickyBucketing',
  'fallbackAttribute',
  'filters',
  'force',
  'minBucketVersion',
  'namespace',
  'parentConditions',
  'ranges',
  'urlPatterns',
];

/** Percent-encodes all but the unreserved characters (RFC 3986 §2.3). @param {string} text */
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);

/** FNV-1a with 32 bits. @param {string} text */
function fnv1a(text) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

/**
 * GrowthBook's hash, 0 to 1.
 * @param {string} seed
 * @param {string} value
 * @param {number} version 1 or 2
 */
export function hash(seed, value, version) {
  return version === 2 ? (fnv1a(String(fnv1a(seed + value))) % 1e4) / 1e4 : (fnv1a(value + seed) % 1e3) / 1e3;
}

/**
 * Reads the experiment that decides a feature: its first rule.
 * @param {string} text the definition
 * @param {string} feature
 */
export function parseExperiment(text, feature) {
  const { features = {}, experiments = [] } = JSON.parse(text);
  const { defaultValue = null, rules: [rule] = [] } = features[feature] || {};
  if (!rule?.key || !(rule.variations?.length >= 2) || !rule.variations.every((/** @type {unknown} */ each) => each && typeof each === 'string')) {
    throw new Error(`expected a feature ${feature} whose first rule has a key and at least two versions as variations`);
  }
  const found = UNSUPPORTED.filter((name) => rule[name] !== undefined);
  if (![undefined, 'id'].includes(rule.hashAttribute)) found.push('hashAttribute');
  if (experiments.length > 0) found.push('experiments');
  if (found.length > 0) throw new Error(`this scenario does not evaluate ${found.join(', ')}: use a definition without ${found.length > 1 ? 'them' : 'it'}`);

  const { key, variations, coverage = 1, seed = key, hashVersion = 1, bucketVersion = 0, meta = [] } = rule;
  const sum = (rule.weights || []).reduce((/** @type {number} */ all, /** @type {number} */ each) => all + each, 0);
  const isComplete = rule.weights?.length === variations.length && Math.abs(sum - 1) <= 0.01;
  /** @type {number[]} */
  const weights = isComplete ? rule.weights : variations.map(() => 1 / variations.length);
  /** @type {Variation[]} */
  const all = variations.map((/** @type {string} */ version, /** @type {number} */ index) => {
    const name = meta[index]?.key ?? String(index);
    return {
      name,
      version,
      share: weights[index] * coverage,
      assignment: `${encode(key)}__${bucketVersion}.${encode(name)}`,
      timing: `nearedge;desc="${encode(key)}.${encode(name)}"`,
    };
  });
  const rest = 1 - all.reduce((total, { share }) => total + share, 0);
  /** Of visitors that do not take part, bots and others without an id. @type {Variation} */
  const none = { name: '(none)', version: defaultValue, share: rest > 1e-6 ? rest : 0, assignment: '', timing: '' };
  /** The variation of a visitor. @param {string} id */
  const assign = (id) => {
    const at = hash(seed, id, hashVersion);
    let start = 0;
    for (const [index, variation] of all.entries()) {
      if (at >= start && at < start + coverage * weights[index]) return variation;
      start += weights[index];
    }
    return none;
  };
  return { key: /** @type {string} */ (key), variations: all, none, assign };
}

/** @typedef {ReturnType<typeof parseExperiment>} Experiment */
