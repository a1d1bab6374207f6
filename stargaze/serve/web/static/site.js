"use strict";
// Suggestions while typing, and the example of the landing page. Without JavaScript the pages have links instead.

const SUGGEST_AFTER = 120; // [ms]
const EXAMPLE_ATTEMPTS = 12;

/** Return the line of the text in which the cursor is: its text, begin and end. */
function lineAtCursor(textarea) {
  const begin = textarea.value.lastIndexOf("\n", textarea.selectionStart - 1) + 1;
  const found = textarea.value.indexOf("\n", begin);
  const end = found < 0 ? textarea.value.length : found;
  return { begin, end, text: textarea.value.slice(begin, end).trim() };
}

/** Suggest known names for the line that is being typed, and GitHub's search. */
function enhanceSuggestions(textarea) {
  const list = textarea.form.querySelector("[data-suggestions]");
  const status = textarea.form.querySelector("[data-suggested]");
  let timer = 0;
  const hide = () => { list.hidden = true; list.replaceChildren(); status.textContent = ""; };
  const choose = (name) => {
    const line = lineAtCursor(textarea);
    textarea.setRangeText(`${name}\n`, line.begin, Math.min(line.end + 1, textarea.value.length), "end");
    hide();
    textarea.focus();
  };
  const suggest = async () => {
    const { text } = lineAtCursor(textarea);
    if (text.length < 2 || text.includes(":")) return hide();
    const response = await fetch(`${textarea.dataset.suggest}?query=${encodeURIComponent(text)}`).catch(() => null);
    if (!response || !response.ok || lineAtCursor(textarea).text !== text) return;
    const names = await response.json();
    if (names.includes(text)) return hide();
    const buttons = names.map((name) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.addEventListener("click", () => choose(name));
      return button;
    });
    const search = Object.assign(document.createElement("a"), {
      href: `${textarea.dataset.search}?query=${encodeURIComponent(text)}`,
      textContent: `Search GitHub for “${text}”`,
    });
    list.replaceChildren(...buttons, search);
    list.hidden = false;
    status.textContent = names.length === 1 ? "1 suggestion" : `${names.length} suggestions`;
  };
  textarea.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(suggest, SUGGEST_AFTER);
  });
  textarea.form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || list.hidden) return;
    hide();
    textarea.focus();
  });
}

/** Show the example as soon as it is calculated. */
async function showExample(section) {
  for (let attempt = 1; attempt <= EXAMPLE_ATTEMPTS; attempt += 1) {
    await new Promise((resolve) => setTimeout(resolve, 400 * attempt));
    const response = await fetch(section.dataset.example).catch(() => null);
    if (!response || !response.ok) continue;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const example = page.getElementById("example");
    if (!example || !("example" in example.dataset)) {
      if (example) section.replaceChildren(...document.importNode(example, true).childNodes);
      return;
    }
  }
}

window.resultEnhancers = window.resultEnhancers || [];
window.resultEnhancers.push((root) => {
  for (const textarea of root.querySelectorAll("[data-suggest]")) enhanceSuggestions(textarea);
  for (const section of root.querySelectorAll("[data-example]")) showExample(section);
});
