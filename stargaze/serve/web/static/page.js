"use strict";
// Everything here only makes livelier what works without it.

/** Ask the API until the answer is there, then put the finished page in place of the waiting one. */
async function follow(waiting) {
  const say = waiting.querySelector("[data-say]");
  const words = { queued: "Your question waits for a worker.", running: "A worker is at it." };
  let pause = 120;
  for (;;) {
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 1.4, 2000);
    try {
      const response = await fetch(waiting.dataset.poll, { headers: { Accept: "application/json" } });
      const job = await response.json();
      if (!response.ok && response.status < 500) {
        location.reload();
        return;
      }
      if (job.state === "done" || job.state === "failed") {
        await show(waiting);
        return;
      }
      if (words[job.state] && say.textContent !== words[job.state]) say.textContent = words[job.state];
    } catch (error) {
      say.textContent = "The connection is interrupted; trying again.";
    }
  }
}

/** Fetch this page once more, now with the answer, and show it without a reload; who listens hears that it is there. */
async function show(waiting) {
  const response = await fetch(waiting.dataset.page);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  document.title = fresh.title;
  const footer = fresh.querySelector("footer");
  if (footer) document.querySelector("footer").replaceWith(document.importNode(footer, true));
  const answer = fresh.querySelector("#answer");
  waiting.dataset.state = answer.dataset.state;
  waiting.removeAttribute("data-poll");
  waiting.replaceChildren(...document.importNode(answer, true).childNodes);
  prepare(waiting);
  const heading = waiting.querySelector("h1");
  document.querySelector("[data-announce]").textContent = (answer.dataset.state === "done" ? "The answer is there: " : "Failed: ") + heading.textContent;
  heading.focus({ preventScroll: true });
}

/** Ask the API and wait for its answer; gives the job, or throws what it said. */
async function askApi(url, question) {
  const asked = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
  let job = await asked.json();
  while (asked.ok && (job.state === "queued" || job.state === "running")) {
    job = await (await fetch(job.url, { headers: { Prefer: "wait=5" } })).json();
  }
  if (job.error) throw new Error([job.error.message, job.error.hint].filter(Boolean).join("; "));
  return job;
}

/** Show what a lever does beside it, without leaving the page. */
function tryLevers(form) {
  if (!form.dataset.name) return;
  const said = form.querySelector("[data-difference]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const changes = {};
    for (const name of ["readme_length", "topic_count", "license", "latest_release_at"]) {
      const value = form.elements[name].value.trim();
      if (value) changes[name] = value;
    }
    said.textContent = "Computing …";
    try {
      const job = await askApi(form.dataset.whatIf, { repositories: [form.dataset.name], what_if: changes, explain: false });
      const one = job.predictions[0];
      const found = one.what_if;
      const write = (value) => Math.round(value).toLocaleString("en");
      if (!found || !found.changes.length) said.textContent = "Nothing would be otherwise.";
      else {
        const number = Object.assign(document.createElement("b"), { textContent: `${write(one.stars)} → ${write(found.stars)} stars` });
        const texts = found.changes.map((change) => `${change.label}: ${change.before} → ${change.after}`).join("; ");
        said.replaceChildren(number, `, × ${found.factor.toFixed(2)} (range ${write(found.low)} to ${write(found.high)}). ${texts}.`);
      }
    } catch (error) {
      said.textContent = error.message;
    }
  });
}

/** Send what stands in the field, and show what comes back. */
function tryApi(form) {
  const button = form.querySelector("button");
  const said = form.querySelector("[data-said]");
  const shown = form.querySelector("pre");
  button.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const begun = performance.now();
    said.textContent = "Sent …";
    try {
      const job = await askApi(form.dataset.try, JSON.parse(form.querySelector("textarea").value));
      said.textContent = `Answered after ${Math.round(performance.now() - begun)} ms.`;
      shown.firstElementChild.textContent = JSON.stringify(job, null, 1);
      shown.hidden = false;
    } catch (error) {
      said.textContent = `Refused: ${error.message}`;
      shown.hidden = true;
    }
  });
}

/** Take the first click on a button; a second one would ask the same again. */
function once(form) {
  form.addEventListener("submit", () => setTimeout(() => { form.querySelector("button").disabled = true; }));
}

/** Add a name as a line of its own, unless it stands there already. */
function add(textarea, name) {
  const lines = textarea.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!lines.includes(name)) lines.push(name);
  textarea.value = lines.join("\n") + "\n";
}

/** Offer known names while typing; the chosen one becomes a line of the question. */
function help(find) {
  const input = find.querySelector("input");
  const list = find.querySelector("datalist");
  const textarea = document.getElementById(find.dataset.into);
  find.hidden = false;
  const take = () => {
    add(textarea, input.value.trim());
    input.value = "";
    list.replaceChildren();
  };
  input.addEventListener("input", async () => {
    const typed = input.value;
    if (Array.from(list.children).some((option) => option.value === typed)) return take();
    const response = await fetch(`${find.dataset.find}?like=${encodeURIComponent(typed)}`).catch(() => null);
    if (!response || !response.ok || input.value !== typed) return;
    const names = await response.json();
    list.replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), { value: name })));
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (input.value.trim()) take();
  });
}

function prepare(root) {
  for (const waiting of root.querySelectorAll("[data-poll]")) follow(waiting);
  for (const find of root.querySelectorAll("[data-find]")) help(find);
  for (const form of root.querySelectorAll("form.ask[method]")) once(form);
  for (const form of root.querySelectorAll("[data-what-if]")) tryLevers(form);
  for (const form of root.querySelectorAll("[data-try]")) tryApi(form);
  const textarea = root.querySelector("#repositories");
  for (const chip of root.querySelectorAll("[data-add], [data-fill]")) {
    chip.addEventListener("click", (event) => {
      event.preventDefault();
      if (chip.dataset.fill) textarea.value = chip.dataset.fill + "\n";
      else add(textarea, chip.dataset.add);
      textarea.focus();
    });
  }
}

prepare(document);
// A page that the browser kept while another was shown comes back with its buttons as they were left.
addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false; });
