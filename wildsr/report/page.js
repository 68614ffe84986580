"use strict";
document.documentElement.classList.add("js");

document.addEventListener("DOMContentLoaded", () => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const metrics = Object.keys(data.metrics);
  let metric = metrics[0];

  function press(buttons, isPressed) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(isPressed(button)));
  }

  function show(kind, value) {
    for (const part of document.querySelectorAll(`[data-${kind}]`)) part.classList.toggle("shown", part.dataset[kind] === value);
    press(document.querySelectorAll(`button[data-switch="${kind}"]`), (button) => button.dataset.to === value);
  }

  for (const button of document.querySelectorAll("button[data-switch]")) {
    button.addEventListener("click", () => {
      show(button.dataset.switch, button.dataset.to);
      if (button.dataset.switch === "metric") {
        metric = button.dataset.to;
        if (data.shots.length) renderPictures();
      }
    });
  }

  if (!data.shots.length) return;

  const pair = find("pair"), slider = find("slider"), before = find("before"), after = find("after");
  const picture = find("picture"), left = find("left"), right = find("right"), strip = find("strip");
  const degradationButtons = [...find("degradation").children];
  let degradation = degradationButtons[degradationButtons.length - 1].dataset.degradation;

  function element(kind, words, fields = {}) {
    const made = Object.assign(document.createElement(kind), fields);
    made.textContent = words;
    return made;
  }

  const option = (value, name) => element("option", name, { value });

  const groups = new Map();
  for (const shot of data.shots) {
    if (!groups.has(shot.set)) groups.set(shot.set, new Map());
    groups.get(shot.set).set(shot.key, shot.image);
  }
  for (const [set, images] of groups) {
    const group = document.createElement("optgroup");
    group.label = set;
    for (const [key, image] of images) group.append(option(key, image));
    picture.append(group);
  }

  const shotsOfPicture = () => data.shots.filter((shot) => shot.key === picture.value);

  function sidesOf(shot) {
    const truth = data.truths[shot.key];
    return truth ? [...shot.sides, { id: "truth", name: "ground truth", uri: truth }] : shot.sides;
  }

  function scoreOf(side) {
    const score = side.scores && side.scores[metric];
    return score ? `${score}${score.includes("dB") ? "" : ` ${data.metrics[metric].split(" ")[0]}`}` : "";
  }

  function fill(select, sides) {
    const wanted = select.value || select.dataset.first;
    select.replaceChildren(...sides.map((side) => option(side.id, side.name)));
    select.value = sides.some((side) => side.id === wanted) ? wanted : sides[select === left ? 0 : sides.length - 1].id;
  }

  function renderPictures() {
    const shots = shotsOfPicture();
    const shot = shots.find((one) => one.degradation === degradation) || shots[shots.length - 1];
    press(degradationButtons, (button) => button.dataset.degradation === shot.degradation);
    for (const button of degradationButtons) button.disabled = !shots.some((one) => one.degradation === button.dataset.degradation);
    const sides = sidesOf(shot);
    fill(left, sides);
    fill(right, sides);
    const [one, other] = [left, right].map((select) => sides.find((side) => side.id === select.value));
    const [width, height] = shot.size;
    pair.style.aspectRatio = `${width} / ${height}`;
    pair.style.maxWidth = `${Math.round(576 * Math.min(1, width / height))}px`;
    for (const [image, tag, side] of [[before, "before-tag", one], [after, "after-tag", other]]) {
      image.src = side.uri;
      image.alt = `${shot.set} ${shot.image}, ${shot.degradation}: ${side.name}`;
      find(tag).textContent = side.name;
    }
    slider.setAttribute("aria-label", `Divide between ${one.name} on the left and ${other.name} on the right`);
    find("shown").textContent = `${shot.set} ${shot.image}, ${shot.degradation}`;
    strip.replaceChildren(...sides.map((side) => tile(side)));
    moveDivide();
  }

  function tile(side) {
    const button = element("button", "", { type: "button" });
    const score = scoreOf(side) || (side.id === "input" ? "low resolution" : "");
    button.append(element("img", "", { src: side.uri, alt: "" }), element("b", side.name), element("span", score));
    const place = [[left, "left"], [right, "right"]].filter(([select]) => select.value === side.id).map(([, word]) => word);
    if (place.length) button.append(element("i", place.join(" and ")));
    button.dataset.side = side.id;
    press([button], () => right.value === side.id);
    button.addEventListener("click", () => {
      right.value = side.id;
      renderPictures();
      strip.querySelector(`[aria-pressed="true"]`).focus();
    });
    return button;
  }

  function moveDivide() {
    const share = Number(slider.value);
    pair.style.setProperty("--divide", `${share}%`);
    const name = (select) => select.selectedOptions[0].textContent;
    slider.setAttribute("aria-valuetext", `${Math.round(share)} % ${name(left)}, ${Math.round(100 - share)} % ${name(right)}`);
  }

  slider.addEventListener("input", moveDivide);
  for (const select of [picture, left, right]) select.addEventListener("change", renderPictures);
  for (const button of degradationButtons) {
    button.addEventListener("click", () => {
      degradation = button.dataset.degradation;
      renderPictures();
    });
  }
  find("swap").addEventListener("click", () => {
    [left.value, right.value] = [right.value, left.value];
    renderPictures();
  });
  renderPictures();
});
