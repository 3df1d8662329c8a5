// Tests the console with headless Chromium under traffic: figures, charts, traces, the lost connection, phone size and dark
// mode, and every widget of every dashboard. With --pictures FOLDER it writes the screenshots of the documents.
//
//     npm install --prefix target/browser playwright-core
//     cargo build --workspace && PACKAGES=target/browser node .ci/console.mjs [--pictures docs/pictures]

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { Agent, get } from "node:http";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(join(resolve(process.env.PACKAGES ?? root), "node_modules", "_"));
const { chromium } = require("playwright-core");
const nearedge = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug", "nearedge");
const flag = process.argv.indexOf("--pictures");
const pictures = flag > 0 ? resolve(process.argv[flag + 1]) : null;
// Screenshots need minutes of history, a check needs some seconds.
const seconds = pictures ? 150 : 20;

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

const ports = await Promise.all([1, 2, 3, 4].map(freePort));
const addresses = ["--edge", "--gateway", "--s3", "--console"].flatMap((name, index) => [name, `127.0.0.1:${ports[index]}`]);
const settings = ["--fault", "s3-latency=12", "--env", "cache_ttl_secs=2", "--env", "AWS_LAMBDA_LOG_LEVEL=INFO"];
const cloud = spawn(nearedge, [...addresses, ...settings], { stdio: ["ignore", "pipe", "inherit"] });
const [cdn, console_] = [ports[0], ports[3]].map((port) => `http://127.0.0.1:${port}`);
const agent = new Agent({ keepAlive: true, maxSockets: 4 });

function request(path, headers = {}) {
  return new Promise((resolve, reject) => {
    get(`${cdn}${path}`, { agent, headers }, (response) => {
      response.resume();
      response.on("end", () => resolve(response));
    }).on("error", reject);
  });
}

/** Requests both variants, v1 more often than v2, with conditional requests and missing pages. */
let stopped = false;
async function traffic() {
  const etags = new Map();
  for (let number = 0; !stopped; number++) {
    const version = number % 5 < 3 ? "v1" : "v2";
    const path = number % 17 === 0 ? "/nothing.html" : ["/test.html", "/test.png"][number % 2];
    const headers = number % 11 === 0 ? {} : { test_version: version };
    const key = `${headers.test_version}${path}`;
    if (number % 3 === 0 && etags.has(key)) headers["if-none-match"] = etags.get(key);
    const response = await request(number % 11 === 0 ? "/index.html" : path, headers);
    if (response.headers.etag) etags.set(key, response.headers.etag);
    // The rate varies, so that the graphs have a shape.
    await new Promise((resume) => setTimeout(resume, 25 + 20 * Math.sin(number / 60)));
  }
}

let browser;
let visitors = [];
try {
  await new Promise((ready, reject) => {
    cloud.on("exit", () => reject(new Error("the local cloud ended before it was ready")));
    createInterface({ input: cloud.stdout }).on("line", (line) => line.includes("nearedge is ready") && ready());
  });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
  const problems = [];
  const open = async (path, options = {}) => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("request", (request) => request.url().startsWith(console_) || problems.push(`request to another host: ${request.url()}`));
    await page.goto(`${console_}${path}`);
    await page.waitForFunction(() => document.documentElement.dataset.ready === "true", null, { timeout: 20_000 });
    return page;
  };
  const shoot = async (page, name, options) => pictures && page.screenshot({ path: join(pictures, name), ...options });
  if (pictures) mkdirSync(pictures, { recursive: true });

  const page = await open("/");
  ok((await page.textContent("#notice")).includes(`curl -H "test_version:v1" ${cdn}/test.html`), "without traffic the console shows a command to try");

  visitors = [traffic(), traffic(), traffic()];
  await page.waitForFunction(() => document.querySelectorAll("#list .head").length > 5, null, { timeout: 20_000 });
  await new Promise((resume) => setTimeout(resume, seconds * 1000));
  const tiles = Object.fromEntries(await page.$$eval("#tiles > div", (all) => all.map((tile) => [...tile.children].map((part) => part.textContent))));
  ok(Object.values(tiles).every((value) => /\d/.test(value)), "every tile shows a figure", JSON.stringify(tiles));
  const charts = await page.$$eval("#charts .plot", (all) => all.map((plot) => plot.getAttribute("aria-label")));
  ok(charts.length === 6 && charts.every(Boolean), "every chart has a text description", JSON.stringify(charts));
  ok(charts[0].includes("v1") && charts[0].includes("v2"), "the chart of requests distinguishes the variants", charts[0]);

  await page.waitForFunction(() => {
    // The first trace with a request to S3.
    const usesS3 = (head) => [...head.querySelectorAll("*")].some((part) => /^(miss|revalidated)$/.test(part.textContent));
    const head = [...document.querySelectorAll("#list .head")].find(usesS3);
    head?.click();
    return Boolean(head);
  });
  const names = await page.$$eval("#list .span", (all) => all.map((row) => row.textContent));
  for (const name of ["lambdaapi", "GET", "decision", "cache lookup", "S3.GetObject", "encoding", "post"]) {
    ok(names.some((text) => text.includes(name)), `the waterfall of a request to S3 contains the span ${name}`, names);
  }
  await page.locator("#list .span", { hasText: "S3.GetObject" }).first().click();
  const attributes = await page.textContent("#list .detail table");
  ok(attributes.includes("aws.request_id") && attributes.includes("lambda-api-2022"), "a selected span shows its attributes", attributes);
  await shoot(page, "console.png", { fullPage: true, clip: { x: 0, y: 0, width: 1280, height: 1500 } });

  await page.fill("#filter", "404");
  await page.waitForFunction(() => [...document.querySelectorAll("#list > li:not([hidden]) .head")].every((row) => row.textContent.includes("404")));
  ok(true, "the filter hides traces that do not match");

  for (const [name, options] of [
    ["console-dark.png", { colorScheme: "dark" }],
    ["console-phone.png", { colorScheme: "dark", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 }],
  ]) {
    const other = await open("/", options);
    await other.waitForFunction(() => document.querySelectorAll("#list .head").length > 5);
    const wide = await other.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    ok(wide <= 0, `no element is wider than the page (${name})`, wide);
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
    const board = await open(`/dashboards/${name}`);
    const drawn = await (await fetch(`${console_}/api/dashboards/${name}`)).json();
    const widgets = await board.$$eval(".widget", (all) => all.map((widget) => widget.textContent));
    ok(widgets.length === drawn.widgets.length && drawn.widgets.every((widget) => !widget.problem), `every widget of ${name} is drawn without a problem`, widgets.length);
    const empty = drawn.widgets.filter((widget) => widget.kind === "timeSeries" && !widget.series.some((series) => series.v.some((value) => value !== null)));
    // This run evicts nothing, has no large object and rotates no secret.
    const expected = ["Evictions", "Secrets", "Missing"];
    ok(empty.every((widget) => expected.some((start) => widget.title.startsWith(start))), `every graph of ${name} has values`, empty.map((widget) => widget.title));
    await shoot(board, `dashboard-${name}.png`, { fullPage: true });
    await board.close();
  }

  stopped = true;
  await Promise.allSettled(visitors);
  ok(problems.length === 0, "no page logs an error, and none sends a request to another host", problems.join("\n"));
  await page.bringToFront();
  cloud.removeAllListeners("exit");
  cloud.kill();
  await page.waitForFunction(() => document.querySelector("#connection").textContent.includes("disconnected"), null, { timeout: 20_000 });
  ok(true, "the console shows that the connection is lost");
  console.log(`${passed} passed, 0 failed`);
} finally {
  stopped = true;
  await browser?.close();
  cloud.kill();
  agent.destroy();
}
