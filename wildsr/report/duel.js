// Two methods, picture by picture. All numbers of the table are words from the data; only their sign turns with the pair.

function startDuel() {
  const { data, find, make, option, svg, ticks } = page;
  const first = find("first"), second = find("second"), under = find("under"), plot = find("scatter");
  if (!first || !Object.keys(data.duels).length) return;
  let suite = null, dots = [], at = -1, to = null;

  const now = () => data.duels[page.suite];
  const metric = () => now().metrics[page.metric] || Object.values(now().metrics)[0];

  function listChoices() {
    const duel = now();
    const names = duel.methods.map(([name]) => name);
    for (const [select, place] of [[first, 0], [second, 1]]) {
      const wanted = select.value;
      select.replaceChildren(...names.map((name) => option(name, name)));
      select.value = names.includes(wanted) ? wanted : names[duel.pair[place]];
    }
    under.replaceChildren(option("", "every degradation"), ...duel.degradations.map(([name], index) => option(String(index), name)));
  }

  const turned = (words) => (words.startsWith("+") ? `−${words.slice(1)}` : words.startsWith("−") ? `+${words.slice(1)}` : words);

  // The pair as it is asked for: lines of [n, mean, low, high, p, adjusted p, who is better], and both ends.
  function fetchPair(a, b) {
    const { pairs } = metric();
    if (`${a}-${b}` in pairs) return { ...pairs[`${a}-${b}`], flipped: false };
    const { lines, ends } = pairs[`${b}-${a}`];
    return {
      lines: lines.map(([n, mean, low, high, p, adjusted, better]) => [n, turned(mean), turned(high), turned(low), p, adjusted, -better]),
      ends: [ends[1], ends[0]].map((end) => end.map(([d, p, words]) => [d, p, turned(words)])),
      flipped: true,
    };
  }

  const indexOf = (select) => now().methods.findIndex(([name]) => name === select.value);

  function render() {
    const duel = now();
    find("duel").classList.toggle("nothing", !duel);
    if (!duel) return;
    const a = indexOf(first), b = indexOf(second);
    const same = a === b;
    for (const id of ["paired", "ends"]) find(id).replaceChildren();
    drawDots(a, b);
    if (same) {
      find("paired").append(tableRow("choose two different models", ["", "", "", ""]));
      return;
    }
    const pair = fetchPair(a, b);
    const names = [["mean of all", "mean over all degradations, of pictures that have all"], ...duel.degradations];
    find("paired").append(
      ...pair.lines.map(([n, mean, low, high, p, adjusted, better], index) => {
        const row = tableRow(names[index][0], [n, mean, p, index ? adjusted : ""], names[index][1]);
        const gain = row.children[2];
        gain.className = better > 0 ? "up s3 sure" : better < 0 ? "down s3 sure" : "";
        if (better) gain.append(make("span", "*", { className: "star" }));
        if (low) gain.append(make("i", `${low} … ${high}`));
        if (!index) row.className = "all";
        return row;
      }),
    );
    const [gains, losses] = pair.ends;
    find("ends").replaceChildren(
      ...[[`Where ${first.value} gains most`, gains], [`Where ${second.value} gains most`, losses]].map(([title, end]) => {
        const part = make("section", "");
        part.append(make("h3", title), ...(end.length ? end.map((one) => closeUp(one, a, b, pair.flipped)) : [make("p", "nowhere", { className: "notes" })]));
        return part;
      }),
    );
  }

  function tableRow(label, cells, long = "") {
    const row = make("tr", "");
    const head = make("th", "", { scope: "row" });
    head.append(make("abbr", label, { title: long }));
    row.append(head, ...cells.map((words) => make("td", String(words))));
    return row;
  }

  function closeUp([d, p, words], a, b, flipped) {
    const duel = now(), [set, image] = duel.pictures[p];
    const figure = make("figure", "", { className: "close" });
    const caption = make("figcaption", `${set} ${image}, ${duel.degradations[d][0]} `);
    caption.append(make("b", `${words}${metric().unit}`));
    const crops = data.close[`${page.suite}|${Math.min(a, b)}-${Math.max(a, b)}|${d}|${p}`];
    if (crops) {
      const line = make("div", "");
      const shown = [[first.value, flipped ? crops.second : crops.first], [second.value, flipped ? crops.first : crops.second], ["ground truth", crops.truth]];
      for (const [name, uri] of shown.filter(([, uri]) => uri)) {
        const part = make("span", "");
        part.append(make("img", "", { src: uri, alt: `${set} ${image}, ${duel.degradations[d][0]}: ${name}` }), make("small", name));
        line.append(part);
      }
      figure.append(line);
    }
    figure.append(caption);
    return figure;
  }

  // The scatter

  function drawDots(a, b) {
    const duel = now(), { values, title, sign, decimals } = metric();
    dots = [];
    duel.degradations.forEach(([name], d) => {
      if (under.value !== "" && Number(under.value) !== d) return;
      duel.pictures.forEach(([set, image], p) => {
        const y = values[a][d][p], x = values[b][d][p];
        if (x !== null && y !== null) dots.push({ x, y, name: `${set} ${image}, ${name}`, gain: sign * (y - x) });
      });
    });
    dots.sort((one, other) => other.gain - one.gain);
    at = -1;
    to = null;
    const width = Math.max(260, Math.round(plot.clientWidth || 460)), height = Math.round(Math.min(width * 0.92, 460));
    const margin = { left: 46, right: 12, top: 10, bottom: 42 };
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    plot.style.aspectRatio = `${width} / ${height}`;
    plot.replaceChildren();
    find("dot").textContent = dots.length ? "Point at a dot, or step through them with the arrow keys." : "No picture has both.";
    find("scatter-legend").replaceChildren();
    find("scatter-title").replaceChildren(
      make("b", `${first.value} against ${second.value}`), document.createTextNode(`, ${title}: each dot a picture under one degradation`),
    );
    if (!dots.length || a === b) return;
    const all = dots.flatMap(({ x, y }) => [x, y]);
    let [low, high] = [Math.min(...all), Math.max(...all)];
    const room = (high - low || 1) * 0.05;
    [low, high] = [low - room, high + room];
    const across = (value) => margin.left + ((value - low) / (high - low)) * (width - margin.left - margin.right);
    const up = (value) => height - margin.bottom - ((value - low) / (high - low)) * (height - margin.top - margin.bottom);
    for (const tick of ticks(low, high, 5)) {
      plot.append(
        svg("line", { class: "grid", x1: across(tick), x2: across(tick), y1: up(low), y2: up(high) }),
        svg("line", { class: "grid", x1: across(low), x2: across(high), y1: up(tick), y2: up(tick) }),
        svg("text", { x: across(tick), y: height - margin.bottom + 16, "text-anchor": "middle" }, String(tick)),
        svg("text", { x: margin.left - 7, y: up(tick) + 4, "text-anchor": "end" }, String(tick)),
      );
    }
    plot.append(
      svg("line", { class: "zero", x1: across(low), y1: up(low), x2: across(high), y2: up(high) }),
      svg("text", { class: "strong", x: width - margin.right, y: height - 6, "text-anchor": "end" }, `${second.value} →`),
      svg("text", { class: "strong", x: 4, y: margin.top + 4, "text-anchor": "start" }, `↑ ${first.value}`),
    );
    // A line of no length with a round end is a dot: thousands are two paths.
    for (const [who, select, wins] of [[a, first, (gain) => gain > 0], [b, second, (gain) => gain < 0]]) {
      const mine = dots.filter(({ gain }) => wins(Number(gain.toFixed(decimals))));
      const points = mine.map(({ x, y }) => `M${across(x).toFixed(1)} ${up(y).toFixed(1)}h0`).join("");
      plot.append(svg("path", { class: `dots c${duel.methods[who][1]}`, d: points }));
      const item = make("li", "");
      const label = make("span", "", { className: "label" });
      label.append(make("i", "", { className: `dot c${duel.methods[who][1]}` }), make("span", `${select.value} better: ${mine.length} of ${dots.length}`));
      item.append(label);
      find("scatter-legend").append(item);
    }
    const ring = svg("circle", { class: "ring", r: 7, visibility: "hidden" });
    plot.append(ring);
    to = (index) => {
      at = Math.min(dots.length - 1, Math.max(0, index));
      const dot = dots[at], difference = dot.y - dot.x;
      ring.setAttribute("cx", across(dot.x));
      ring.setAttribute("cy", up(dot.y));
      ring.setAttribute("visibility", "visible");
      const sized = Math.abs(difference).toFixed(decimals);
      const gain = Number(sized) === 0 ? `±${sized}` : `${difference > 0 ? "+" : "−"}${sized}`;
      find("dot").textContent = `${dot.name}: ${dot.y.toFixed(decimals)} against ${dot.x.toFixed(decimals)}, ${gain}${metric().unit}`;
    };
    plot.onpointermove = plot.onclick = (event) => {
      const box = plot.getBoundingClientRect();
      const [x, y] = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
      let nearest = -1, least = 24;
      dots.forEach((dot, index) => {
        const far = Math.hypot(across(dot.x) - x, up(dot.y) - y);
        if (far < least) [nearest, least] = [index, far];
      });
      if (nearest >= 0) to(nearest);
    };
  }

  plot.addEventListener("keydown", (event) => {
    const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: dots.length - 1 }[event.key];
    if (next === undefined || !to) return;
    event.preventDefault();
    to(next);
  });

  page.listeners.push(() => {
    if (suite !== page.suite && now()) listChoices();
    suite = page.suite;
    render();
  });
  for (const select of [first, second, under]) select.addEventListener("change", render);
  find("turn").addEventListener("click", () => {
    [first.value, second.value] = [second.value, first.value];
    render();
  });
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => now() && drawDots(indexOf(first), indexOf(second)), 150);
  });
}
