// Inside the networks: channels as tiles beside a scatter of drop against score, and the dots of degradations. Sheets of tiles stand once,
// as pictures of the page, in the order of channels; a canvas shows them in the order that is chosen.

function startInside() {
  const { data, find, make, option, press, svg } = page;
  const found = data.inside;
  if (found.channels && found.channels.pictures.length) startChannels();
  if (found.clusters && found.clusters.length) startClusters();

  // Channels

  function startChannels() {
    const { pictures, models, cells } = found.channels;
    const picture = find("channel-picture"), columns = find("columns"), same = find("same-axes");
    const GAP = 3, MOST = 4;
    let map = "saliency", order = "index";
    const shown = models.slice(0, MOST).map((_, index) => new Column(index));
    columns.append(...shown.map((column) => column.card));

    function axes(of) {
      const dots = of.flatMap((cell) => cell.scores.map((score, channel) => [score, cell.drops[channel]])).filter(([, drop]) => drop !== null);
      const ends = (values) => {
        const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
        const room = (high - low || 1) * 0.05;
        return [low < 0 ? low - room : low, high + room];
      };
      return { x: ends(dots.map(([score]) => score)), y: ends(dots.map(([, drop]) => drop)) };
    }

    function render() {
      map = page.map || map;
      order = page.order || order;
      press(document.querySelectorAll('button[data-switch="map"]'), (button) => button.dataset.to === map);
      press(document.querySelectorAll('button[data-switch="order"]'), (button) => button.dataset.to === order);
      find("channel-shown").textContent = `${pictures[picture.value]}, ${map}`;
      for (const key of document.querySelectorAll(".key")) key.classList.toggle("nothing", key.dataset.key !== map);
      const there = shown.map((column) => column.cell()).filter(Boolean);
      same.classList.toggle("nothing", !there.some((cell) => cell.drops.some((drop) => drop !== null)));
      const shared = same.getAttribute("aria-pressed") === "true" && there.length ? axes(there) : null;
      for (const column of shown) column.render(shared);
    }

    function Column(model) {
      const card = make("section", "", { className: "card column" });
      const head = make("div", "", { className: "head" });
      const words = make("p", "", { className: "foot" });
      const pair = make("div", "", { className: "explore" });
      const tiles = make("div", "", { className: "tiles" });
      const canvas = make("canvas", "");
      const pick = make("i", "", { className: "pick", hidden: true });
      const plot = svg("svg", { class: "scatter", tabindex: 0, role: "application" });
      const said = make("p", "", { className: "dot-words" });
      const views = make("div", "", { className: "views" });
      let now = null, channel = null, kept = false, ring = null, at = null;
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "application");
      said.setAttribute("aria-live", "polite");
      tiles.append(canvas, pick);
      pair.append(tiles, plot);
      card.append(head, words, pair, said, views);
      if (models.length > MOST) {
        const select = make("select", "");
        select.setAttribute("aria-label", "Network");
        select.append(...models.map(({ name }, index) => option(String(index), name)));
        select.value = String(model);
        select.addEventListener("change", () => {
          model = Number(select.value);
          name();
          render();
        });
        head.append(select);
      }
      const label = make("h4", "", { className: "label" });
      head.append(label);
      name();

      function name() {
        label.replaceChildren(make("i", "", { className: `dot c${models[model].colour}` }), make("span", models[model].name));
      }

      this.card = card;
      this.cell = () => cells[`${model}|${picture.value}`];
      this.render = (shared) => {
        const next = this.cell();
        if (next !== now) kept = false;
        now = next;
        pair.classList.toggle("nothing", !now);
        views.classList.toggle("nothing", !now);
        plot.classList.toggle("nothing", !now || !ablated());
        if (!now) {
          words.textContent = `No maps of this network on ${pictures[picture.value]} are shown.`;
          said.textContent = "";
          return;
        }
        words.textContent = now.words;
        const count = now.scores.length;
        canvas.setAttribute("aria-label", `${count} channels of ${models[model].name}: arrow keys go from tile to tile`);
        plot.setAttribute("aria-label", `PSNR drop against saliency score of ${count} channels of ${models[model].name}: arrow keys go from dot to dot`);
        drawTiles();
        drawPlot(shared || axes([now]));
        if (channel === null || channel >= count) channel = now.orders.saliency[0];
        choose(channel);
      };

      const ablated = () => now.drops.some((drop) => drop !== null);
      const sequence = () => now.orders[order] || now.scores.map((_, index) => index);
      const lines = () => Math.ceil(now.scores.length / now.columns);

      // A tile of a sheet, in pixels of the sheet.
      function part(kind, index) {
        const sheet = find(now.maps[kind]);
        const [w, h] = [sheet.naturalWidth / now.columns, sheet.naturalHeight / lines()];
        return [sheet, (index % now.columns) * w, Math.floor(index / now.columns) * h, w, h];
      }

      function drawTiles() {
        const mine = now, sheet = find(now.maps[map]);
        whenReady(sheet, () => {
          if (mine !== now || sheet !== find(now.maps[map])) return;
          // Maps of few pixels are drawn larger, each pixel a square.
          const [, , , width, height] = part(map, 0);
          const times = Math.max(1, Math.floor(96 / Math.max(width, height)));
          const [w, h] = [width * times, height * times];
          canvas.width = now.columns * (w + GAP) - GAP;
          canvas.height = lines() * (h + GAP) - GAP;
          const pen = canvas.getContext("2d");
          pen.imageSmoothingEnabled = false;
          sequence().forEach((index, place) => {
            pen.drawImage(...part(map, index), (place % now.columns) * (w + GAP), Math.floor(place / now.columns) * (h + GAP), w, h);
          });
        });
      }

      function drawPlot({ x, y }) {
        const width = Math.max(200, Math.round(plot.clientWidth || 300)), height = Math.round(Math.min(width, 340));
        const sized = (tick) => (Math.abs(tick) >= 1e4 ? `${Number((tick / 1000).toFixed(3))}k` : String(tick)).replace("-", "−");
        const longest = Math.max(...page.ticks(...y, 5).map((tick) => sized(tick).length));
        const margin = { left: Math.max(30, 14 + 6.5 * longest), right: 12, top: 20, bottom: 34 };
        plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
        plot.style.aspectRatio = `${width} / ${height}`;
        const across = (score) => margin.left + ((score - x[0]) / (x[1] - x[0])) * (width - margin.left - margin.right);
        const up = (drop) => height - margin.bottom - ((drop - y[0]) / (y[1] - y[0])) * (height - margin.top - margin.bottom);
        plot.replaceChildren();
        for (const tick of page.ticks(...x, 4)) {
          plot.append(
            svg("line", { class: "grid", x1: across(tick), x2: across(tick), y1: up(y[0]), y2: up(y[1]) }),
            svg("text", { x: across(tick), y: height - margin.bottom + 14, "text-anchor": "middle" }, sized(tick)),
          );
        }
        for (const tick of page.ticks(...y, 5)) {
          plot.append(
            svg("line", { class: tick ? "grid" : "zero", x1: across(x[0]), x2: across(x[1]), y1: up(tick), y2: up(tick) }),
            svg("text", { x: margin.left - 6, y: up(tick) + 4, "text-anchor": "end" }, sized(tick)),
          );
        }
        plot.append(
          svg("text", { x: width - margin.right, y: height - 3, "text-anchor": "end" }, "saliency score →"),
          svg("text", { x: 0, y: 10 }, "↑ PSNR drop, dB"),
        );
        const points = now.scores.map((score, index) => (now.drops[index] === null ? "" : `M${across(score).toFixed(1)} ${up(now.drops[index]).toFixed(1)}h0`));
        ring = svg("circle", { class: "ring", r: 6.5, visibility: "hidden" });
        plot.append(svg("path", { class: `dots c${models[model].colour}`, d: points.join("") }), ring);
        at = (index) => (now.drops[index] === null ? null : [across(now.scores[index]), up(now.drops[index])]);
        plot.onpointermove = plot.onclick = (event) => {
          const box = plot.getBoundingClientRect();
          const [px, py] = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
          let nearest = null, least = 20;
          now.scores.forEach((_, index) => {
            const place = at(index);
            const far = place ? Math.hypot(place[0] - px, place[1] - py) : Infinity;
            if (far < least) [nearest, least] = [index, far];
          });
          point(nearest, event.type === "click");
        };
      }

      function point(index, click) {
        if (index === null) return;
        if (click) kept = !(kept && index === channel);
        else if (kept) return;
        choose(index);
      }

      function choose(index) {
        channel = index;
        const place = sequence().indexOf(index), across = now.columns, down = lines();
        pick.hidden = false;
        pick.classList.toggle("kept", kept);
        Object.assign(pick.style, {
          left: `${((place % across) / across) * 100}%`, top: `${(Math.floor(place / across) / down) * 100}%`, width: `${100 / across}%`, height: `${100 / down}%`,
        });
        const dot = at(index);
        ring.setAttribute("visibility", dot ? "visible" : "hidden");
        if (dot) [["cx", dot[0]], ["cy", dot[1]]].forEach(([field, value]) => ring.setAttribute(field, value));
        const rank = (name) => `${now.orders[name].indexOf(index) + 1} of ${now.scores.length}`;
        const drop = now.drops[index];
        const size = drop === null ? "not defined" : `${drop.toFixed(Math.abs(drop) < 0.01 ? 5 : 3).replace("-", "−")} dB (${rank("drop")})`;
        const score = now.scores[index].toLocaleString("en", { maximumSignificantDigits: 4 });
        said.textContent = `Channel ${index}: score ${score} (${rank("saliency")})${ablated() ? `, drop ${size}` : ""}`;
        views.replaceChildren(view("result", null), view("feature", index), view("saliency", index));
      }

      function view(kind, index) {
        const figure = make("figure", ""), drawn = make("canvas", "");
        drawn.setAttribute("role", "img");
        drawn.setAttribute("aria-label", index === null ? "result" : `${kind} of channel ${index}`);
        const sheet = find(now.maps[kind]), mine = now;
        whenReady(sheet, () => {
          if (mine !== now) return;
          const [, x, y, w, h] = index === null ? [null, 0, 0, sheet.naturalWidth, sheet.naturalHeight] : part(kind, index);
          [drawn.width, drawn.height] = [w, h];
          drawn.classList.toggle("few", w < 100);
          drawn.getContext("2d").drawImage(sheet, x, y, w, h, 0, 0, w, h);
        });
        figure.append(drawn, make("figcaption", kind));
        return figure;
      }

      const steps = (event, all, across) => {
        const last = all.length - 1, from = Math.max(0, all.indexOf(channel));
        const to = { ArrowRight: from + 1, ArrowLeft: from - 1, ArrowDown: from + across, ArrowUp: from - across, Home: 0, End: last }[event.key];
        if (event.key === "Escape") kept = false;
        else if (event.key === "Enter" || event.key === " ") kept = !kept;
        else if (to === undefined) return;
        event.preventDefault();
        choose(all[to < 0 || to > last ? from : to] ?? channel);
      };
      canvas.addEventListener("keydown", (event) => now && steps(event, sequence(), now.columns));
      // From dot to dot: the highest drop first.
      plot.addEventListener("keydown", (event) => now && steps(event, now.orders.drop.filter((index) => now.drops[index] !== null), 1));
      const over = (event) => {
        if (!now) return;
        const box = canvas.getBoundingClientRect();
        const column = Math.floor(((event.clientX - box.left) / box.width) * now.columns);
        const line = Math.floor(((event.clientY - box.top) / box.height) * lines());
        point(sequence()[line * now.columns + Math.min(now.columns - 1, Math.max(0, column))] ?? null, event.type === "click");
      };
      canvas.addEventListener("pointermove", over);
      canvas.addEventListener("click", over);
    }

    function whenReady(image, draw) {
      if (image.complete && image.naturalWidth) draw();
      else image.addEventListener("load", draw, { once: true });
    }

    picture.addEventListener("change", render);
    same.addEventListener("click", () => {
      press([same], () => same.getAttribute("aria-pressed") !== "true");
      render();
    });
    page.listeners.push(render);
    let waiting = 0;
    addEventListener("resize", () => {
      clearTimeout(waiting);
      waiting = setTimeout(render, 150);
    });
  }

  // Degradations

  function startClusters() {
    const figures = [...document.querySelectorAll(".cluster")].map((figure) => ({
      ...found.clusters[Number(figure.dataset.place)],
      plot: figure.querySelector("svg"), paths: [...figure.querySelectorAll(".dots")], labels: [...figure.querySelectorAll("text")],
      ring: figure.querySelector(".ring"), said: figure.querySelector(".dot-words"), points: [],
    }));
    let drawn = null;

    function render() {
      const wanted = page.embedding || drawn || Object.keys(figures[0].views)[0];
      press(document.querySelectorAll('button[data-switch="embedding"]'), (button) => button.dataset.to === wanted);
      if (wanted === drawn) return;
      drawn = wanted;
      for (const figure of figures) {
        const view = figure.views[wanted] || Object.values(figure.views)[0];
        figure.paths.forEach((path, place) => path.setAttribute("d", view.d[place]));
        figure.labels.forEach((label, place) => {
          label.setAttribute("x", view.at[place][0]);
          label.setAttribute("y", view.at[place][1]);
        });
        figure.points = view.d.flatMap((path, kind) =>
          [...path.matchAll(/M(-?\d+) (-?\d+)/g)].map(([, x, y], index) => ({ x: Number(x), y: Number(y), name: `${figure.names[kind][index]}, ${figure.kinds[kind]}` })),
        );
        figure.ring.setAttribute("visibility", "hidden");
        figure.said.textContent = wanted === "pca" && figure.share ? figure.share : figure.views[wanted] ? "Point at a dot to see which picture it is." : "Drawn otherwise: this network has no such view.";
      }
    }

    for (const figure of figures) {
      figure.plot.addEventListener("pointermove", (event) => {
        const box = figure.plot.getBoundingClientRect();
        const [x, y] = [((event.clientX - box.left) / box.width) * 1000, ((event.clientY - box.top) / box.height) * 1000];
        let nearest = null, least = 60;
        for (const dot of figure.points) {
          const far = Math.hypot(dot.x - x, dot.y - y);
          if (far < least) [nearest, least] = [dot, far];
        }
        if (!nearest) return;
        figure.ring.setAttribute("cx", nearest.x);
        figure.ring.setAttribute("cy", nearest.y);
        figure.ring.setAttribute("visibility", "visible");
        figure.said.textContent = nearest.name;
      });
    }
    page.listeners.push(render);
  }
}
