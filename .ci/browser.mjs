// Tests the CDN with headless Chromium: images, a page in a content coding, seeking in a media file, a single-page application, revalidation.
//
//   apt-get install chromium; npm install --prefix target/browser playwright-core; cargo build --workspace
//   PACKAGES=target/browser node .ci/browser.mjs
//
// It starts a local cloud on loopback, and stops it.

import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { chromium } = createRequire(join(resolve(process.env.PACKAGES ?? root), "package.json"))("playwright-core");
const nearedge = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug", "nearedge");
const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";
let passed = 0;

function ok(condition, what, found = "") {
  if (!condition) throw new Error(`${what}; found: ${found}`);
  passed += 1;
  console.log(`ok ${passed}  ${what}`);
}

/** Two minutes of a tone as WAV, 16-bit mono at 16 kHz: long enough that a seek needs bytes which are not buffered yet. */
function tone() {
  const rate = 16_000, seconds = 120, bytes = rate * seconds * 2;
  const wav = Buffer.alloc(44 + bytes);
  wav.write("RIFF", 0); wav.writeUInt32LE(36 + bytes, 4); wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16); wav.writeUInt16LE(1, 20); wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(rate, 24); wav.writeUInt32LE(rate * 2, 28); wav.writeUInt16LE(2, 32); wav.writeUInt16LE(16, 34);
  wav.write("data", 36); wav.writeUInt32LE(bytes, 40);
  for (let at = 0; at < rate * seconds; at += 1) wav.writeInt16LE(Math.round(3000 * Math.sin(at / 6)), 44 + at * 2);
  return wav;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

const site = mkdtempSync(join(tmpdir(), "site-"));
cpSync(join(root, "emulator", "site"), site, { recursive: true });
writeFileSync(join(site, "tone.wav"), tone());
const text = Array.from({ length: 3000 }, (_, line) => `<p>line ${line} of a long page</p>`).join("\n");
writeFileSync(join(site, "long.html"), `<!DOCTYPE html><meta charset="utf-8"><body>${text}`);
writeFileSync(join(site, "media.html"), '<!DOCTYPE html><video src="/tone.wav" preload="metadata" controls></video>');
writeFileSync(
  join(site, "app.html"),
  '<!DOCTYPE html><title>app</title><p id="where"></p><script>where.textContent = location.pathname</script>' +
    '<script src="/cart/missing.js"></script>',
);

const ports = [await freePort(), await freePort(), await freePort(), await freePort()];
const addresses = ["--edge", "--gateway", "--s3", "--console"].flatMap((flag, index) => [flag, `127.0.0.1:${ports[index]}`]);
const settings = ["--site", site, "--env", "spa_fallback=app.html", "--forward", "accept", "--environments", "8", "--memory", "1769"];
const cloud = spawn(nearedge, [...addresses, ...settings], { stdio: ["ignore", "pipe", "inherit"] });
const lines = [];
let browser;
try {
  await new Promise((ready, reject) => {
    cloud.on("exit", () => reject(new Error("the local cloud ended before it was ready")));
    createInterface({ input: cloud.stdout }).on("line", (line) => {
      lines.push(line);
      if (line.includes("nearedge is ready")) ready();
    });
  });
  if (!existsSync(browserPath)) throw new Error(`expected Chromium at ${browserPath}, found no file: apt-get install chromium, or set CHROMIUM`);
  const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];
  browser = await chromium.launch({ executablePath: browserPath, args: flags });
  const cdn = `http://127.0.0.1:${ports[0]}`;
  const page = await browser.newPage();

  await page.goto(`${cdn}/`, { waitUntil: "load" });
  const widths = await page.$$eval("img", (images) => images.map((image) => image.naturalWidth));
  ok(widths.length === 2 && widths.every((width) => width === 480), "the page shows the images of both variants", widths);
  await page.click('button[data-variant="v2"]');
  await page.waitForFunction(() => document.querySelector("#response img")?.naturalWidth === 480);
  ok(true, "the page shows an image that it requests with test_version");

  /** The colour of a pixel at the left edge, as the browser paints it: red, green and blue. */
  const paintedBackground = async (page) => {
    const picture = (await page.screenshot()).toString("base64");
    return page.evaluate(async (picture) => {
      const image = new Image();
      image.src = `data:image/png;base64,${picture}`;
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
      canvas.drawImage(image, 0, 0);
      return [...canvas.getImageData(2, image.height - 3, 1, 1).data].slice(0, 3);
    }, picture);
  };
  for (const [path, width] of ["/", "/v1/test.html", "/v2/test.html"].flatMap((path) => [[path, 1280], [path, 390]])) {
    await page.setViewportSize({ width, height: 844 });
    const brightness = {};
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.goto(`${cdn}${path}`, { waitUntil: "load" });
      brightness[colorScheme] = (await paintedBackground(page)).reduce((sum, part) => sum + part, 0);
    }
    ok(brightness.light > 500 && brightness.dark < 250, `${path} follows dark mode at ${width} pixels`, JSON.stringify(brightness));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    ok(wide <= 0, `${path} fits into ${width} pixels`, wide);
    const icon = await page.evaluate(async () => {
      const response = await fetch(document.querySelector("link[rel=icon]").href);
      const image = new Image();
      image.src = URL.createObjectURL(await response.blob());
      return image.decode().then(() => response.headers.get("content-type"), (error) => `not an image: ${error}`);
    });
    ok(icon === "image/svg+xml", `${path} has an icon`, icon);
  }
  ok(!lines.some((line) => line.includes("favicon.ico")), "no page requests /favicon.ico", lines);

  // The page outside the site's experiment: a bot's answer from an experiment is not stored.
  await page.goto(`${cdn}/index.html`, { waitUntil: "load" });
  await page.reload({ waitUntil: "load" });
  ok(lines.some((line) => /cdn>api GET\s+\/index.html\s.* 304 /.test(line)), "a reload gets 304", lines.slice(-8).join("\n"));

  // The function makes a copy within a budget of CPU time, so that some more requests see the page as it is stored.
  let coding = "";
  for (let attempt = 0; attempt < 300 && !coding; attempt += 1) {
    const response = await page.goto(`${cdn}/long.html?${attempt}`);
    coding = (await response.allHeaders())["content-encoding"] ?? "";
  }
  ok(coding === "br" && (await page.locator("p").count()) === 3000, "a long page arrives in Brotli, and whole", coding);

  const parts = [];
  page.on("response", (response) => {
    if (response.url().endsWith("/tone.wav")) parts.push([response.status(), response.headers()["content-range"] ?? ""]);
  });
  await page.goto(`${cdn}/media.html`);
  const media = await page.evaluate(async () => {
    const video = document.querySelector("video");
    if (video.readyState < 1) await new Promise((resolve) => video.addEventListener("loadedmetadata", resolve));
    video.currentTime = 100;
    await new Promise((resolve) => video.addEventListener("seeked", resolve));
    return [video.duration, video.currentTime, video.error?.message ?? null];
  });
  ok(media[0] === 120 && media[1] === 100 && media[2] === null, "a <video> seeks to the requested time", media);
  ok(parts.every(([status]) => status === 206), "every request of the <video> gets 206", JSON.stringify(parts));
  const starts = parts.map(([, range]) => Number(/bytes (\d+)-/.exec(range)?.[1]));
  ok(starts.some((start) => start > 1_000_000), "the seek requests a range in the middle of the file", JSON.stringify(parts));

  const statuses = new Map();
  page.on("response", (response) => statuses.set(new URL(response.url()).pathname, response.status()));
  const navigation = await page.goto(`${cdn}/cart/7`);
  ok(navigation.status() === 200, "a navigation in a single-page application gets its page");
  ok((await page.textContent("#where")) === "/cart/7", "the page sees the requested path");
  ok(statuses.get("/cart/missing.js") === 404, "a missing script is a 404, not the page", [...statuses]);
  console.log(`${passed} passed, 0 failed`);
} catch (error) {
  console.error(`FAILED: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  cloud.removeAllListeners("exit");
  cloud.kill("SIGTERM");
  await new Promise((done) => (cloud.exitCode === null ? cloud.on("exit", done) : done()));
  rmSync(site, { recursive: true });
}
