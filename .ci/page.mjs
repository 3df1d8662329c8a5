// Checks that every page of the console must pass: legends, units, names, contrast and width.

/** Makes the charts of a page available as `window.charts`. Call it before the page is loaded. */
export function collectCharts(page) {
  return page.addInitScript(() => {
    window.charts = [];
    let wrapped;
    Object.defineProperty(window, "uPlot", {
      get: () => wrapped,
      set(original) {
        wrapped = new Proxy(original, {
          construct(target, args) {
            const chart = Reflect.construct(target, args);
            window.charts.push(chart);
            return chart;
          },
        });
      },
    });
  });
}

/** The colour of each entry of the legend of the chart whose title starts with `title`, by label. */
export function legendColours(page, title) {
  return page.evaluate((title) => {
    const box = [...document.querySelectorAll("figure, .widget")].find((one) => one.querySelector("figcaption, h2")?.textContent.startsWith(title));
    const entries = [...(box?.querySelectorAll(".legend button:not(.more)") ?? [])];
    return Object.fromEntries(entries.map((entry) => {
      const sample = getComputedStyle(entry.querySelector("i"));
      return [entry.querySelector("span").textContent, sample.borderTopWidth === "0px" ? sample.backgroundColor : sample.borderTopColor];
    }));
  }, title);
}

/** The faults of the page, as texts. */
export function faults(page) {
  return page.evaluate(() => {
    const found = [];
    const titleOf = (node) => node.closest("figure, .widget")?.querySelector("figcaption, h2")?.firstChild?.textContent ?? "?";

    for (const legend of document.querySelectorAll(".legend")) {
      const host = legend.closest("figure, .widget").getBoundingClientRect();
      const entries = [...legend.querySelectorAll("button:not(.more)")], more = legend.querySelector(".more");
      for (const entry of legend.querySelectorAll("button:not([hidden])")) {
        const box = entry.getBoundingClientRect(), label = entry.querySelector("span") ?? entry;
        if (!box.width || box.bottom > host.bottom + 1 || box.right > host.right + 1 || box.left < host.left - 1) found.push(`${titleOf(legend)}: the legend hides ${entry.textContent}`);
        if (label.scrollWidth > label.clientWidth + 1 && label.clientWidth) found.push(`${titleOf(legend)}: the legend cuts ${entry.textContent}`);
      }
      const hidden = entries.filter((entry) => entry.hidden).length;
      if (hidden !== Number(/\d+/.exec(more && !more.hidden ? more.textContent : "")?.[0] ?? 0)) found.push(`${titleOf(legend)}: the legend does not count its ${hidden} hidden entries`);
      for (const entry of entries) if (/\bnone\b|undefined|NaN|null/.test(entry.textContent)) found.push(`${titleOf(legend)}: the legend has the entry ${entry.textContent}`);
    }

    for (const chart of window.charts.filter((chart) => chart.root.isConnected)) {
      const title = titleOf(chart.root);
      chart.axes.slice(1).forEach((axis) => {
        const tick = String(axis.values(chart, [2])[0]);
        if (!axis.label && !/[^\d.,\s-]/.test(tick)) found.push(`${title}: an axis has no unit, but the tick ${tick}`);
        if (axis.label && axis.label.includes("%") && tick.includes("%")) found.push(`${title}: the unit % appears twice`);
      });
      if (title.includes(" − ")) continue; // A difference, which can be below zero.
      if (chart.scales.y.min < 0) found.push(`${title}: the axis starts at ${chart.scales.y.min}`);
      if (chart.data.slice(1).flat().some((value) => value < 0)) found.push(`${title}: a value is below zero`);
    }
    for (const title of document.querySelectorAll("h2, figcaption")) if (/%.*%/.test(title.textContent)) found.push(`the title ${title.textContent} has its unit twice`);

    for (const text of document.querySelectorAll("dt, dd, h1, h2, figcaption, nav a, th")) {
      if (text.scrollWidth > text.clientWidth + 1 && text.clientWidth) found.push(`the page cuts the text ${text.textContent}`);
    }

    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return canvas.getImageData(0, 0, 1, 1).data;
    };
    const luminance = (colour) => {
      const [r, g, b] = [...rgba(colour)].map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const backgroundOf = (node) => {
      for (let at = node; at; at = at.parentElement) {
        const { backgroundColor } = getComputedStyle(at);
        if (rgba(backgroundColor)[3] === 255) return backgroundColor;
      }
      return "white";
    };
    // WCAG 2.2, 1.4.3 and 1.4.11.
    const checkContrast = (node, colour, least, what) => {
      const [low, high] = [luminance(colour), luminance(backgroundOf(node))].sort((a, b) => a - b);
      const ratio = (high + 0.05) / (low + 0.05);
      if (ratio < least) found.push(`${what} has a contrast of ${ratio.toFixed(2)}`);
    };
    for (const node of document.body.querySelectorAll("*")) {
      const text = [...node.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data.trim()).join("");
      if (text && node.checkVisibility() && node.tagName !== "OPTION") checkContrast(node, getComputedStyle(node).color, 4.5, `the text ${text.slice(0, 40)}`);
    }
    for (const sample of document.querySelectorAll(".legend button:not([hidden])[aria-pressed=true] i, .variant i")) {
      const style = getComputedStyle(sample);
      checkContrast(sample.parentElement, style.borderTopWidth === "0px" ? style.backgroundColor : style.borderTopColor, 2.7, `the colour of ${sample.parentElement.textContent}`);
    }

    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (wide > 0) found.push(`the page is ${wide} pixels too wide`);
    return [...new Set(found)];
  });
}
