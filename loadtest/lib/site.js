// The objects of the bucket: length and SHA-256 of each, from a manifest written by `loadtest/manifest DIR`.

import { SharedArray } from 'k6/data';
import { text } from './settings.js';

/** @typedef {{ key: string, bytes: number, sha256: string }} SiteObject */

const file = text('MANIFEST', '../site.json');

/** @type {SiteObject[]} */
const objects = new SharedArray('site', () => JSON.parse(open(file)));

const byKey = new Map(objects.map((each) => [each.key, each]));

/**
 * The paths of a variant's objects, without the variant's prefix.
 * @param {string} variant
 */
export function pathsOf(variant) {
  const prefix = `${variant}/`;
  const paths = objects.filter(({ key }) => key.startsWith(prefix)).map(({ key }) => key.slice(prefix.length));
  if (paths.length === 0) {
    throw new Error(`${file} has no objects below ${prefix}: set VARIANTS, or MANIFEST to the output of loadtest/manifest DIR`);
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
  const found = byKey.get(`${variant}/${path}`);
  if (!found) throw new Error(`${file} has no object ${variant}/${path}`);
  return found;
}
