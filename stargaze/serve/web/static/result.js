"use strict";
// Tabs and tooltips of a result. Without JavaScript both tabs are shown, and the numbers are in tables.

/** Select a tab by click, arrow keys, Home and End, as https://www.w3.org/WAI/ARIA/apg/patterns/tabs/ describes. */
function enhanceTabs(list) {
  const tabs = Array.from(list.querySelectorAll("[role=tab]"));
  const select = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).classList.toggle("unselected", !isChosen);
    }
  };
  list.addEventListener("click", (event) => { if (tabs.includes(event.target)) select(event.target); });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    const chosen = tabs[(next + tabs.length) % tabs.length];
    select(chosen);
    chosen.focus();
  });
}

/** Show the nearest counts of all lines beside the pointer. */
function enhanceChart(chart) {
  const series = JSON.parse(chart.dataset.points);
  const tooltip = chart.querySelector(".tooltip");
  const hide = () => {
    tooltip.hidden = true;
    for (const cursor of chart.querySelectorAll(".cursor")) cursor.setAttribute("visibility", "hidden");
  };
  const nearest = (points, at) => points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best));
  const show = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const pointer = (event.clientX - box.left) / box.width;
    const anchor = nearest(series.flatMap(([, points]) => points), pointer)[0];
    const near = series.map(([name, points]) => [name, nearest(points, anchor)]).filter(([, point]) => Math.abs(point[0] - anchor) < 0.02);
    tooltip.replaceChildren(...near.map(([name, [, day, stars]]) => {
      const line = document.createElement("div");
      line.textContent = series.length > 1 ? `${name}, ${day}: ${stars}` : `${day}: ${stars} ${stars === "1" ? "star" : "stars"}`;
      return line;
    }));
    tooltip.hidden = false;
    const cursor = event.currentTarget.querySelector(".cursor");
    cursor.setAttribute("x1", `${100 * anchor}%`);
    cursor.setAttribute("x2", `${100 * anchor}%`);
    cursor.setAttribute("visibility", "visible");
    const room = chart.getBoundingClientRect().width - tooltip.offsetWidth;
    tooltip.style.left = `${Math.max(0, Math.min(room, anchor * box.width - tooltip.offsetWidth / 2))}px`;
    tooltip.style.top = `${event.currentTarget.getBoundingClientRect().top - chart.getBoundingClientRect().top + 4}px`;
  };
  for (const plot of chart.querySelectorAll("svg.plot")) {
    plot.addEventListener("pointermove", show);
    plot.addEventListener("pointerdown", show);
    plot.addEventListener("pointerleave", hide);
  }
}

window.resultEnhancers = [...(window.resultEnhancers || []),
  (root) => { for (const list of root.querySelectorAll("[data-tabs]")) enhanceTabs(list); },
  (root) => { for (const chart of root.querySelectorAll("[data-points]")) enhanceChart(chart); },
];
