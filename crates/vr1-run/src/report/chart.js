// Curves as SVG, drawn to the width they have.

const HEIGHT = 210;
const MARGIN = { left: 52, right: 10, top: 8, bottom: 24 };

const ticks = (low, high, most) => {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough) || rough;
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(Math.abs(n) < 1e-9 ? 0 : n * step);
  return found;
};

const range = (values, room) => {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high || (low === 0 && high === 0)) return [0, 1];
  const size = high / 2 - low / 2;
  const pad = size > 0 ? size * 2 * room : Math.max(Math.abs(low) * 0.1, 1e-6);
  return [low - pad, high + pad];
};

// The mean over a window of a tenth of the points.
const smoothed = (points) => {
  const half = Math.max(2, Math.floor(points.length / 20));
  return points.map(([x], index) => {
    const near = points.slice(Math.max(0, index - half), index + half + 1).filter(([, y]) => y !== null);
    return [x, near.length ? near.reduce((sum, [, y]) => sum + y / near.length, 0) : null];
  });
};

const path = (points, at) => {
  let open = false;
  let text = "";
  for (const [x, y] of points) {
    if (y === null) { open = false; continue; }
    text += `${open ? "L" : "M"}${at.x(x).toFixed(1)} ${at.y(y).toFixed(1)}`;
    open = true;
  }
  return text;
};

const colour = (series, index) => `var(--s${(series.colour ?? index) % 10})`;

// A figure whose curves can be changed by `update`.
const chart = (first) => {
  let curves = first;
  const hidden = new Set();
  const legend = h("div", { class: "legend" });
  const holder = h("div", { class: "plot" });
  const tip = h("div", { class: "tip num", hidden: true });
  const says = h("div", null);
  const unit = h("span", null, first.unit);
  const figure = h("figure", { class: "card chart", "data-chart": first.id }, h("figcaption", null, h("h3", null, first.title), unit), legend, holder, says);
  let width = 0;

  const shown = () => curves.series.map((series, index) => ({ series, index })).filter(({ series }) => !hidden.has(series.name));

  const stacked = (visible) => {
    const sums = new Map();
    return visible.map(({ series, index }) => {
      const layer = series.points.map(([x, y]) => {
        const below = sums.get(x) || 0;
        sums.set(x, below + (y || 0));
        return [x, below, below + (y || 0)];
      });
      return { series, index, layer };
    });
  };

  const draw = () => {
    if (!width) return;
    const visible = shown();
    const layers = curves.stacked ? stacked(visible) : [];
    const xs = visible.flatMap(({ series }) => series.points.map(([x]) => x));
    const bands = visible.flatMap(({ series }) => series.band || []);
    const ys = curves.stacked ? [0, ...layers.flatMap(({ layer }) => layer.map(([, , top]) => top))]
      : visible.flatMap(({ series }) => series.points.map(([, y]) => y)).concat(bands.flatMap(([, low, high]) => [low, high]));
    const [x0, x1] = range(xs, 0);
    let [y0, y1] = range(ys, 0.06);
    if (curves.stacked) y0 = 0;
    const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
    const at = {
      x: (x) => MARGIN.left + (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5) * inner.w,
      y: (y) => MARGIN.top + (1 - (y - y0) / (y1 - y0)) * inner.h,
    };
    const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": curves.title });
    for (const y of ticks(y0, y1, 5)) {
      picture.append(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at.y(y), y2: at.y(y) }),
        svg("text", { x: MARGIN.left - 6, y: at.y(y) + 4, "text-anchor": "end" }, number(y, 3)));
    }
    for (const x of x1 > x0 ? ticks(x0, x1, Math.max(2, inner.w / 80)).filter(Number.isInteger) : [x0]) {
      picture.append(svg("text", { x: at.x(x), y: HEIGHT - 6, "text-anchor": "middle" }, number(x)));
    }
    for (const { index, series, layer } of layers) {
      const top = layer.map(([x, , high]) => `${at.x(x).toFixed(1)} ${at.y(high).toFixed(1)}`);
      const below = layer.map(([x, low]) => `${at.x(x).toFixed(1)} ${at.y(low).toFixed(1)}`).reverse();
      const area = svg("path", { d: `M${top.concat(below).join("L")}Z`, "data-series": series.name });
      area.style.fill = colour(series, index);
      area.style.fillOpacity = 0.75;
      if (layer.length === 1) picture.append(bar(layer[0], at, index, series));
      picture.append(area);
    }
    if (!curves.stacked) visible.forEach(({ series, index }) => line(picture, series, index, at));
    picture.append(svg("line", { class: "at", y1: MARGIN.top, y2: MARGIN.top + inner.h, visibility: "hidden" }));
    picture.addEventListener("pointermove", (event) => point(event, picture, at, visible));
    picture.addEventListener("pointerdown", (event) => point(event, picture, at, visible));
    picture.addEventListener("pointerleave", () => { tip.hidden = true; picture.querySelector(".at").setAttribute("visibility", "hidden"); });
    holder.replaceChildren(picture, tip);
  };

  // A stack of a single step is no area.
  const bar = ([x, low, high], at, index, series) => {
    const block = svg("rect", { x: at.x(x) - 20, width: 40, y: at.y(high), height: Math.max(0, at.y(low) - at.y(high)) });
    block.style.fill = colour(series, index);
    return block;
  };

  const line = (picture, series, index, at) => {
    const stroke = (points, width, opacity, dashes) => {
      const drawn = svg("path", { d: path(points, at), fill: "none", "stroke-width": width, "stroke-opacity": opacity, "stroke-linejoin": "round", "stroke-dasharray": dashes, "data-series": series.name });
      drawn.style.stroke = colour(series, index);
      picture.append(drawn);
    };
    if (series.band) {
      const top = series.band.map(([x, , high]) => `${at.x(x).toFixed(1)} ${at.y(high).toFixed(1)}`);
      const below = series.band.map(([x, low]) => `${at.x(x).toFixed(1)} ${at.y(low).toFixed(1)}`).reverse();
      const area = svg("path", { d: `M${top.concat(below).join("L")}Z` });
      area.style.fill = colour(series, index);
      area.style.fillOpacity = 0.18;
      picture.append(area);
    }
    const many = series.points.length > 30 && !series.dots;
    if (many) stroke(series.points, 1, series.band ? 0 : 0.3);
    stroke(many ? smoothed(series.points) : series.points, 1.9, 1, series.dots ? "4 4" : null);
    const known = series.points.filter(([, y]) => y !== null);
    if (series.dots || known.length === 1) {
      for (const [x, y] of known) {
        const dot = svg("circle", { cx: at.x(x), cy: at.y(y), r: known.length > 40 ? 2 : 3.6 });
        dot.style.fill = colour(series, index);
        picture.append(dot);
      }
    }
  };

  const point = (event, picture, at, visible) => {
    const box = picture.getBoundingClientRect();
    const mouse = event.clientX - box.left;
    const xs = [...new Set(visible.flatMap(({ series }) => series.points.map(([x]) => x)))];
    if (!xs.length) return;
    const x = xs.reduce((best, x) => (Math.abs(at.x(x) - mouse) < Math.abs(at.x(best) - mouse) ? x : best));
    const rows = visible.map(({ series, index }) => {
      const found = series.points.find(([at]) => at === x);
      return found && h("div", { "--c": colour(series, index) }, `${series.name}: ${number(found[1])}`);
    });
    tip.replaceChildren(h("b", null, `step ${number(x, 8)}`), ...rows.filter(Boolean));
    tip.hidden = false;
    const left = at.x(x);
    tip.style.top = "6px";
    tip.style.left = left > width / 2 ? "auto" : `${left + 10}px`;
    tip.style.right = left > width / 2 ? `${width - left + 10}px` : "auto";
    const rule = picture.querySelector(".at");
    rule.setAttribute("x1", left);
    rule.setAttribute("x2", left);
    rule.setAttribute("visibility", "visible");
  };

  const tell = () => {
    const only = curves.series.length === 1 && curves.series[0].name === curves.id;
    legend.replaceChildren(...(only ? [] : curves.series.map((series, index) => h("button", {
      type: "button", title: series.says, "aria-pressed": String(!hidden.has(series.name)), "--c": colour(series, index),
      onclick: () => { if (!hidden.delete(series.name)) hidden.add(series.name); tell(); draw(); },
    }, series.label || series.name))));
    const told = curves.series.filter((series, index, all) => series.says && all.findIndex((other) => other.says === series.says && other.name === series.name) === index);
    const words = curves.says ? [h("p", { class: "says" }, curves.says)] : told.length === 1 ? [h("p", { class: "says" }, told[0].says)]
      : told.length ? [h("details", { class: "says", open: says.querySelector("details")?.open }, h("summary", null, "what these say"),
        h("dl", null, told.map((series) => [h("dt", null, series.name), h("dd", null, series.says)])))] : [];
    says.replaceChildren(...words);
  };

  new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    // Drawing within the observer would have it look again.
    if (now !== width) { width = now; requestAnimationFrame(draw); }
  }).observe(holder);
  tell();
  return { figure, update: (next) => { curves = next; tell(); draw(); } };
};

// Charts under the headings they share; `update` keeps what a reader has hidden.
const charts = (list) => {
  const root = h("div", null);
  const made = new Map();
  const update = (list) => {
    const sections = new Map();
    for (const curves of list) {
      if (made.has(curves.id)) made.get(curves.id).update(curves);
      else made.set(curves.id, chart(curves));
      if (!sections.has(curves.section)) sections.set(curves.section, []);
      sections.get(curves.section).push(made.get(curves.id).figure);
    }
    const old = [...root.querySelectorAll("figure")].map((figure) => figure.dataset.chart).join();
    if (old !== list.map((curves) => curves.id).join()) {
      root.replaceChildren(...[...sections].flatMap(([name, figures]) => [h("h4", null, name), h("div", { class: "charts" }, figures)]));
    }
  };
  update(list);
  return { root, update };
};
