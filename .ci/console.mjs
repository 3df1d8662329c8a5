// Tests the console with headless Chromium under traffic: figures, charts, traces, the lost connection, phone size and dark
// mode, every widget of every dashboard, a test with four variants, and the page of experiments. page.mjs has the checks of
// every page, results.mjs those of the page of experiments. With --pictures FOLDER it writes the screenshots of the documents.
//
//     npm install --prefix target/browser playwright-core
//     cargo build --workspace && PACKAGES=target/browser node .ci/console.mjs [--pictures docs/pictures]

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { Agent, request } from "node:http";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { collectCharts, faults, legendColours } from "./page.mjs";
import { checkResults } from "./results.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(join(resolve(process.env.PACKAGES ?? root), "node_modules", "_"));
const { chromium } = require("playwright-core");
const nearedge = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug", "nearedge");
const flag = process.argv.indexOf("--pictures");
const pictures = flag > 0 ? resolve(process.argv[flag + 1]) : null;
// Screenshots need minutes of history, a check needs some seconds.
const seconds = pictures ? 150 : 20;
const scratch = mkdtempSync(join(tmpdir(), "console-"));

let passed = 0;
function ok(condition, what, ...found) {
  if (!condition) throw new Error(`FAILED: ${what}; found: ${found.join(" ")}`);
  passed += 1;
  console.log(`ok  ${what}`);
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Starts a local cloud on free ports, and waits until it is ready. */
async function startCloud(...settings) {
  const ports = await Promise.all([1, 2, 3, 4].map(freePort));
  const addresses = ["--edge", "--gateway", "--s3", "--console"].flatMap((name, index) => [name, `127.0.0.1:${ports[index]}`]);
  const child = spawn(nearedge, [...addresses, ...settings], { stdio: ["ignore", "pipe", "inherit"] });
  clouds.push(child);
  await new Promise((ready, reject) => {
    child.on("exit", () => reject(new Error("the local cloud ended before it was ready")));
    createInterface({ input: child.stdout }).on("line", (line) => line.includes("nearedge is ready") && ready());
  });
  child.removeAllListeners("exit");
  const [cdn, gateway, , console] = ports.map((port) => `http://127.0.0.1:${port}`);
  return { child, cdn, gateway, console };
}

const agent = new Agent({ keepAlive: true, maxSockets: 4 });

function send(url, headers = {}, method = "GET") {
  return new Promise((resolve, reject) => {
    request(url, { agent, headers, method }, (response) => {
      response.resume();
      response.on("end", () => resolve(response));
    }).on("error", reject).end();
  });
}

/** Requests all variants, the first one most often, with conditional requests and missing pages. */
let stopped = false;
async function traffic(cdn, variants = ["v1", "v2"]) {
  const etags = new Map();
  for (let number = 0; !stopped; number++) {
    const version = variants[number % 5 < 3 ? 0 : 1 + Math.floor(number / 15) % (variants.length - 1)];
    const path = number % 17 === 0 ? "/nothing.html" : ["/test.html", "/test.png", "/page.js"][number % 3];
    const headers = number % 11 === 0 ? {} : { test_version: version };
    headers["accept-encoding"] = number % 4 === 0 ? "gzip" : "gzip, deflate, br, zstd";
    const key = `${headers.test_version}${path}`;
    if (number % 4 === 0 && etags.has(key)) headers["if-none-match"] = etags.get(key);
    const response = await send(cdn + (number % 11 === 0 ? "/index.html" : path), headers);
    if (response.headers.etag) etags.set(key, response.headers.etag);
    // The rate varies, so that the graphs have a shape.
    await new Promise((resume) => setTimeout(resume, 25 + 20 * Math.sin(number / 60)));
  }
}

const PHONE = { colorScheme: "dark", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 };

let browser;
const clouds = [];
let visitors = [];
try {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
  const problems = [];
  const open = async (address, options = {}) => {
    const { origin } = new URL(address);
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("request", (request) => request.url().startsWith(origin) || problems.push(`request to another host: ${request.url()}`));
    page.on("response", (response) => response.status() >= 400 && problems.push(`${response.status()} ${response.url()}`));
    await collectCharts(page);
    await page.goto(address);
    await page.waitForFunction(() => document.documentElement.dataset.ready === "true", null, { timeout: 20_000 });
    return page;
  };
  const check = async (page, where) => {
    const found = await faults(page);
    ok(found.length === 0, `legends, units, names, contrast and width are right (${where})`, found.join("\n"));
  };
  const shoot = async (page, name, options) => pictures && page.screenshot({ path: join(pictures, name), ...options });
  if (pictures) mkdirSync(pictures, { recursive: true });

  const { child: cloud, cdn, console: console_ } = await startCloud("--fault", "s3-latency=12", "--env", "cache_ttl_secs=2", "--env", "AWS_LAMBDA_LOG_LEVEL=INFO");
  const page = await open(`${console_}/`);
  ok((await page.textContent("#notice")).includes(`curl -H "test_version:v1" ${cdn}/test.html`), "without traffic the console shows a command to try");

  visitors = [traffic(cdn), traffic(cdn), traffic(cdn)];
  await page.waitForFunction(() => document.querySelectorAll("#list .head").length > 5, null, { timeout: 20_000 });
  await new Promise((resume) => setTimeout(resume, seconds * 1000));
  const tiles = Object.fromEntries(await page.$$eval("#tiles > div", (all) => all.map((tile) => [...tile.children].map((part) => part.textContent))));
  ok(Object.values(tiles).every((value) => /\d/.test(value)), "every tile shows a figure", JSON.stringify(tiles));
  const charts = await page.$$eval("#charts .plot", (all) => all.map((plot) => plot.getAttribute("aria-label")));
  ok(charts.length === 6 && charts.every(Boolean), "every chart has a text description", JSON.stringify(charts));
  ok(charts[0].includes("v1") && charts[0].includes("v2"), "the chart of requests distinguishes the variants", charts[0]);

  await page.waitForFunction((rows) => {
    // The first trace with a request to S3; for a picture one near the top.
    const usesS3 = (head) => [...head.querySelectorAll("*")].some((part) => /^(miss|revalidated)$/.test(part.textContent));
    const head = [...document.querySelectorAll("#list .head")].slice(0, rows).find(usesS3);
    head?.click();
    return Boolean(head);
  }, pictures ? 4 : 40);
  const names = await page.$$eval("#list .span", (all) => all.map((row) => row.textContent));
  for (const name of ["lambdaapi", "GET", "decision", "cache lookup", "S3.GetObject", "encoding", "post"]) {
    ok(names.some((text) => text.includes(name)), `the waterfall of a request to S3 contains the span ${name}`, names);
  }
  await page.locator("#list .span", { hasText: "S3.GetObject" }).first().click();
  const attributes = await page.textContent("#list .detail table");
  ok(attributes.includes("aws.request_id") && attributes.includes("lambda-api-2022"), "a selected span shows its attributes", attributes);
  await check(page, "console");
  await shoot(page, "console.png", { fullPage: true, clip: { x: 0, y: 0, width: 1280, height: 1500 } });

  await page.fill("#filter", "404");
  await page.waitForFunction(() => [...document.querySelectorAll("#list > li:not([hidden]) .head")].every((row) => row.textContent.includes("404")));
  ok(true, "the filter hides traces that do not match");

  for (const [name, options] of [
    ["console-dark.png", { colorScheme: "dark" }],
    ["console-phone.png", PHONE],
  ]) {
    const other = await open(`${console_}/`, options);
    await other.waitForFunction(() => document.querySelectorAll("#list .head").length > 5);
    await check(other, name);
    const [text, background] = await other.evaluate(() => {
      const style = getComputedStyle(document.body);
      const brightness = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number).reduce((sum, part) => sum + part, 0);
      const page = getComputedStyle(document.documentElement);
      return [brightness(style.color), brightness(page.backgroundColor) || brightness(style.backgroundColor)];
    });
    ok(text > background + 200, `text is light on a dark background (${name})`, text, background);
    await shoot(other, name);
    await other.close();
  }

  for (const name of ["latency", "experiment", "cache", "cold-starts"]) {
    const board = await open(`${console_}/dashboards/${name}`);
    const drawn = await (await fetch(`${console_}/api/dashboards/${name}`)).json();
    const widgets = await board.$$eval(".widget", (all) => all.map((widget) => widget.textContent));
    ok(widgets.length === drawn.widgets.length && drawn.widgets.every((widget) => !widget.problem), `every widget of ${name} is drawn without a problem`, widgets.length);
    const empty = drawn.widgets.filter((widget) => widget.kind === "timeSeries" && !widget.series.some((series) => series.v.some((value) => value !== null)));
    // This run evicts nothing, has no large object and rotates no secret.
    const expected = ["Evictions", "Secrets", "Missing"];
    ok(empty.every((widget) => expected.some((start) => widget.title.startsWith(start))), `every graph of ${name} has values`, empty.map((widget) => widget.title));
    await check(board, name);
    await shoot(board, `dashboard-${name}.png`, { fullPage: true });
    await board.setViewportSize(PHONE.viewport);
    await board.emulateMedia({ colorScheme: "dark" });
    await check(board, `${name} on a phone`);
    await board.close();
  }

  stopped = true;
  await Promise.allSettled(visitors);
  const noProblems = () => ok(problems.length === 0, "no page logs an error, gets a 4xx or sends a request to another host", problems.join("\n"));
  noProblems();
  cloud.kill();
  await page.bringToFront();
  await page.waitForFunction(() => document.querySelector("#connection").textContent.includes("disconnected"), null, { timeout: 20_000 });
  ok(true, "the console shows that the connection is lost");
  await page.close();
  problems.length = 0;

  // A test with four variants, requests for an unlisted variant, and requests without a variant.
  const site = join(scratch, "site");
  cpSync(join(root, "emulator", "site"), site, { recursive: true });
  for (const copy of ["v3", "v4"]) cpSync(join(site, "v1"), join(site, copy), { recursive: true });
  const four = await startCloud("--site", site, "--variants", "v1,v2,v3,v4", "--env", "test_versions=v1,v2,v3,v4");
  const before = await open(`${four.console}/dashboards/experiment`);
  ok(await before.locator(".empty:visible", { hasText: "No data in this period." }).count() > 0, "a chart without data says so");
  await check(before, "experiment without traffic");
  await before.close();

  const own = await open(`${four.console}/`);
  const legend = (name) => own.locator("#charts figure").first().locator("button", { hasText: name });
  const seen = async (...names) => { for (const name of names) await legend(name).waitFor(); };
  await send(`${four.cdn}/test.html`, { test_version: "v3" });
  await seen("v3");
  const first = await legendColours(own, "Requests per second");
  await legend("v3").focus();
  const variants = ["v1", "v2", "v3", "v4"];
  for (const version of variants) {
    for (const headers of [{}, { "if-none-match": "*" }, { redirect: "true" }]) await send(`${four.cdn}/test.html`, { test_version: version, ...headers });
    await send(`${four.cdn}/${"nothing-".repeat(100)}`, { test_version: version });
  }
  await send(`${four.cdn}/test.html`, { test_version: "v9" });
  await send(`${four.cdn}/index.html`);
  await send(`${four.cdn}/index.html`, {}, "POST");
  await seen(...variants, "other", "no variant");
  const all = await legendColours(own, "Requests per second");
  ok(all.v3 === first.v3, "a variant keeps its colour when others appear", first.v3, all.v3);
  ok(new Set(Object.values(all)).size === 6, "four variants, other and no variant have six colours", JSON.stringify(all));
  ok(Object.keys(all).join() === "v1,v2,v3,v4,other,no variant", "the variants keep the order of the setting", Object.keys(all));
  ok(await legend("v3").evaluate((button) => button === document.activeElement), "the focus stays on an entry when others appear");
  await own.waitForFunction(() => [...document.querySelectorAll("#list .variant")].some((cell) => cell.textContent === "no variant"));
  const traces = await own.$$eval("#list .variant", (cells) => cells.map((cell) => [cell.textContent, getComputedStyle(cell.querySelector("i")).backgroundColor]));
  ok(traces.length > 15 && traces.every(([name, colour]) => colour === (all[name] ?? all.other)), "a trace has the colour of its variant", JSON.stringify(traces));
  const methods = await own.$$eval("#list .method", (cells) => cells.map((cell) => cell.textContent));
  ok(methods.includes("POST") && !methods.includes("_OTHER"), "a trace names the method of a refused request", methods);
  await own.reload();
  await seen(...variants);
  ok(JSON.stringify(await legendColours(own, "Requests per second")) === JSON.stringify(all), "a reload changes no colour");

  await own.locator("#charts .plot").first().focus();
  await own.keyboard.press("End");
  const at = await own.textContent("#charts figure:first-child .at");
  ok(/^\d\d:\d\d:\d\d$/.test(at), "the keyboard moves the cursor of a chart", at);
  for (const selector of ["#charts .plot", "#charts .legend button", "#list .head", "#filter"]) {
    await own.locator(selector).first().focus();
    await own.keyboard.press("Shift");
    const outline = await own.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    ok(outline !== "none", `the focus is visible on ${selector}`, outline);
  }

  for (const [name, options] of [["experiment of four variants", {}], ["experiment of four variants on a phone", PHONE]]) {
    const board = await open(`${four.console}/dashboards/experiment`, options);
    const text = await board.textContent("#grid");
    ok(text.includes("Experiment: v2, v3 and v4 against the control v1"), `the page names the control (${name})`, text.slice(0, 200));
    ok(["v2", "v3", "v4"].every((one) => text.split(`${one} − control v1`).length === 3), `every variant is compared with the control (${name})`);
    const colours = await legendColours(board, "Requests by variant");
    ok(Object.keys(colours).join() === Object.keys(all).join(), `the page shows all variants (${name})`, Object.keys(colours));
    if (!options.colorScheme) ok(JSON.stringify(colours) === JSON.stringify(all), "console and dashboard have the same colours", JSON.stringify(colours));
    await check(board, name);
    const outcomes = board.locator(".widget", { hasText: "Requests by variant and outcome" });
    const more = outcomes.locator(".more");
    ok(/^Show \d+ more$/.test(await more.textContent()), "a long legend says how many entries it hides", await more.textContent());
    await more.click();
    ok(await outcomes.locator(".legend button:not(.more):visible").count() > 12, `a long legend shows all entries on request (${name})`);
    await check(board, `${name}, long legend`);
    await board.close();
  }
  await own.setViewportSize(PHONE.viewport);
  await own.locator("#list .head", { hasText: "nothing-nothing" }).first().click();
  ok((await own.textContent("#list .panel:not([hidden])")).includes("nothing-".repeat(100)), "an open trace shows a long path completely");
  await check(own, "a long path on a phone");

  if (pictures) {
    stopped = false;
    visitors = [1, 2, 3].map(() => traffic(four.cdn, variants));
    await new Promise((resume) => setTimeout(resume, 60_000));
    const board = await open(`${four.console}/dashboards/experiment`);
    await shoot(board, "dashboard-experiment-four.png", { fullPage: true });
    await board.close();
    stopped = true;
    await Promise.allSettled(visitors);
  }

  const icon = await own.evaluate(async () => {
    const response = await fetch(document.querySelector("link[rel=icon]").href);
    return [response.status, response.headers.get("content-type")];
  });
  ok(icon[0] === 200 && icon[1] === "image/svg+xml", "the pages have an icon", icon);
  await own.close();
  await checkResults({ problems, ok, open, check, shoot, startCloud, send, scratch, sample: join(root, "emulator", "site"), PHONE, pictures: Boolean(pictures) });
  noProblems();
  console.log(`${passed} passed, 0 failed`);
} finally {
  stopped = true;
  await browser?.close();
  for (const child of clouds) child.kill();
  agent.destroy();
  rmSync(scratch, { recursive: true });
}
