"use strict";
// What-ifs: the estimate follows the controls, and their values are in the address. Without JavaScript the form is submitted.

const PAUSE = 200; // after the last key [ms]

/** Return remarks about changed values that are unusual or outside of the training data. */
function describeOutside({ notes = [], out_of_range: outside = [] }) {
  const remarks = notes.map((note) => ` It ${note}.`).join("");
  if (!outside.length) return remarks;
  const texts = outside.map(({ label, value, low, high }) => `${label}: ${value} (${low ? `training data: ${low} to ${high}` : "not in the training data"})`);
  return `${remarks} Outside the training data, less reliable: ${texts.join("; ")}.`;
}

/** Return the difference as text nodes. */
function describeWhatIf({ expected_stars: before, what_if: changed }) {
  if (!changed || !changed.changes.length) return ["No change."];
  const changes = changed.changes.map((change) => `${change.label}: ${change.before} → ${change.after}`).join("; ");
  const factor = changed.factor.toLocaleString("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
  const format = (value) => Math.round(value).toLocaleString("en");
  if (format(before) === format(changed.expected_stars) && factor === "1.00") return [`No change. ${changes}.${describeOutside(changed)}`];
  const noun = format(changed.expected_stars) === "1" ? "star" : "stars";
  const counts = Object.assign(document.createElement("b"), { textContent: `${format(before)} → ${format(changed.expected_stars)} ${noun}` });
  const interval = `${format(changed.interval_low)}–${format(changed.interval_high)}`;
  return [counts, `, × ${factor} (interval ${interval}). ${changes}.${describeOutside(changed)}`];
}

function enhanceWhatIf(form) {
  const difference = form.querySelector("[data-difference]");
  const controls = Array.from(form.querySelectorAll("[data-original]"));
  let timer = 0;
  let running = null;
  const showError = (control, text) => {
    form.querySelector(`#${CSS.escape(control.id)}-error`).textContent = text.slice(0, 1).toUpperCase() + text.slice(1);
    if (text) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  };
  const withLabels = (message) => controls.reduce((text, control) => (control.name.includes("_") ? text.replaceAll(control.name, `“${control.dataset.label}”`) : text), message);
  const update = async (edited) => {
    clearTimeout(timer);
    if (running) running.abort();
    running = new AbortController();
    const signal = running.signal;
    const changed = controls.filter((control) => control.value.trim() && control.value.trim() !== control.dataset.original);
    const values = Object.fromEntries(changed.map((control) => [control.name, control.value.trim()]));
    const query = new URLSearchParams(values).toString();
    const path = new URL(form.action).pathname;
    history.replaceState(history.state, "", query ? `${path}?${query}` : path);
    form.querySelector(".error")?.remove(); // of the address with which the page was loaded
    for (const control of controls) showError(control, "");
    if (!changed.length) {
      difference.textContent = edited ? "No change." : "";
      return;
    }
    try {
      const body = { ...JSON.parse(form.dataset.request), what_if: values, explain: false };
      const { predictions } = await submitToApi(form.dataset.whatIf, body, signal);
      if (!signal.aborted) difference.replaceChildren(...describeWhatIf(predictions[0]));
    } catch (error) {
      if (signal.aborted) return;
      difference.textContent = "";
      const named = changed.find((control) => error.message.includes(control.name));
      showError(named || (changed.includes(edited) ? edited : changed[0]), error instanceof TypeError ? "Connection lost, try again" : withLabels(error.message));
    }
  };
  for (const control of controls) {
    control.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(update, control.tagName === "SELECT" ? 0 : PAUSE, control);
    });
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    update(controls[0]);
  });
  form.querySelector("[data-reset]").addEventListener("click", (event) => {
    event.preventDefault();
    for (const control of controls) control.value = control.dataset.original;
    update(null);
    controls[0].focus();
  });
}

window.resultEnhancers = [...(window.resultEnhancers || []),
  (root) => { for (const form of root.querySelectorAll("[data-what-if]")) enhanceWhatIf(form); },
];
