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
      const ticket = await response.json();
      if (!response.ok && response.status < 500) {
        location.reload();
        return;
      }
      if (ticket.state === "done" || ticket.state === "failed") {
        await show(waiting);
        return;
      }
      if (words[ticket.state] && say.textContent !== words[ticket.state]) say.textContent = words[ticket.state];
    } catch (error) {
      say.textContent = "The connection is interrupted; trying again.";
    }
  }
}

/** Fetch this page once more, now with the answer, and show it without a reload. */
async function show(waiting) {
  const response = await fetch(location.href);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  document.title = fresh.title;
  const footer = fresh.querySelector("footer");
  if (footer) document.querySelector("footer").replaceWith(document.importNode(footer, true));
  const answer = fresh.querySelector("#answer");
  waiting.dataset.state = answer.dataset.state;
  waiting.removeAttribute("data-poll");
  waiting.replaceChildren(...document.importNode(answer, true).childNodes);
  prepare(waiting);
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
