// Shows which variation the visitor has, and which variant each part of the page is from.
const SCRIPT_VARIANT = "v2";

/** The variation: from the cookie that scripts can read, or, if cookies are blocked, from the response itself. */
function variation() {
  const cookie = document.cookie.split("; ").find((pair) => pair.startsWith("nearedge_v="));
  const assignment = cookie?.slice("nearedge_v=".length).split("~").find((pair) => pair.startsWith("sample__"));
  if (assignment) return `${assignment.slice(assignment.indexOf(".") + 1)}, by the cookie nearedge_v`;
  const [navigation] = performance.getEntriesByType("navigation");
  const timing = navigation?.serverTiming?.find((entry) => entry.name === "nearedge");
  return timing ? `${timing.description.split(".").pop()}, by the header Server-Timing` : "none";
}

async function pictureVariant() {
  const response = await fetch("/test.png");
  return response.headers.get("x-variant") ?? `HTTP ${response.status}`;
}

const page = document.documentElement.dataset.variant;
function show(part, variant) {
  const cell = document.querySelector(`[data-part="${part}"]`);
  cell.textContent = variant;
  cell.classList.toggle("differs", variant !== page);
}

document.getElementById("visitor").append(` Your variation: ${variation()}.`);
show("page", page);
show("style", getComputedStyle(document.documentElement).getPropertyValue("--variant").trim());
show("script", SCRIPT_VARIANT);
pictureVariant().then((variant) => show("picture", variant), (error) => show("picture", error.message));

// Without the assignment, the id or the preview decides again, and no cache has a page for it.
for (const link of document.querySelectorAll("[data-preview]")) {
  link.addEventListener("click", () => {
    document.cookie = "nearedge_v=; Max-Age=0; Path=/; SameSite=Lax";
  });
}

// A beacon: `keepalive` lets it finish after the visitor has left the page.
document.getElementById("like").addEventListener("click", async () => {
  const shown = document.getElementById("liked");
  try {
    const { status } = await fetch("/.nearedge/goal/like", { keepalive: true });
    shown.textContent = status === 204 ? "The beacon arrived. The first one of a visitor counts." : `The beacon failed: HTTP ${status}.`;
  } catch (error) {
    shown.textContent = `The beacon failed: ${error.message}.`;
  }
});
