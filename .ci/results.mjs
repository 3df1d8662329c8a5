// Tests the console's page of experiments with visitors: no visitor yet, results of all variations, a mismatch, a broken
// definition, several experiments with long keys, phone size and dark mode. console.mjs calls it.

import { cpSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LONG = "a-test-of-the-checkout-with-a-key-that-is-much-longer-than-a-phone-is-wide-2026-q4";

function rule(key, variations, weights, members = {}) {
  const meta = variations.map(([name, label]) => ({ key: name, name: label }));
  return { key, variations: variations.map((_, i) => `v${i + 1}`), weights, hashVersion: 2, meta, ...members };
}

const SIGNUP = { key: "signup", path: "/test.html" };

const definition = (...rules) => JSON.stringify({
  features: { test_version: { defaultValue: "v1", rules } },
  goals: [SIGNUP, { key: "order" }, { key: "newsletter" }],
});

/** A visitor's browser: keeps cookies. */
function browser(cdn, send) {
  const jar = new Map();
  const get = async (path, dest) => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const accept = dest === "document" ? "text/html" : "*/*";
    const response = await send(cdn + path, { accept, "sec-fetch-dest": dest, "user-agent": "Mozilla/5.0 (X11) Chrome/140.0.0.0", ...(cookie && { cookie }) });
    for (const line of response.headers["set-cookie"] ?? []) {
      const [name, value] = line.split(";")[0].split("=");
      jar.set(name, value);
    }
    return response;
  };
  return { get, variation: (key) => decodeURIComponent(jar.get("nearedge_v") ?? "").split("~").find((pair) => pair.startsWith(`${key}__`))?.split(".").pop() };
}

/** Visitors of `key` who reach the goals with the rates of their variation. */
async function visit({ cdn }, send, key, visitors, rates) {
  for (let number = 0; number < visitors; number++) {
    const visitor = browser(cdn, send);
    await visitor.get("/", "document");
    const rate = rates[visitor.variation(key)] ?? 0;
    // Spread evenly, so that few visitors show the planted rates.
    const reaches = (number * 0.618034) % 1 < rate;
    if (reaches) await visitor.get("/test.html", "document");
    if (reaches && number % 2) await visitor.get(`/.nearedge/goal/order?value=${10 + number % 30}`, "empty");
  }
}

/** Replaces a file at once: the function must not read half of it. */
function replace(file, text) {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

const texts = (page, selector) => page.$$eval(selector, (all) => all.map((node) => node.textContent));

export async function checkResults({ problems, ok, open, check, shoot, startCloud, send, scratch, sample, PHONE, pictures }) {
  const file = join(scratch, "experiments.json");
  const site = join(scratch, "three");
  cpSync(sample, site, { recursive: true });
  cpSync(join(site, "v1"), join(site, "v3"), { recursive: true });
  const three = [["control", "Blue button"], ["green", "Green button"], ["orange", "Orange button"]];
  replace(file, definition(rule("checkout-button", three, [0.34, 0.33, 0.33])));
  // Not reloaded: a broken definition must leave the last good one active, as in AWS.
  const cloud = await startCloud("--site", site, "--experiments", file, "--env", "cache_ttl_secs=0", "--no-reload");
  const address = `${cloud.console}/experiments`;
  const api = async () => (await fetch(`${cloud.console}/api/experiments`)).json();
  const page = await open(address);
  const waiting = await page.textContent(".waiting");
  ok(waiting.includes("No visitor yet") && waiting.includes(cloud.cdn) && waiting.includes("private window"), "without a visitor the page says what to do", waiting);
  await check(page, "experiments without a visitor");

  await visit(cloud, send, "checkout-button", 120, { control: 0.2, green: 0.4, orange: 0.3 });
  const state = await api();
  const [{ report, variations }] = state.experiments;
  await page.waitForFunction((visitors) => document.querySelector(".experiment h2")?.textContent.includes(`${visitors} visitors`), variations.reduce((sum, one) => sum + one.visitors, 0).toLocaleString("en-GB"));
  const rows = await page.$eval(".goal", (goal) => [...goal.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)));
  ok(rows.length === 3 && rows.every((row, i) => row[0].includes(three[i][0])), "a goal has a row for each variation", JSON.stringify(rows));
  const number = (text) => Number(text.replace(/[,+ %]/g, "").replace("−", "-"));
  ok(rows.every((row, i) => number(row[1]) === report.goals.signup[i].visitors && number(row[2]) === report.goals.signup[i].conversions), "visitors and conversions are those of the report", JSON.stringify(rows));
  ok(rows.slice(1).every((row, i) => Math.abs(number(row[4]) / 100 - report.goals.signup[i + 1].uplift) < 0.006), "the uplift is that of the report", JSON.stringify(rows));
  const verdicts = await texts(page, ".verdict");
  ok(verdicts.length === 2 && verdicts.every((text) => /^(Ship|Keep|Wait|Too few)/.test(text)), "each goal with conversions has a verdict in words", verdicts);
  ok((await texts(page, ".note")).some((text) => text.includes("No visitor has reached this goal")), "a goal without a conversion says so");
  ok((await page.textContent(".split")).includes("as planned"), "the split of visitors is as planned", await page.textContent(".split"));
  const guardrails = await page.$$eval(".guardrails tbody tr", (all) => all.map((row) => row.textContent));
  ok(guardrails.length === 3 && guardrails.every((row) => /\d ms/.test(row) && /\d k?B/.test(row)), "guardrails show failures, latency and bytes of each variation", guardrails);
  ok(/active.*for \d+ (s|min)/s.test(await page.textContent("#definition")) && (await page.textContent("#definition")).includes(state.definition.active[0].etag), "the definition shows its ETag and age", await page.textContent("#definition"));
  await check(page, "results");

  const board = await open(`${cloud.console}/dashboards/results`);
  const drawn = await (await fetch(`${cloud.console}/api/dashboards/results`)).json();
  const widgets = await board.$$eval(".widget", (all) => all.map((widget) => widget.textContent));
  ok(widgets.length > 10 && widgets.length === drawn.widgets.length && drawn.widgets.every((widget) => !widget.problem), "every widget of the dashboard results is drawn without a problem", widgets);
  const totals = widgets.filter((text) => text.startsWith("Visitors") || text.startsWith("Conversion rate of signup"));
  ok(totals.length >= 3 && totals.every((text) => three.every(([name]) => text.includes(name))), "the dashboard results shows all variations", totals);
  await check(board, "the dashboard results");
  await board.close();

  const phone = await open(address, PHONE);
  await check(phone, "results on a phone");
  const labels = await phone.$eval(".goal", (goal) => [...goal.querySelectorAll("tbody tr:nth-child(2) td")].map((cell) => getComputedStyle(cell, "::before").content));
  ok(labels.every((label) => /[a-z]/i.test(label)), "on a phone each number has a label", labels);
  ok(await phone.$eval(".goal table", (table) => table.getAttribute("role") === "table" && [...table.rows].every((row) => row.getAttribute("role") === "row")), "cards are still a table for screen readers");
  await phone.close();

  // Four experiments; the weights of one change during its phase.
  const two = [["control"], ["treatment"]];
  const members = { condition: { path: { $ne: "/none.html" } } };
  const passing = (key, weights) => ({ ...rule(key, two, weights, members), meta: two.map(([name]) => ({ key: name, passthrough: true })) });
  const four = (weights) => definition(passing("split", weights), passing(LONG, [0.5, 0.5]), passing("quiet", [0.5, 0.5]), rule("checkout-button", three, [0.34, 0.33, 0.33]));
  replace(file, four([0.95, 0.05]));
  await send(`${cloud.cdn}/test.png`);
  await page.waitForFunction(() => document.querySelectorAll("#index a").length === 4);
  await page.focus("#index li:nth-child(2) a");
  await visit(cloud, send, "split", 60, { control: 0.5, treatment: 0.5 });
  replace(file, four([0.5, 0.5]));
  await page.waitForFunction(() => document.querySelector(".mismatch"));
  const first = page.locator(".experiment").first();
  ok((await first.locator("[role=alert]").textContent()).includes("Sample-ratio mismatch"), "a mismatch is announced");
  ok(await first.locator(".verdict").count() === 0 && await first.locator(".up, .down").count() === 0, "a mismatch suppresses the verdict");
  const colours = await first.evaluate((node) => [getComputedStyle(node.querySelector(".headline")).color, getComputedStyle(node.querySelector("h2")).color]);
  ok(colours[0] !== colours[1], "a mismatch is red", colours);
  const place = await first.evaluate((node) => node.querySelector(".mismatch").getBoundingClientRect().top < node.querySelector("table").getBoundingClientRect().top);
  ok(place, "a mismatch is above all numbers");
  ok((await page.evaluate(() => document.activeElement.getAttribute("href") ?? "")).includes(LONG), "the focus stays on a link while results change", await page.evaluate(() => document.activeElement.outerHTML));
  await check(page, "four experiments and a mismatch");
  await page.setViewportSize(PHONE.viewport);
  await page.emulateMedia({ colorScheme: "dark" });
  await check(page, "four experiments on a phone");

  replace(file, "{\n  \"features\": {,}}");
  await send(`${cloud.cdn}/test.png`);
  await page.waitForFunction(() => document.querySelector("#notice").textContent.includes("cannot be used"));
  const broken = await page.textContent("#definition");
  ok(broken.includes("line 2, column 16") && broken.includes("the last good one stays active"), "a broken definition shows its place and what stays active", broken);
  ok(await page.locator(".experiment").count() === 4, "the experiments of the last good definition stay");
  await check(page, "a broken definition");
  replace(file, four([0.5, 0.5]));
  await send(`${cloud.cdn}/test.png`);
  await page.waitForFunction(() => !document.querySelector("#notice").textContent.includes("cannot be used"));
  ok((await texts(page, "#definition details li")).some((text) => text.includes("line 2, column 16")), "an error that has ended stays in the list");

  ok(problems.length === 0, "the page logs no error, gets no 4xx and sends no request to another host", problems.join("\n"));
  cloud.child.kill();
  await page.waitForFunction(() => document.querySelector("#connection").textContent.includes("disconnected"), null, { timeout: 20_000 });
  ok(await page.locator(".experiment").count() === 4, "the last results stay when the connection is lost");
  await page.close();
  problems.length = 0;

  if (!pictures) return;
  const features = { test_version: { defaultValue: "v1", rules: [rule("checkout-button", three, [0.34, 0.33, 0.33])] } };
  replace(file, JSON.stringify({ features, goals: [SIGNUP] }));
  const large = await startCloud("--site", site, "--experiments", file);
  await visit(large, send, "checkout-button", 1500, { control: 0.2, green: 0.36, orange: 0.21 });
  const picture = await open(`${large.console}/experiments`);
  await picture.waitForFunction(() => document.querySelector(".experiment h2").textContent.includes("1,500 visitors"));
  await check(picture, "results of 1,500 visitors");
  await picture.setViewportSize({ width: 1080, height: 900 });
  const height = await picture.evaluate(() => Math.ceil(document.querySelector(".experiment").getBoundingClientRect().bottom + scrollY) + 6);
  await shoot(picture, "console-experiments.png", { fullPage: true, clip: { x: 0, y: 0, width: 1080, height } });
  await picture.close();
  const pictured = await open(`${large.console}/dashboards/results`);
  await shoot(pictured, "dashboard-results.png", { fullPage: true });
  await pictured.close();
}
