// Figures as SVG: lines, bands, bars and points over shared axes, with a tip for the nearest point.
const COLOURS = 7; // --c0 to --c6 of the style
const MARKERS = [ // 8, as 7 and 8 share no factor: 56 different pairs of colour and marker
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
  "M-3.5-3.5h7v7h-7z",
  "M0-4.6L4.4 3.4H-4.4z",
  "M0-5L5 0L0 5L-5 0z",
  "M0 4.6L4.4-3.4H-4.4z",
  "M-1.6-4.5h3.2v2.9h2.9v3.2h-2.9v2.9h-3.2v-2.9h-2.9v-3.2h2.9z",
  "M-4-4L4 4M-4 4L4-4",
  "M-1.9-5h3.8v10h-3.8z",
];
const CROSS = 6; // the one marker without an area
const MARGIN = { left: 42, right: 14, top: 10, bottom: 40 };

const colour = (series) => `var(--c${series.look % COLOURS})`;
const number = (value) => value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 1 ? 3 : 1 });

function chart(figure, spec) {
  const state = { axis: 0, hidden: new Set() };
  const tip = make("div", { class: "tip", hidden: "", "aria-live": "polite" });
  const panels = Object.entries(spec.panels).map(([title, series]) => {
    const holder = make("div", { class: "panel" }, title ? make("h4", {}, title) : null);
    return { title, series, holder };
  });
  const redraw = () => panels.forEach((panel) => drawPanel(panel, spec, state, tip));
  if (spec.x.length > 1) {
    const options = spec.x.map((axis, index) => make("option", { value: index }, axis.label));
    const choice = make("select", { onchange: () => { state.axis = Number(choice.value); redraw(); } }, ...options);
    figure.append(make("label", { class: "axis-choice" }, "over ", choice));
  }
  figure.append(make("div", { class: "panels" }, ...panels.map((panel) => panel.holder)), legend(panels, state, redraw), tip);
  new ResizeObserver(redraw).observe(figure);
}

function legend(panels, state, redraw) {
  const named = new Map();
  for (const panel of panels) for (const series of panel.series) if (!named.has(series.name)) named.set(series.name, series);
  const many = panels.length > 1;
  const buttons = [...named.values()].map((series) => {
    const sample = draw("svg", { viewBox: "-13 -6 26 12", "aria-hidden": "true" });
    const ink = many ? "var(--ink)" : colour(series);
    if (series.line) sample.append(draw("path", { d: "M-13 0H13", class: series.dashed ? "curve dashed" : "curve", stroke: ink }));
    sample.append(marker(series, ink));
    const toggle = () => {
      if (!state.hidden.delete(series.name)) state.hidden.add(series.name);
      button.setAttribute("aria-pressed", String(!state.hidden.has(series.name)));
      redraw();
    };
    const button = make("button", { type: "button", "aria-pressed": "true", onclick: toggle }, sample, series.name);
    return button;
  });
  return make("div", { class: "legend", role: "group", "aria-label": "Series" }, ...buttons);
}

function marker(series, ink, at = "") {
  const shape = MARKERS[series.look % MARKERS.length];
  const open = series.hollow || series.look % MARKERS.length === CROSS;
  return draw("path", { d: shape, transform: at, class: open ? "hollow" : "", fill: open ? null : ink, stroke: open ? ink : null });
}

function scale(axis, values, from, to) {
  const finite = values.filter(Number.isFinite);
  let low = axis.low ?? Math.min(...finite, axis.log ? Infinity : 0);
  let high = axis.high ?? Math.max(...finite);
  if (!(high > low)) high = low + 1;
  const shape = axis.log ? Math.log2 : (value) => value;
  const place = (value) => from + ((shape(value) - shape(low)) / (shape(high) - shape(low))) * (to - from);
  const room = Math.max(2, Math.floor(Math.abs(to - from) / 48));
  return { place, ticks: axis.ticks.length ? axis.ticks : axis.log ? powers(low, high, room) : evenly(low, high, room) };
}

function evenly(low, high, room) {
  const raw = (high - low) / room;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((times) => times * unit).find((each) => each >= raw * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const style = high < 10_000 ? { maximumFractionDigits: digits } : { notation: "compact", maximumFractionDigits: 2 };
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high + step / 1e6; at += 1) ticks.push([at * step, (at * step).toLocaleString("en", style)]);
  return ticks;
}

function powers(low, high, room) {
  const all = [];
  for (let power = Math.ceil(Math.log2(low)); 2 ** power <= high; power += 1) all.push([2 ** power, String(2 ** power)]);
  const every = Math.ceil(all.length / (room + 1));
  return all.filter((_, index) => index % every === 0);
}

function drawPanel(panel, spec, state, tip) {
  const width = Math.max(200, panel.holder.clientWidth), height = spec.diagonal ? Math.min(width, 340) : 250;
  const axis = spec.x[state.axis];
  const shown = panel.series.filter((series) => !state.hidden.has(series.name));
  const all = Object.values(spec.panels).flat().flatMap((series) => series.points);
  const x = scale(axis, all.map((point) => point.x[state.axis]), MARGIN.left, width - MARGIN.right);
  const y = scale(spec.y, all.flatMap((point) => [point.y, point.high ?? point.y]), height - MARGIN.bottom, MARGIN.top);
  const bottom = height - MARGIN.bottom, right = width - MARGIN.right;
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, height, tabindex: "0", role: "group",
    "aria-label": `${[spec.title, panel.title].filter(Boolean).join(", ")}. Arrow keys go from point to point.`,
  });
  for (const [value, text] of y.ticks) {
    svg.append(draw("path", { class: "grid", d: `M${MARGIN.left} ${y.place(value)}H${right}` }));
    svg.append(draw("text", { x: MARGIN.left - 6, y: y.place(value) + 4, "text-anchor": "end" }, text));
  }
  for (const [value, text] of x.ticks) {
    svg.append(draw("path", { class: "grid", d: `M${x.place(value)} ${bottom}v4` }));
    svg.append(draw("text", { x: x.place(value), y: bottom + 17, "text-anchor": "middle" }, text));
  }
  svg.append(draw("text", { x: (MARGIN.left + right) / 2, y: height - 5, "text-anchor": "middle" }, axis.label));
  svg.append(draw("text", { transform: `translate(11 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, spec.y.label));
  if (spec.diagonal) svg.append(draw("path", { class: "diagonal", d: `M${MARGIN.left} ${bottom}L${right} ${MARGIN.top}` }));
  const placed = shown.map((series) => series.points.map((point) => ({
    series, point, x: x.place(point.x[state.axis]), y: y.place(point.y),
    low: point.low === undefined ? null : y.place(point.low), high: point.high === undefined ? null : y.place(point.high),
  })));
  for (const dots of placed) drawSeries(svg, dots);
  const picked = draw("circle", { class: "picked", r: 8, visibility: "hidden" });
  svg.append(picked);
  pointing(svg, placed, picked, tip, (dot) => told(dot, axis, spec, state));
  const before = panel.holder.querySelector("svg"), focused = before && before === document.activeElement;
  before?.remove();
  panel.holder.append(svg);
  if (focused) svg.focus({ preventScroll: true });
}

function drawSeries(svg, dots) {
  if (!dots.length) return;
  const { series } = dots[0], ink = colour(series);
  const known = dots.filter((dot) => dot.low !== null);
  if (series.band && known.length > 1) {
    const there = known.map((dot) => `${dot.x} ${dot.high}`), back = known.map((dot) => `${dot.x} ${dot.low}`).reverse();
    svg.append(draw("path", { class: "area", fill: ink, d: `M${[...there, ...back].join("L")}z` }));
  } else {
    for (const dot of known) svg.append(draw("path", { class: "bar", stroke: ink, d: `M${dot.x} ${dot.low}V${dot.high}` }));
  }
  if (series.line) {
    const d = `M${dots.map((dot) => `${dot.x} ${dot.y}`).join("L")}`;
    svg.append(draw("path", { class: series.dashed ? "curve dashed" : "curve", stroke: ink, d }));
  }
  for (const dot of dots) svg.append(marker(series, ink, `translate(${dot.x} ${dot.y})`));
}

function told(dot, axis, spec, state) {
  const { point, series } = dot;
  const tick = axis.ticks.find(([value]) => Math.abs(value - point.x[state.axis]) < 0.4);
  const interval = point.low === undefined ? "" : ` [${number(point.low)}, ${number(point.high)}]`;
  return [
    make("b", {}, series.name),
    make("span", {}, axis.ticks.length ? tick?.[1] ?? "" : `${axis.label}: ${number(point.x[state.axis])}`),
    make("span", {}, `${spec.y.label}: ${number(point.y)}${interval}`),
    point.note ? make("span", {}, point.note) : null,
  ].filter(Boolean);
}

// The nearest point by pointer, the next one by arrow keys; both show the same tip.
function pointing(svg, placed, picked, tip, words) {
  let line = 0, index = -1;
  const hide = () => { tip.hidden = true; picked.setAttribute("visibility", "hidden"); };
  const show = (dot) => {
    picked.setAttribute("cx", dot.x);
    picked.setAttribute("cy", dot.y);
    picked.setAttribute("visibility", "visible");
    tip.replaceChildren(...words(dot));
    tip.hidden = false;
    const figure = tip.parentElement.getBoundingClientRect(), box = svg.getBoundingClientRect();
    const left = box.left - figure.left + dot.x, top = box.top - figure.top + dot.y;
    tip.style.left = `${Math.max(4, Math.min(left + 12, figure.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${top > tip.offsetHeight + 16 ? top - tip.offsetHeight - 12 : top + 14}px`;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), at = [event.clientX - box.left, event.clientY - box.top];
    let best = null, least = 40 ** 2;
    for (const dot of placed.flat()) {
      const far = (dot.x - at[0]) ** 2 + (dot.y - at[1]) ** 2;
      if (far < least) [best, least] = [dot, far];
    }
    if (best) show(best);
    else hide();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const lines = placed.filter((dots) => dots.length);
    if (event.key === "Escape") hide();
    if (!lines.length || !event.key.startsWith("Arrow")) return;
    event.preventDefault();
    if (event.key === "ArrowUp" || event.key === "ArrowDown") line += event.key === "ArrowUp" ? -1 : 1;
    line = (line + lines.length) % lines.length;
    if (event.key === "ArrowRight") index += 1;
    if (event.key === "ArrowLeft") index -= 1;
    index = Math.max(0, Math.min(index, lines[line].length - 1));
    show(lines[line][index]);
  });
}
