// What experiments.mjs needs besides the browser: a site, the local cloud, and a proxy in front of it that records each exchange.

import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { Agent, createServer, request as send } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** How long anything may take that is waited for, in milliseconds. */
export const PATIENCE = 30_000;

/** The colour and the width of the picture of each variant; `default` is the site without a variant. */
export const LOOKS = {
  default: { colour: "rgb(95, 99, 104)", width: 480, title: "Your basket" },
  v1: { colour: "rgb(11, 87, 208)", width: 481, title: "Check out in three steps" },
  v2: { colour: "rgb(20, 108, 46)", width: 482, title: "Check out on one page" },
};

const page = (variant, body) => `<!DOCTYPE html><html lang=en data-variant=${variant}><meta charset=utf-8>
<meta name=viewport content="width=device-width"><title>${LOOKS[variant].title}</title><link rel=icon href="data:,">
<link rel=stylesheet href=/style.css><script src=/script.js></script>
<h1>${LOOKS[variant].title}</h1><p><img src=/picture.svg alt="">${body}\n`;

const PAGES = {
  "index.html": "<p><a href=/other.html>Continue</a> <a href=/offer.html?from=home>See the offer</a>",
  "other.html": "<p><a href=/>Back to the basket</a>",
  "offer.html": "<p>The offer. <a href=/>Back to the basket</a>",
  "landing.html": "<p>The other offer. <a href=/>Back to the basket</a>",
  "embedding.html": "<p><iframe src=/other.html></iframe>",
};

/** Writes a site with the variants v1 and v2, and the same objects without a variant. */
export function writeSite(folder, definition) {
  for (const [variant, { colour, width }] of Object.entries(LOOKS)) {
    const files = {
      "style.css": `html { font: 18px/1.5 system-ui, sans-serif; color: #202124 }
body { margin: 0 auto; max-width: 30rem; padding: 1rem; border-top: 12px solid ${colour} }
h1 { color: ${colour}; line-height: 1.2 } img { max-width: 100% }
a { color: white; background: ${colour}; padding: .5rem 1rem; border-radius: .5rem; text-decoration: none }\n`,
      "script.js": `window.scriptVariant = "${variant}";
addEventListener("pageshow", (event) => { window.shown = (window.shown ?? 0) + 1; window.restored = event.persisted; });\n`,
      "picture.svg": `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="160"><rect width="100%" height="100%" rx="12" fill="${colour}"/>
<text x="50%" y="50%" fill="white" font-family="sans-serif" font-size="40" text-anchor="middle" dominant-baseline="middle">${variant}</text></svg>\n`,
      ...Object.fromEntries(Object.entries(PAGES).map(([name, body]) => [name, page(variant, body)])),
    };
    const parent = variant === "default" ? folder : join(folder, variant);
    mkdirSync(parent, { recursive: true });
    for (const [name, content] of Object.entries(files)) writeFileSync(join(parent, name), content);
  }
  writeDefinition(folder, definition);
  return folder;
}

/** A rule that assigns half of the visitors to each variant. */
export const rule = (more = {}) => ({
  key: "new-checkout", variations: ["v1", "v2"], weights: [0.5, 0.5], hashVersion: 2, meta: [{ key: "control" }, { key: "treatment" }], ...more,
});
/** The variant of each variation. */
export const VARIANTS = { control: "v1", treatment: "v2" };
export const definition = (rules, experiments = []) => ({ features: { test_version: { defaultValue: null, rules } }, experiments });
/** An experiment that redirects half of the visitors of a page. */
export const landing = (origin) => ({
  key: "landing", hashAttribute: "id", hashVersion: 2, weights: [0.5, 0.5], meta: [{ key: "stay" }, { key: "go" }], persistQueryString: true,
  urlPatterns: [{ include: true, type: "simple", pattern: "/offer.html" }], variations: [{}, { urlRedirect: `${origin}/landing.html` }],
});

export function writeDefinition(folder, definition) {
  writeFileSync(join(folder, "experiments.json"), JSON.stringify(definition, null, 2));
}

/**
 * A proxy for one address, `target`, that records each request and its response in `log`. `edit` may change a response.
 * An exchange is recorded before the client has the end of the response.
 */
export async function startFront(edit = () => {}) {
  const events = new EventEmitter();
  const front = { log: [], target: null, mark: () => front.log.length, since: (mark) => front.log.slice(mark) };
  const agent = new Agent({ keepAlive: true });
  const server = createServer((request, response) => {
    const { method, url, headers } = request;
    const started = Date.now();
    const outgoing = send(front.target, { agent, method, path: url, headers }, (incoming) => {
      const answer = { status: incoming.statusCode, headers: { ...incoming.headers } };
      edit(answer);
      const chunks = [];
      incoming.on("data", (chunk) => chunks.push(chunk));
      incoming.on("end", () => {
        front.log.push({ method, path: url, sent: headers, status: answer.status, got: answer.headers, cookies: answer.headers["set-cookie"] ?? [], ms: Date.now() - started });
        delete answer.headers["transfer-encoding"];
        response.writeHead(answer.status, answer.headers);
        response.end(Buffer.concat(chunks));
        events.emit("exchange");
      });
      incoming.on("error", () => response.destroy());
    });
    outgoing.on("error", () => response.destroy());
    request.pipe(outgoing);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  front.port = server.address().port;
  front.origin = `http://127.0.0.1:${front.port}`;
  /** Waits for an exchange since `mark` that fulfils a condition. */
  front.wait = async (mark, what, condition) => {
    const signal = AbortSignal.timeout(PATIENCE);
    for (;;) {
      const found = front.since(mark).find(condition);
      if (found) return found;
      await once(events, "exchange", { signal }).catch(() => {
        const seen = front.since(mark).map(({ method, path, status }) => `${method} ${path} ${status}`);
        throw new Error(`no ${what} within ${PATIENCE} ms; found: ${seen.join(", ") || "no request"}`);
      });
    }
  };
  front.close = () => {
    agent.destroy();
    server.closeAllConnections();
    server.close();
  };
  return front;
}

/** Starts the local cloud behind a front, and waits until it is ready. */
export async function startCloud(nearedge, front, ...settings) {
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const edge = `127.0.0.1:${free.address().port}`;
  free.close();
  const addresses = ["--port-base", "0", "--edge", edge, "--public-url", front.origin];
  const child = spawn(nearedge, [...addresses, "--log", "json", ...settings], { stdio: ["ignore", "pipe", "inherit"] });
  const problems = [];
  await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`the local cloud ended before it was ready, with exit code ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const entry = JSON.parse(line);
      if (entry.type === "ready") resolve();
      if (entry.type === "handler") problems.push(line);
    });
  });
  child.removeAllListeners("exit");
  front.target = `http://${edge}`;
  const stop = async () => {
    const ended = child.exitCode === null ? once(child, "exit") : null;
    child.kill("SIGTERM");
    await ended;
  };
  return { problems, stop };
}
