// The connection to the local cloud: polls its JSON, and shows the state of the connection and a notice.
import { $, setText } from "/dom.js";
import { formatTime } from "/format.js";

let shown;

/** Shows a notice, unless it is the same. `state` selects its colour. */
export function notice(state, ...parts) {
  const key = state + parts[0];
  if (key === shown) return;
  shown = key;
  $("notice").dataset.state = state;
  $("notice").replaceChildren(...parts);
}

function showState(state) {
  $("connection").dataset.state = state;
  setText($("connection"), state);
}

/** Fetches JSON. */
export async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return response.json();
}

/**
 * Fetches data every `periodMs` and shows it, while the page is visible. After an error it retries every second.
 *
 * Returns a function that pauses or resumes, and returns whether it is paused.
 */
export function poll(periodMs, fetchData, show) {
  let paused = false, failedSince = 0, timer;
  async function once() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      const data = await fetchData();
      if (paused) return;
      failedSince = 0;
      showState("live");
      show(data);
      setTimeout(() => { document.documentElement.dataset.ready = "true"; }, 50);
    } catch (error) {
      if (paused) return;
      failedSince ||= Date.now() / 1000;
      showState("disconnected");
      const reason = `The local cloud has not responded since ${formatTime(failedSince)} (${error.message}).`;
      notice("disconnected", `${reason} The page reconnects when it runs again.`);
    } finally {
      clearTimeout(timer);
      timer = setTimeout(once, failedSince ? 1000 : periodMs);
    }
  }
  document.addEventListener("visibilitychange", once);
  once();
  return () => {
    paused = !paused;
    showState(paused ? "paused" : "connecting");
    once();
    return paused;
  };
}
