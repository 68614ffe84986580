"use strict";
document.documentElement.classList.add("js");

// What all parts of the page share: the data, what is chosen, and who wants to know of a change.
const page = { data: null, suite: "", metric: "", listeners: [] };

page.find = (id) => document.getElementById(id);

page.make = (kind, words, fields = {}) => {
  const made = Object.assign(document.createElement(kind), fields);
  made.textContent = words;
  return made;
};

page.option = (value, name) => page.make("option", name, { value });

page.svg = (kind, fields, words = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(fields)) made.setAttribute(name, value);
  made.textContent = words;
  return made;
};

// Round numbers between two others, about as many as asked for.
page.ticks = (low, high, most) => {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => power * factor >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(Number(tick.toFixed(10)));
  return found;
};

page.press = (buttons, isPressed) => {
  for (const button of buttons) button.setAttribute("aria-pressed", String(isPressed(button)));
};

document.addEventListener("DOMContentLoaded", () => {
  page.data = JSON.parse(page.find("data").textContent);
  // A page that only looks inside networks has no suites.
  page.suite = Object.keys(page.data.suites)[0] || "";
  page.metric = (page.data.suites[page.suite] || [""])[0];

  const buttonsOf = (kind) => document.querySelectorAll(`button[data-switch="${kind}"]`);

  function show() {
    for (const block of document.querySelectorAll(".block")) {
      const { suite, metric } = block.dataset;
      block.classList.toggle("shown", (!suite || suite === page.suite) && (!metric || metric === page.metric));
    }
    page.press(buttonsOf("suite"), (button) => button.dataset.to === page.suite);
    page.press(buttonsOf("metric"), (button) => button.dataset.to === page.metric);
    for (const button of buttonsOf("metric")) button.disabled = !page.data.suites[page.suite].includes(button.dataset.to);
    for (const name of document.querySelectorAll('[data-name="metric"]')) name.textContent = page.data.metrics[page.metric];
    for (const listener of page.listeners) listener();
  }

  function showView(view) {
    for (const part of document.querySelectorAll("[data-view]")) part.classList.toggle("shown", part.dataset.view === view);
    page.press(buttonsOf("view"), (button) => button.dataset.to === view);
  }

  for (const button of document.querySelectorAll("button[data-switch]")) {
    button.addEventListener("click", () => {
      const { switch: kind, to } = button.dataset;
      if (kind === "view") return showView(to);
      page[kind] = to;
      const there = page.data.suites[page.suite];
      if (there && !there.includes(page.metric)) page.metric = there[0];
      show();
    });
  }

  for (const button of document.querySelectorAll("button[data-toggle]")) {
    button.addEventListener("click", () => {
      const hidden = document.documentElement.classList.toggle(`no-${button.dataset.toggle}`);
      page.press(document.querySelectorAll(`button[data-toggle="${button.dataset.toggle}"]`), () => !hidden);
    });
  }

  for (const start of [startPictures, startDuel, startInside]) start();
  show();
});
