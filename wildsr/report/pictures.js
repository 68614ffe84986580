// Sheets, the slider over two pictures, and the strip of all models that zooms in step. Pictures stand once, in the sheets.

function startPictures() {
  const { data, find, make, option, press } = page;
  if (!data.shots.length) return;
  const section = find("compare"), pair = find("pair"), slider = find("slider"), before = find("before"), after = find("after");
  const picture = find("picture"), sheet = find("sheet"), left = find("left"), right = find("right"), strip = find("strip");
  const degradations = find("degradation");
  const sheets = [...document.querySelectorAll(".sheet[data-sheet]")];
  let suite = null, degradation = null;

  for (const copy of document.querySelectorAll("img[data-copy]")) {
    const original = find(copy.dataset.copy);
    if (original) copy.src = original.src;
  }

  const shotsOfSuite = () => data.shots.filter((shot) => shot.suite === page.suite);
  const shotsOfPicture = () => shotsOfSuite().filter((shot) => shot.key === picture.value);

  function listPictures(select) {
    const groups = new Map();
    for (const shot of shotsOfSuite()) {
      if (!groups.has(shot.set)) groups.set(shot.set, new Map());
      groups.get(shot.set).set(shot.key, shot.image);
    }
    const wanted = select.value;
    select.replaceChildren(
      ...[...groups].map(([set, images]) => {
        const group = make("optgroup", "", { label: set });
        group.append(...[...images].map(([key, image]) => option(key, image)));
        return group;
      }),
    );
    if ([...select.options].some((one) => one.value === wanted)) select.value = wanted;
  }

  function listDegradations() {
    const names = [...new Set(shotsOfSuite().map((shot) => shot.degradation))];
    if (!names.includes(degradation)) degradation = names[names.length - 1];
    degradations.replaceChildren(
      ...names.map((name) => {
        const button = make("button", name, { type: "button" });
        button.dataset.degradation = name;
        button.addEventListener("click", () => {
          degradation = name;
          renderPictures();
        });
        return button;
      }),
    );
  }

  function sidesOf(shot) {
    const truth = data.truths[shot.truth];
    return truth && find(truth) ? [...shot.sides, { id: "truth", name: "ground truth", img: truth }] : shot.sides;
  }

  function scoreOf(side) {
    const score = side.scores && side.scores[page.metric];
    return score ? `${score}${score.includes("dB") ? "" : ` ${data.metrics[page.metric].split(" ")[0]}`}` : "";
  }

  function fill(select, sides) {
    const wanted = select.value || select.dataset.first;
    select.replaceChildren(...sides.map((side) => option(side.id, side.name)));
    select.value = sides.some((side) => side.id === wanted) ? wanted : sides[select === left ? 0 : sides.length - 1].id;
  }

  const source = (side) => find(side.img).src;

  function renderPictures() {
    const shots = shotsOfPicture();
    if (!shots.length) return;
    const shot = shots.find((one) => one.degradation === degradation) || shots[shots.length - 1];
    const buttons = [...degradations.children];
    press(buttons, (button) => button.dataset.degradation === shot.degradation);
    for (const button of buttons) button.disabled = !shots.some((one) => one.degradation === button.dataset.degradation);
    const sides = sidesOf(shot);
    fill(left, sides);
    fill(right, sides);
    const [one, other] = [left, right].map((select) => sides.find((side) => side.id === select.value));
    const [width, height] = shot.size;
    section.style.setProperty("--shape", `${width} / ${height}`);
    pair.style.maxWidth = `${Math.round(576 * Math.min(1, width / height))}px`;
    for (const [image, tag, side] of [[before, "before-tag", one], [after, "after-tag", other]]) {
      image.src = source(side);
      image.alt = `${shot.set} ${shot.image}, ${shot.degradation}: ${side.name}`;
      find(tag).textContent = side.name;
    }
    slider.setAttribute("aria-label", `Divide between ${one.name} on the left and ${other.name} on the right`);
    find("shown").textContent = `${shot.set} ${shot.image}, ${shot.degradation}`;
    strip.replaceChildren(...sides.map((side) => tile(side)));
    moveDivide();
  }

  function tile(side) {
    const button = make("button", "", { type: "button" });
    const score = scoreOf(side) || (side.id === "input" ? "low resolution" : "");
    const view = make("div", "", { className: "zoomed" });
    view.append(make("img", "", { src: source(side), alt: "", draggable: false }));
    button.append(view, make("b", side.name), make("span", score));
    const place = [[left, "left"], [right, "right"]].filter(([select]) => select.value === side.id).map(([, word]) => word);
    if (place.length) button.append(make("i", place.join(" and ")));
    button.dataset.side = side.id;
    press([button], () => right.value === side.id);
    button.addEventListener("click", () => {
      if (dragged) return;
      right.value = side.id;
      renderPictures();
      strip.querySelector('[aria-pressed="true"]').focus();
    });
    return button;
  }

  function moveDivide() {
    const share = Number(slider.value);
    pair.style.setProperty("--divide", `${share}%`);
    const name = (select) => select.selectedOptions[0].textContent;
    slider.setAttribute("aria-valuetext", `${Math.round(share)} % ${name(left)}, ${Math.round(100 - share)} % ${name(right)}`);
  }

  // Zoom: (x, y) is the corner of what is seen, in parts of the crop.

  const view = { zoom: 1, x: 0, y: 0 };
  let dragged = false;

  function look(zoom, x, y) {
    view.zoom = Math.min(16, Math.max(1, zoom));
    const most = 1 - 1 / view.zoom;
    view.x = Math.min(most, Math.max(0, x));
    view.y = Math.min(most, Math.max(0, y));
    section.style.setProperty("--zoom", view.zoom);
    section.style.setProperty("--x", `${-view.x * view.zoom * 100}%`);
    section.style.setProperty("--y", `${-view.y * view.zoom * 100}%`);
    strip.classList.toggle("closer", view.zoom > 1);
    find("zoom").textContent = `${Number(view.zoom.toFixed(1))}×`;
    find("closer").disabled = view.zoom >= 16;
    find("farther").disabled = find("whole").disabled = view.zoom <= 1;
  }

  // Keeps the point (u, v) of what is seen where it is.
  function zoomBy(factor, u = 0.5, v = 0.5) {
    const zoom = Math.min(16, Math.max(1, view.zoom * factor));
    look(zoom, view.x + u / view.zoom - u / zoom, view.y + v / view.zoom - v / zoom);
  }

  const move = (dx, dy) => look(view.zoom, view.x + dx / view.zoom, view.y + dy / view.zoom);

  find("closer").addEventListener("click", () => zoomBy(2));
  find("farther").addEventListener("click", () => zoomBy(1 / 2));
  find("whole").addEventListener("click", () => look(1, 0, 0));

  const keys = {
    "+": () => zoomBy(2), "=": () => zoomBy(2), "-": () => zoomBy(1 / 2), "−": () => zoomBy(1 / 2), 0: () => look(1, 0, 0),
    ArrowLeft: () => move(-0.2, 0), ArrowRight: () => move(0.2, 0), ArrowUp: () => move(0, -0.2), ArrowDown: () => move(0, 0.2),
  };
  strip.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || (event.key.startsWith("Arrow") && view.zoom === 1)) return;
    event.preventDefault();
    act();
  });

  strip.addEventListener("wheel", (event) => {
    const over = event.target.closest(".zoomed");
    if (!over || !(event.ctrlKey || strip.contains(document.activeElement))) return;
    event.preventDefault();
    const box = over.getBoundingClientRect();
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }, { passive: false });

  let held = null;
  strip.addEventListener("pointerdown", (event) => {
    dragged = false;
    const over = event.target.closest(".zoomed");
    if (over && view.zoom > 1 && event.button === 0) held = { x: event.clientX, y: event.clientY, box: over.getBoundingClientRect() };
  });
  addEventListener("pointermove", (event) => {
    if (!held) return;
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    if (!dragged && Math.hypot(dx, dy) < 4) return;
    dragged = true;
    move(-dx / held.box.width, -dy / held.box.height);
    Object.assign(held, { x: event.clientX, y: event.clientY });
  });
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (held = null));

  // Sheets

  function showSheets() {
    const all = sheet.value === "every";
    for (const one of sheets) one.classList.toggle("shown", one.dataset.suite === page.suite && (all || one.dataset.sheet === sheet.value));
  }

  function writeScores() {
    for (const shot of data.shots) {
      for (const side of shot.sides) {
        if (!side.scores) continue;
        const words = find(side.img).nextElementSibling;
        words.textContent = side.scores[page.metric] || "";
        words.classList.toggle("best", side.best.includes(page.metric));
      }
    }
  }

  // The pictures

  page.listeners.push(() => {
    if (suite !== page.suite) {
      suite = page.suite;
      listPictures(picture);
      listPictures(sheet);
      sheet.append(option("every", "every picture"));
      listDegradations();
      const any = shotsOfSuite().length > 0;
      section.classList.toggle("nothing", !any);
    }
    renderPictures();
    showSheets();
    writeScores();
  });
  slider.addEventListener("input", moveDivide);
  for (const select of [left, right]) select.addEventListener("change", renderPictures);
  picture.addEventListener("change", () => {
    sheet.value = picture.value;
    renderPictures();
    showSheets();
  });
  sheet.addEventListener("change", () => {
    if (sheet.value !== "every") picture.value = sheet.value;
    renderPictures();
    showSheets();
  });
  find("swap").addEventListener("click", () => {
    [left.value, right.value] = [right.value, left.value];
    renderPictures();
  });
  look(1, 0, 0);
}
