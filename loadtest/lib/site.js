// The objects of the bucket: length and SHA-256 of each, from a manifest written by `loadtest/manifest DIR`.

import { SharedArray } from 'k6/data';
import { text, variants } from './settings.js';

/** @typedef {{ key: string, bytes: number, sha256: string }} SiteObject */

const given = text('MANIFEST', '');
/** How messages name the manifest. */
export const MANIFEST = given ? `MANIFEST=${given}` : 'loadtest/site.json (the sample site)';
/** How to describe another site. */
export const WRITE_MANIFEST = 'write the list of your site with `loadtest/manifest DIR > FILE` and set MANIFEST=FILE';

/** @type {SiteObject[]} */
const objects = new SharedArray('site', () => {
  let list;
  try {
    list = JSON.parse(open(given || '../site.json'));
  } catch (error) {
    throw new Error(`${MANIFEST} cannot be read (${error instanceof Error ? error.message : error}): ${WRITE_MANIFEST}`);
  }
  if (!Array.isArray(list) || !list.every((each) => each.key && each.bytes >= 0 && /^[0-9a-f]{64}$/.test(each.sha256))) {
    throw new Error(`${MANIFEST}: expected a list of objects with key, bytes and sha256: ${WRITE_MANIFEST}`);
  }
  return list;
});

const byKey = new Map(objects.map((each) => [each.key, each]));

/**
 * The paths of a variant's objects, without the variant's prefix.
 * @param {string} variant
 */
export function pathsOf(variant) {
  const prefix = `${variant}/`;
  const paths = objects.filter(({ key }) => key.startsWith(prefix)).map(({ key }) => key.slice(prefix.length));
  if (paths.length === 0) {
    throw new Error(`${MANIFEST} has no objects below ${prefix}: set VARIANTS to the variants of the site, or ${WRITE_MANIFEST}`);
  }
  return paths;
}

/**
 * A variant's object at a path.
 * @param {string} variant
 * @param {string} path
 * @returns {SiteObject}
 */
export function object(variant, path) {
  const found = find(variant, path);
  if (!found) throw new Error(`${MANIFEST} has no object ${variant}/${path}`);
  return found;
}

/**
 * The object at a path of a version, or without a version (`null`); undefined if there is none.
 * @param {string | null} version
 * @param {string} path
 * @returns {SiteObject | undefined}
 */
export function find(version, path) {
  return byKey.get(version === null ? path : `${version}/${path}`);
}

/** @type {Map<string, string[]>} */
const keysBySha256 = new Map();
for (const { key, sha256 } of objects) keysBySha256.set(sha256, [...(keysBySha256.get(sha256) || []), key]);

/** The keys of all objects with this content. @param {string} sha256 */
export function keysWith(sha256) {
  return keysBySha256.get(sha256) || [];
}

// Before the run, not in each iteration.
variants.forEach(pathsOf);
