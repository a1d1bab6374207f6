"use strict";
// Progressive enhancement: every function of the page works without JavaScript too.

/** Poll the API until the job is finished, then replace the pending page by the result. */
async function follow(pending) {
  const status = pending.querySelector("[data-status]");
  const texts = { queued: "In queue…", running: "Calculating…" };
  let pause = 120;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 1.4, 2000);
    try {
      const response = await fetch(pending.dataset.poll, { headers: { Accept: "application/json" } });
      const job = await response.json();
      if (!response.ok && response.status < 500) {
        location.reload();
        return;
      }
      if (job.state === "done" || job.state === "failed") {
        await showResult(pending);
        return;
      }
      if (texts[job.state] && status.textContent !== texts[job.state]) status.textContent = texts[job.state];
    } catch (error) {
      status.textContent = "Connection lost, retrying";
    }
  }
}

/** Fetch this page again, now with the result, and show it without a reload; screen readers announce it. */
async function showResult(pending) {
  const response = await fetch(pending.dataset.page);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  document.title = page.title;
  const footer = page.querySelector("footer");
  if (footer) document.querySelector("footer").replaceWith(document.importNode(footer, true));
  const result = page.querySelector("#result");
  pending.dataset.state = result.dataset.state;
  pending.removeAttribute("data-poll");
  pending.replaceChildren(...document.importNode(result, true).childNodes);
  enhance(pending);
  const heading = pending.querySelector("h1");
  document.querySelector("[data-announce]").textContent = (result.dataset.state === "done" ? "Done: " : "Failed: ") + heading.textContent;
  heading.focus({ preventScroll: true });
}

/** Submit a request to the API and wait for the result; returns the job, or throws its error. */
async function submitToApi(url, body, signal) {
  const headers = { "Content-Type": "application/json", Prefer: "wait=5" };
  let response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal });
  let job = await response.json();
  while (response.ok && (job.state === "queued" || job.state === "running")) {
    response = await fetch(job.url, { headers: { Prefer: "wait=5" }, signal });
    job = await response.json();
  }
  if (response.status === 429) throw new Error(`Too many requests: try again in ${response.headers.get("Retry-After") || 60} s`);
  const error = job.error || (response.ok ? null : { message: job.detail || job.title, hint: job.hint });
  if (error) throw new Error([error.message, error.hint].filter(Boolean).join("; "));
  return job;
}

/** Send the request body in the text field, and show the response. */
function enhanceTryForm(form) {
  const button = form.querySelector("button");
  const status = form.querySelector("[data-status]");
  const response = form.querySelector("pre");
  button.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const start = performance.now();
    status.textContent = "Sent…";
    try {
      const job = await submitToApi(form.dataset.try, JSON.parse(form.querySelector("textarea").value));
      status.textContent = `Finished after ${Math.round(performance.now() - start)} ms.`;
      response.firstElementChild.textContent = JSON.stringify(job, null, 1);
      response.hidden = false;
    } catch (error) {
      status.textContent = `Error: ${error.message}`;
      response.hidden = true;
    }
  });
}

/** Disable the button after the first click, so that a request is submitted once. */
function preventDoubleSubmit(form) {
  form.addEventListener("submit", () => setTimeout(() => { form.querySelector("button:not([type=button])").disabled = true; }));
}

/** Add a name as a line of its own, unless it is already there. */
function addName(textarea, name) {
  const lines = textarea.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!lines.includes(name)) lines.push(name);
  textarea.value = lines.join("\n") + "\n";
}

function enhance(root) {
  for (const enhancer of window.resultEnhancers || []) enhancer(root);
  for (const pending of root.querySelectorAll("[data-poll]")) follow(pending);
  for (const form of root.querySelectorAll("form.request[method]")) preventDoubleSubmit(form);
  for (const form of root.querySelectorAll("[data-try]")) enhanceTryForm(form);
  const textarea = root.querySelector("#repositories");
  for (const chip of root.querySelectorAll("[data-add]")) {
    chip.addEventListener("click", (event) => {
      event.preventDefault();
      addName(textarea, chip.dataset.add);
      textarea.focus();
    });
  }
}

document.addEventListener("DOMContentLoaded", () => enhance(document)); // after all deferred scripts
// A page from the browser's back/forward cache still has its buttons disabled.
addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false; });
