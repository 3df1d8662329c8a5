// The state of the definition of experiments: what is active, since when, and what is wrong with it.
import { $, el } from "/dom.js";
import { formatAge, formatDay, formatTime, NO_VALUE } from "/format.js";

// The states of the server: the words of the page, and whether they are good or bad news.
const STATES = {
  active: ["active", "good"],
  changing: ["a change takes effect with the next requests", "warn"],
  failing: ["broken: the last good one stays active", "bad"],
  unusable: ["cannot be used: no visitor is assigned", "bad"],
  "not loaded": ["not loaded yet", "warn"],
};

const at = (ms) => `${formatDay(ms / 1000)}, ${formatTime(ms / 1000)}`;

function pair(term, ...values) {
  return el("div", el("dt", term), el("dd", {}, ...values));
}

function age(ms, now) {
  return el("time", { datetime: new Date(ms).toISOString(), title: at(ms) }, formatAge(now - ms));
}

/** The last time that an element was shown, as JSON; an equal state is not drawn again, so that a selection stays. */
let shown;

/** Shows the definition; `null` if the function has none. */
export function showDefinition(definition, now) {
  const section = $("definition");
  section.hidden = !definition;
  if (!definition) return;
  // Ages change each second at first, and then each minute.
  const key = JSON.stringify([definition, ...definition.active.map((one) => formatAge(now - one.since_ms))]);
  if (key === shown) return;
  shown = key;
  const { stored, active, failures, problems } = definition;
  const [words, kind] = STATES[definition.state] ?? [definition.state, "warn"];
  const versions = active.flatMap((one, i) => [
    ...(i ? [", "] : []), el("code", one.etag ?? "no ETag"), " for ", age(one.since_ms, now),
    ...(active.length > 1 ? [` in ${one.environments} of ${active.reduce((all, { environments }) => all + environments, 0)} environments`] : []),
  ]);
  const rows = [
    pair("State", el("span", { class: `pill ${kind}`, role: "status" }, words)),
    pair("Active version (ETag)", ...(versions.length ? versions : [NO_VALUE])),
  ];
  if (stored) {
    const isActive = active.some(({ etag }) => etag === stored.etag);
    rows.push(pair("In the bucket", ...(stored.etag
      ? [isActive ? "the same, changed " : "", ...(isActive ? [] : [el("code", stored.etag), ", changed "]), age(stored.modified_ms, now), " ago"]
      : ["no such object"])));
  }
  const list = (items, name) => items.length ? [el("ul", { class: name }, ...items)] : [];
  const persisting = failures.filter(({ persists }) => persists), past = failures.filter(({ persists }) => !persists);
  // A failure of the function repeats a problem that the file has.
  const known = (message) => problems.some((problem) => message.includes(problem));
  section.replaceChildren(
    el("h2", { id: "definition-title" }, "Definition ", el("code", definition.key)),
    el("dl.facts", {}, ...rows),
    ...list(persisting.filter(({ message }) => !known(message)).map(({ message, last_ms }) => el("li", `${at(last_ms)}: ${message}`)), "errors"),
    ...list(problems.map((problem) => el("li", problem)), stored && !stored.usable ? "errors" : "warnings"),
    ...(past.length ? [el("details", el("summary", `${past.length} earlier ${past.length === 1 ? "error" : "errors"}`),
      ...list(past.map(({ message, last_ms }) => el("li", `${at(last_ms)}: ${message}`)), "past"))] : []),
  );
}
