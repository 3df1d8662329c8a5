// The page of experiments: their results, live, and the state of their definition.
import { get, notice, poll } from "/connection.js";
import { showDefinition } from "/definition.js";
import { $, el, setText } from "/dom.js";
import { formatNumber } from "/format.js";
import { createExperiment, summary } from "/result.js";

const views = new Map(); // key → view
let index;

/** With several experiments, a list of links with their verdicts. */
function showIndex(experiments) {
  const entries = experiments.map((experiment) => [experiment.key, ...summary(experiment)]);
  const key = JSON.stringify(entries);
  if (key === index) return;
  index = key;
  const focused = $("index").contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  $("index").hidden = entries.length < 2;
  $("index").replaceChildren(...entries.map(([key, kind, words]) => el("li",
    el("a", { href: `#experiment-${encodeURIComponent(key)}`, "data-verdict": kind }, el("span.key", key), el("small", words)))));
  if (focused) [...$("index").querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

function show({ now_ms: now, service, page, definition, counted, experiments }) {
  setText($("service"), service);
  document.title = `${service}: experiments`;
  showDefinition(definition, now);
  showIndex(experiments);
  for (const [key, view] of views) {
    if (experiments.some((experiment) => experiment.key === key)) continue;
    view.node.remove();
    views.delete(key);
  }
  experiments.forEach((experiment, at) => {
    if (!views.has(experiment.key)) views.set(experiment.key, createExperiment(experiment.key));
    const view = views.get(experiment.key);
    view.set(experiment, page);
    // A node that is moved loses the focus.
    if ($("experiments").children[at] !== view.node) $("experiments").insertBefore(view.node, $("experiments").children[at] ?? null);
  });

  if (!definition && !experiments.length) {
    return notice("empty", "No experiments. Put a definition into the site's folder as ", el("code", "experiments.json"), ", or start the cloud with ",
      el("code", "--experiments FILE"), ".");
  }
  if (/failing|unusable/.test(definition?.state)) {
    return notice("broken", "The definition cannot be used: ", el("a", { href: "#definition" }, "see what is wrong with it"),
      definition.state === "failing" ? ". The last good one stays active." : ". No visitor is assigned.");
  }
  if (!experiments.length) return notice("empty", "The definition has no experiment: add a rule with variations, or correct the problems below.");
  const lines = `${formatNumber(counted.exposures)} exposures, ${formatNumber(counted.conversions)} conversions and ${formatNumber(counted.requests)} requests`;
  if (counted.left_out) {
    return notice("full", `The console holds ${formatNumber(counted.limit)} exposures and conversions, and ${formatNumber(counted.left_out)} newer ones are not counted here. `
      + "Restart the cloud, or run nearedge experiment report on the whole log.");
  }
  notice("", `From ${lines} that the function has logged since this cloud started; the same numbers as of nearedge experiment report.`);
}

const togglePause = poll(2000, () => get("/api/experiments"), show);
$("pause").addEventListener("click", () => setText($("pause"), togglePause() ? "Resume" : "Pause"));
