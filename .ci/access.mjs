// Tests rules of access with headless Chromium: a members' page with a login, a preview by link, redirects, and requests from
// another origin. With --pictures FOLDER it writes screenshots of the preview and of the members' page.
//
//   apt-get install chromium; npm install --prefix target/browser playwright-core; cargo build --workspace
//   PACKAGES=target/browser node .ci/access.mjs [--pictures docs/pictures]
//
// It starts a local cloud on loopback, and stops it.

import { execFileSync, spawn } from "node:child_process";
import { createSign, generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { chromium } = createRequire(join(resolve(process.env.PACKAGES ?? root), "package.json"))("playwright-core");
const nearedge = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug", "nearedge");
const flag = process.argv.indexOf("--pictures");
const pictures = flag > 0 ? resolve(process.argv[flag + 1]) : null;
const LINK_KEY = "a key of at least 16 bytes";
const FREE_PORTS = ["--port-base", "0"];
let passed = 0;

function ok(condition, what, found = "") {
  if (!condition) throw new Error(`${what}; found: ${found}`);
  passed += 1;
  console.log(`ok ${passed}  ${what}`);
}

// --- the site ------------------------------------------------------------------------------------------------------------------

const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

/** A token by ES256 with these claims. */
function token(claims) {
  const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const signed = `${part({ alg: "ES256", kid: "k" })}.${part(claims)}`;
  const signature = createSign("SHA256").update(signed).sign({ key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

const inTenMinutes = Math.floor(Date.now() / 1000) + 600;
const style = (colour) => `html { font: 18px/1.5 system-ui, sans-serif } body { margin: 2rem auto; max-width: 30rem; border-top: 12px solid ${colour} } h1 { color: ${colour} }`;
const picture = (colour) => `<svg xmlns="http://www.w3.org/2000/svg" width="480" height="120"><rect width="100%" height="100%" rx="12" fill="${colour}"/></svg>`;
const page = (title, folder, body) => `<!DOCTYPE html><html lang=en><meta charset=utf-8><title>${title}</title><link rel=icon href="data:,">
<link rel=stylesheet href=${folder}style.css><h1>${title}</h1><p><img src=${folder}picture.svg alt="">${body}\n`;

const site = mkdtempSync(join(tmpdir(), "access-"));
const files = {
  "index.html": page("Home", "/", "<p><a href=/members/>Members</a>"),
  "style.css": style("rgb(95, 99, 104)"), "picture.svg": picture("rgb(95, 99, 104)"),
  "members/index.html": page("Members", "/members/", "<p>Only for members."),
  "members/style.css": style("rgb(11, 87, 208)"), "members/picture.svg": picture("rgb(11, 87, 208)"),
  "preview/new/index.html": page("The next version", "/preview/new/", "<p>Only for those with the link."),
  "preview/new/style.css": style("rgb(20, 108, 46)"), "preview/new/picture.svg": picture("rgb(20, 108, 46)"),
  "data/prices.json": "{\"price\": 7}\n",
  // Only for this test: a real login page gets the token from an identity provider.
  "login.html": `<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Log in</title><link rel=icon href="data:,"><button>Log in</button><script>
const there = new URL(new URLSearchParams(location.search).get("return"));
document.querySelector("button").onclick = () => {
  document.cookie = "token=${token({ exp: inTenMinutes, iss: "https://id.example", plan: "pro" })}; path=/";
  if (there.pathname.startsWith("/members/")) location.replace(there.pathname + there.search);
};</script>\n`,
  "_redirects": "/old-members/* /members/:splat 301!\n/secret/* /members/:splat 200!\n",
  "_headers": "/*\n  X-Content-Type-Options: nosniff\n/data/*\n  Access-Control-Allow-Origin: ORIGIN, https://other.example\n  Access-Control-Allow-Headers: x-token\n",
  "access.json": JSON.stringify({
    rules: [
      {
        path: "/members/*", login: "/login.html?return={url}",
        jwt: { keys: { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k" }] }, algorithms: ["ES256"], issuer: "https://id.example", from: ["cookie:token"], require: { plan: "pro" } },
      },
      { path: "/preview/new/*", signed_url: { keys: [LINK_KEY], parameter: "verify", ttl_secs: 3600, cookie: "preview" } },
    ],
  }),
};

const other = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!DOCTYPE html><title>other</title>"));
await new Promise((ready) => other.listen(0, "127.0.0.1", ready));
const otherOrigin = `http://127.0.0.1:${other.address().port}`;
for (const [name, content] of Object.entries(files)) {
  mkdirSync(dirname(join(site, name)), { recursive: true });
  writeFileSync(join(site, name), content.replace("ORIGIN", otherOrigin));
}
writeFileSync(join(site, "..", "link.key"), LINK_KEY);

/** The address with a signature of `seconds`. */
function link(address, seconds = Math.floor(Date.now() / 1000)) {
  const keyFile = join(site, "..", "link.key");
  return execFileSync(nearedge, ["sign", address, "--key-file", keyFile, "--at", String(seconds)], { encoding: "utf8" }).trim();
}

// --- the tests -----------------------------------------------------------------------------------------------------------------

const forward = ["origin", "access-control-request-method", "access-control-request-headers"].flatMap((name) => ["--forward", name]);
// The local CDN has no TLS, and browsers accept a secure cookie over http only from localhost.
const cloud = spawn(nearedge, [...FREE_PORTS, "--site", site, "--environments", "4", ...forward], { stdio: ["ignore", "pipe", "inherit"] });
let browser;
try {
  const cdn = await new Promise((ready, reject) => {
    cloud.on("exit", () => reject(new Error("the local cloud ended before it was ready")));
    createInterface({ input: cloud.stdout }).on("line", (line) => {
      const found = /CDN\s+http:\/\/127\.0\.0\.1:(\d+)/.exec(line);
      if (found) ready(`http://localhost:${found[1]}`);
    });
  });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--host-resolver-rules=MAP localhost 127.0.0.1"],
  });
  const profile = async () => {
    const page = await (await browser.newContext({ viewport: { width: 640, height: 360 } })).newPage();
    page.statuses = {};
    page.on("response", (response) => { page.statuses[new URL(response.url()).pathname] = response.status(); });
    return page;
  };
  const widths = (page) => page.$$eval("img", (images) => images.map((image) => image.naturalWidth));
  const colour = (page) => page.$eval("h1", (title) => getComputedStyle(title).color);

  const guest = await profile();
  await guest.goto(`${cdn}/members/?from=home`, { waitUntil: "load" });
  ok(new URL(guest.url()).pathname === "/login.html", "a members' page without a token leads to the login page", guest.url());
  const returning = new URL(new URL(guest.url()).searchParams.get("return"));
  ok(returning.pathname === "/members/" && returning.search === "?from=home", "the login page learns the address to return to", returning);
  const statusOf = (page, address) => page.evaluate((address) => fetch(address).then((response) => response.status), address);
  ok((await statusOf(guest, "/members/picture.svg")) === 401, "an image without a token is a 401, not the login page");
  for (const address of ["//members/", "/members%2Fpicture.svg", "/secret/picture.svg", "/%6dembers/picture.svg"]) {
    const status = await statusOf(guest, `${cdn}${address}`);
    ok(status === 401, `${address} needs a token too`, status);
  }
  await Promise.all([guest.waitForURL("**/members/**"), guest.click("button")]);
  await guest.waitForLoadState("load");
  ok((await guest.title()) === "Members", "after the login the browser is on the members' page", await guest.title());
  ok((await colour(guest)) === "rgb(11, 87, 208)" && (await widths(guest))[0] === 480, "the page has its guarded style and picture", await colour(guest));
  if (pictures) await guest.screenshot({ path: join(pictures, "access-members.png") });
  await guest.goto(`${cdn}/old-members/`, { waitUntil: "load" });
  ok((await guest.title()) === "Members" && guest.url().endsWith("/members/"), "a redirect leads to the guarded page", guest.url());
  await guest.context().clearCookies();
  await guest.goto(`${cdn}/members/`, { waitUntil: "load" });
  ok(new URL(guest.url()).pathname === "/login.html", "without the cookie the page is gone", guest.url());

  const reader = await profile();
  const refused = await reader.goto(`${cdn}/preview/new/`, { waitUntil: "load" });
  ok(refused.status() === 403, "a preview without its link is a 403", refused.status());
  await reader.goto(link(`${cdn}/preview/new/`), { waitUntil: "load" });
  ok((await reader.title()) === "The next version", "the link opens the preview", await reader.title());
  ok((await colour(reader)) === "rgb(20, 108, 46)" && (await widths(reader))[0] === 480, "its style and picture follow from the session", await colour(reader));
  if (pictures) await reader.screenshot({ path: join(pictures, "access-preview.png") });
  const again = await reader.goto(`${cdn}/preview/new/`, { waitUntil: "load" });
  ok(again.status() === 200, "the session opens the page without the link", again.status());
  const late = await (await profile()).goto(link(`${cdn}/preview/new/`, inTenMinutes - 7200), { waitUntil: "load" });
  ok(late.status() === 410, "an old link is a 410", late.status());

  const elsewhere = await profile();
  await elsewhere.goto(otherOrigin);
  const fetched = (init) => elsewhere.evaluate(([address, init]) => fetch(address, init).then((response) => response.json(), () => "blocked"), [`${cdn}/data/prices.json`, init]);
  ok((await fetched({}))?.price === 7, "a listed origin may read", JSON.stringify(await fetched({})));
  ok((await fetched({ headers: { "x-token": "1" } }))?.price === 7, "a preflight permits a listed field");
  ok((await fetched({ headers: { "x-other": "1" } })) === "blocked", "a preflight refuses another field");
  const blocked = await elsewhere.evaluate((address) => fetch(address).then(() => "read", () => "blocked"), `${cdn}/style.css`);
  ok(blocked === "blocked", "other paths stay blocked", blocked);
  console.log(`${passed} passed, 0 failed`);
} catch (error) {
  console.error(`FAILED: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  other.close();
  cloud.removeAllListeners("exit");
  cloud.kill("SIGTERM");
  await new Promise((done) => (cloud.exitCode === null ? cloud.on("exit", done) : done()));
  rmSync(site, { recursive: true });
  rmSync(join(site, "..", "link.key"), { force: true });
}
