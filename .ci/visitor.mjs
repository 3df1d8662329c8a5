// Visitors of experiments.mjs: windows and profiles of headless Chromium, and what a visitor sees in them.

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { LOOKS, PATIENCE } from "./front.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { chromium } = createRequire(join(resolve(process.env.PACKAGES ?? root), "package.json"))("playwright-core");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

const launch = {
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--host-resolver-rules=MAP shop.test 127.0.0.1"],
  // The driver turns the back/forward cache off.
  ignoreDefaultArgs: ["--disable-back-forward-cache"],
};
/** The browser, and the user agent of visitors, who are no bots. */
export let browser, userAgent;

export async function open() {
  if (!existsSync(executablePath)) throw new Error(`expected Chromium at ${executablePath}, found no file: apt-get install chromium, or set CHROMIUM`);
  browser = await chromium.launch(launch);
  const page = await browser.newPage();
  userAgent = (await page.evaluate(() => navigator.userAgent)).replace("HeadlessChrome", "Chrome");
  await page.close();
}

/** A new private window, as a visitor who is no bot. */
export async function visitor(options = {}) {
  const context = await browser.newContext({ userAgent, viewport: { width: 800, height: 600 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  return { context, page: await context.newPage() };
}
/** Gives the consent of `experiments_consent=consent=yes`. */
export const agree = ({ context }, url) => context.addCookies([{ name: "consent", value: "yes", url }]);

/** A profile on the disk, which the next call with the same folder opens again. */
export async function profile(folder, preferences, options = {}) {
  mkdirSync(join(folder, "Default"), { recursive: true });
  if (preferences) writeFileSync(join(folder, "Default", "Preferences"), JSON.stringify(preferences));
  const context = await chromium.launchPersistentContext(folder, { ...launch, userAgent, ...options });
  context.setDefaultTimeout(PATIENCE);
  return { context, page: context.pages()[0] ?? (await context.newPage()) };
}

// --- what a visitor sees -------------------------------------------------------------------------------------------------------

/** Throws if a condition does not hold. `found` is for the message. */
export function expect(condition, what, found) {
  if (!condition) throw new Error(found === undefined ? what : `${what}; found: ${typeof found === "string" ? found : JSON.stringify(found)}`);
}

/** The variant that each part of a page or a frame shows: the document, its style, picture and script. */
export async function parts(page) {
  await page.waitForFunction(() => document.readyState === "complete");
  const found = await page.evaluate(() => ({
    page: document.documentElement.dataset.variant,
    colour: getComputedStyle(document.body).borderTopColor,
    width: document.querySelector("img").naturalWidth,
    script: window.scriptVariant ?? "none",
  }));
  const named = (field) => Object.keys(LOOKS).find((variant) => LOOKS[variant][field] === found[field]) ?? `unknown: ${found[field]}`;
  return { page: found.page, style: named("colour"), picture: named("width"), script: found.script };
}
/** The variant of a page whose parts agree. */
export async function look(page) {
  const found = await parts(page);
  expect(new Set(Object.values(found)).size === 1, "expected a page and assets of one variant", found);
  return found.page;
}
export async function visit(page, address) {
  await page.goto(address, { waitUntil: "load" });
  return look(page);
}
export async function reload(page) {
  await page.reload({ waitUntil: "load" });
  return look(page);
}
export async function click(page, text, address) {
  await page.click(`text=${text}`);
  await page.waitForURL(address);
  return look(page);
}
/** Goes back or forward. A page from the back/forward cache has no load event: `restored` says whether it is one. */
export async function traverse(page, delta, address) {
  await page.evaluate((delta) => { history.go(delta); }, delta);
  await page.waitForURL(address, { waitUntil: "commit" });
  await page.waitForFunction(() => document.readyState === "complete" && (window.shown > 1 || performance.getEntriesByType("navigation")[0].type === "back_forward"));
  const [restored, reasons] = await page.evaluate(() => [window.restored, performance.getEntriesByType("navigation")[0].notRestoredReasons?.reasons?.map(({ reason }) => reason)]);
  return { variant: await look(page), restored, reasons };
}

/** Adds a link or speculation rules to a page, which prefetch an address. */
export const prefetchBy = {
  "<link rel=prefetch>": (page, address) => page.evaluate((href) => { document.head.append(Object.assign(document.createElement("link"), { rel: "prefetch", href })); }, address),
  "speculation rules": (page, address) => page.evaluate((url) => {
    const text = JSON.stringify({ prefetch: [{ source: "list", urls: [url], eagerness: "immediate" }] });
    document.head.append(Object.assign(document.createElement("script"), { type: "speculationrules", text }));
  }, address),
};
/** Whether an exchange that the front has recorded is a prefetch of a path. */
export const isPrefetch = (path) => ({ path: found, sent }) => found === path && sent["sec-purpose"]?.startsWith("prefetch");

export async function cookies({ context }) {
  return Object.fromEntries((await context.cookies()).map((cookie) => [cookie.name, cookie]));
}
export const idOf = (jar) => jar.nearedge?.value.split(".")[1];
export const variationOf = (jar) => /(?:^|~)new-checkout__\d+\.([^~]+)/.exec(jar.nearedge_v?.value)?.[1];

/** Visits as new visitors until all of `wanted` have occurred, in at least `least` windows. Keeps one of each. */
export async function draw(front, wanted, kindOf, { path = "/", least = 0, each = () => {} } = {}) {
  const kept = {}, ids = new Set();
  for (let count = 1; count <= 60; count += 1) {
    const one = await visitor();
    const variant = await visit(one.page, front.origin + path);
    const jar = await cookies(one), kind = kindOf(one.page, jar);
    await each(one, jar, variant);
    ids.add(idOf(jar));
    expect(ids.size === count, "expected a new id in each private window");
    expect(wanted.includes(kind), `expected one of ${wanted}`, String(kind));
    if (kept[kind]) await one.context.close();
    else kept[kind] = one;
    if (count >= least && wanted.every((kind) => kept[kind])) return kept;
  }
  throw new Error(`60 private windows show only ${Object.keys(kept)}`);
}
export const close = (all) => Promise.all(Object.values(all).map(({ context }) => context.close()));
