// What the bucket holds: each object's length and SHA-256, from a manifest that `loadtest/manifest DIR` wrote.

import { SharedArray } from 'k6/data';
import { text } from './settings.js';

/** @typedef {{ key: string, bytes: number, sha256: string }} Held */

const file = text('MANIFEST', '../site.json');

/** @type {Held[]} */
const held = new SharedArray('site', () => JSON.parse(open(file)));

const byKey = new Map(held.map((each) => [each.key, each]));

/**
 * The paths that a variant has, without the variant.
 * @param {string} variant
 */
export function pathsOf(variant) {
  const prefix = `${variant}/`;
  const paths = held.filter(({ key }) => key.startsWith(prefix)).map(({ key }) => key.slice(prefix.length));
  if (paths.length === 0) throw new Error(`${file} has nothing of ${variant}: loadtest/manifest DIR > FILE and MANIFEST=FILE, or name others in VARIANTS`);
  return paths;
}

/**
 * What a variant's object is.
 * @param {string} variant
 * @param {string} path
 * @returns {Held}
 */
export function object(variant, path) {
  const found = byKey.get(`${variant}/${path}`);
  if (!found) throw new Error(`${file} has no ${variant}/${path}`);
  return found;
}
