// The rollout browser: columns unpacked chunk by chunk, a list that draws only the rows in sight, and one rollout in full.
const ROW = 3.2 * parseFloat(getComputedStyle(document.documentElement).fontSize); // px: .row is 3.2rem high
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}/gu;
const VERDICTS = ["right", "wrong", "wrong as read, right if read leniently"];

const visible = (text) => text.replace(CONTROLS, (sign) => {
  const code = sign.codePointAt(0);
  return code < 32 ? String.fromCodePoint(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
});

// Text as nodes: what cannot be seen, or would turn the text around, is spelled out.
function spelled(text) {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(new RegExp(`(?:${CONTROLS.source})+`, "gu"))) {
    nodes.push(text.slice(from, found.index), make("span", { class: "unseen" }, visible(found[0])));
    from = found.index + found[0].length;
  }
  nodes.push(text.slice(from));
  return nodes;
}

async function unpacked(script) {
  const text = script.textContent;
  let bytes;
  if (Uint8Array.fromBase64) bytes = Uint8Array.fromBase64(text);
  else {
    const signs = atob(text);
    bytes = new Uint8Array(signs.length);
    for (let at = 0; at < signs.length; at += 1) bytes[at] = signs.charCodeAt(at);
  }
  script.remove();
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function browser(about) {
  const columns = {};
  const state = { problems: [], count: 0, shown: [], at: -1, broken: false };
  const note = document.getElementById("rollouts-note");
  const view = buildView(about);
  const cell = (name, row) => columns[name][row];

  function matching() {
    const { arm, seed, when, template, verdict, status, reason, finish, problem, words } = view.values();
    const fits = about.sources.map((source) =>
      (!arm || source.arm === arm) && (!seed || source.seed === seed) && (!when || source.when === when)
      && (!template || source.template === template));
    const codes = Object.entries({ status, reason, finish }).filter(([, value]) => value)
      .map(([name, value]) => [columns[name], about[name].indexOf(value)]);
    const asked = problemsNamed(problem);
    const pattern = words ? new RegExp(words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i") : null;
    const rows = [];
    for (let row = 0; row < state.count; row += 1) {
      if (!fits[columns.source[row]] || (asked && !asked[columns.problem[row]])) continue;
      if (verdict && !judged(row, verdict)) continue;
      if (codes.some(([column, code]) => column[row] !== code)) continue;
      if (pattern && !pattern.test(columns.text[row])) continue;
      rows.push(row);
    }
    return rows;
  }

  function judged(row, verdict) {
    if (verdict === "right") return columns.correct[row] === 1;
    return columns.correct[row] === 0 && (verdict === "wrong" || columns.lenient[row] === 1);
  }

  function problemsNamed(text) {
    if (!text) return null;
    const exact = state.problems.some((problem) => problem.id === text);
    const low = text.toLowerCase();
    return state.problems.map((problem) => exact ? problem.id === text
      : problem.id.toLowerCase().includes(low) || (problem.question ?? "").toLowerCase().includes(low));
  }

  function refresh() {
    const picked = state.shown[state.at];
    state.shown = matching();
    state.at = picked === undefined ? -1 : state.shown.indexOf(picked);
    const right = state.shown.reduce((sum, row) => sum + columns.correct[row], 0);
    const share = state.shown.length ? `, ${number((100 * right) / state.shown.length)}% of them right` : "";
    const loading = state.count < about.count && !state.broken ? ` (loading: ${number(state.count)} so far)` : "";
    view.count.textContent = `${number(state.shown.length)} of ${number(about.count)} rollouts${share}${loading}`;
    view.spacer.style.height = `${state.shown.length * ROW}px`;
    if (state.at < 0) {
      view.list.scrollTop = 0;
      state.at = state.shown.length ? 0 : -1;
    }
    if (state.shown[state.at] !== picked || !state.shown.length) detail();
    place();
    rows();
  }

  // Where the picked rollout stands among those shown, which filters change and chunks that arrive.
  function place() {
    view.previous.disabled = state.at <= 0;
    view.next.disabled = state.at >= state.shown.length - 1;
    view.place.textContent = `${number(state.at + 1)} of ${number(state.shown.length)}`;
  }

  function rows() {
    const first = Math.max(0, Math.floor(view.list.scrollTop / ROW) - 4);
    const last = Math.min(state.shown.length, Math.ceil((view.list.scrollTop + view.list.clientHeight) / ROW) + 4);
    const drawn = [];
    for (let at = first; at < last; at += 1) drawn.push(oneRow(at));
    view.spacer.replaceChildren(...drawn);
    if (state.at >= first && state.at < last) view.list.setAttribute("aria-activedescendant", `row-${state.at}`);
    else view.list.removeAttribute("aria-activedescendant");
  }

  function oneRow(at) {
    const row = state.shown[at], source = about.sources[cell("source", row)], problem = state.problems[cell("problem", row)];
    const answer = cell("answer", row);
    const said = answer === null ? `no answer (${about.reason[cell("reason", row)]})` : `answer ${visible(answer)}`;
    const element = make("div", {
      class: "row", role: "option", id: `row-${at}`, "aria-selected": String(at === state.at),
      "aria-setsize": state.shown.length, "aria-posinset": at + 1, onclick: () => pick(at),
    },
    make("div", {}, judgement(row), ` ${source.when} · ${source.arm} · seed ${source.seed} · ${visible(problem.id)}`),
    make("div", { class: "peek", dir: "auto" }, `${said} · ${visible(cell("text", row).trim().slice(0, 160).replace(/\s+/g, " "))}`));
    element.style.top = `${at * ROW}px`;
    return element;
  }

  function judgement(row) {
    return cell("correct", row) ? make("span", { class: "right" }, "✓ right") : make("span", { class: "wrong" }, "✗ wrong");
  }

  function pick(to) {
    if (!state.shown.length) return;
    state.at = Math.max(0, Math.min(to, state.shown.length - 1));
    const top = state.at * ROW;
    if (top < view.list.scrollTop) view.list.scrollTop = top;
    else if (top + ROW > view.list.scrollTop + view.list.clientHeight) view.list.scrollTop = top + ROW - view.list.clientHeight;
    rows();
    detail();
    place();
  }

  function detail() {
    const row = state.shown[state.at];
    if (row === undefined) {
      view.full.replaceChildren(make("p", { class: "note" }, "No rollout is shown: none fits the filters."));
      return;
    }
    const source = about.sources[cell("source", row)], problem = state.problems[cell("problem", row)];
    const answer = cell("answer", row), logprob = cell("logprob", row);
    const facts = {
      verdict: [judgement(row), ` · ${about.status[cell("status", row)]} · ${about.reason[cell("reason", row)]}`
        + (!cell("correct", row) && cell("lenient", row) ? " · right if read leniently" : "")],
      gold: problem.gold === null ? ["not at hand"] : spelled(problem.gold),
      answer: answer === null ? ["none was read"] : [...spelled(answer), whereRead(row)],
      arm: [`${source.arm}, seed ${source.seed}, ${source.when} training`],
      run: [source.run],
      template: [source.template],
      problem: [...spelled(problem.id), `, sample ${cell("sample", row)}`],
      length: [`${number(cell("tokens", row))} tokens, finish: ${about.finish[cell("finish", row)]}`
        + (logprob === null ? "" : `, log-probability ${number(logprob)}`)],
    };
    const asked = problem.question === null ? "The question is not at hand."
      : source.prompt === null ? problem.question : source.prompt.split("{problem}").join(problem.question);
    view.full.replaceChildren(
      make("dl", {}, ...Object.entries(facts).flatMap(([name, what]) => [make("dt", {}, name), make("dd", { dir: "auto" }, ...what)])),
      make("h4", {}, source.prompt === null ? "Question (the prompt around it was not kept)" : "Prompt"),
      make("pre", { class: "model", dir: "auto" }, ...spelled(asked)),
      make("h4", {}, "Completion"),
      make("pre", { class: "model", dir: "auto", id: "completion" }, ...completion(row, source, problem)));
    view.detail.scrollTop = 0;
  }

  function whereRead(row) {
    const at = cell("at", row);
    if (at >= 0) return "";
    return make("span", { class: "note" }, at === -2 ? " (stands in the part that is left out)" : " (does not stand in the completion word for word)");
  }

  function completion(row, source, problem) {
    const text = cell("text", row), cut = cell("cut", row), at = cell("at", row), end = cell("end", row);
    const ends = [...new Set([0, cut, ...(at < 0 ? [] : [at, end]), text.length])].sort((one, other) => one - other);
    return ends.slice(1).flatMap((to, index) => {
      const from = ends[index], piece = spelled(text.slice(from, to));
      const nodes = at >= 0 && from >= at && to <= end ? [make("mark", {}, ...piece)] : piece;
      if (!cut || from !== cut) return nodes;
      const left = cell("length", row) - about.longest;
      return [make("span", { class: "gap" }, `… ${number(left)} of ${number(cell("length", row))} characters are left out here; all of them are in `
        + `${source.store}, problem ${visible(problem.id)}, sample ${cell("sample", row)} …`), ...nodes];
    });
  }

  view.onfilter(refresh);
  view.previous.addEventListener("click", () => pick(state.at - 1));
  view.next.addEventListener("click", () => pick(state.at + 1));
  view.same.addEventListener("click", () => state.at >= 0 && view.only(state.problems[cell("problem", state.shown[state.at])].id));
  view.list.addEventListener("scroll", rows);
  new ResizeObserver(rows).observe(view.list);
  view.list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(view.list.clientHeight / ROW) - 1);
    const to = { ArrowDown: state.at + 1, ArrowUp: state.at - 1, PageDown: state.at + page, PageUp: state.at - page, Home: 0, End: Infinity }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    pick(to);
  });

  async function load() {
    const scripts = [...document.querySelectorAll("script.chunk")];
    state.problems = await unpacked(scripts[0]);
    view.root.hidden = false;
    const begin = (script) => {
      const coming = unpacked(script);
      coming.catch(() => {}); // it is told of when it is waited for
      return coming;
    };
    let coming = begin(scripts[1]);
    for (let after = 2; coming; after += 1) {
      const part = await coming;
      coming = scripts[after] ? begin(scripts[after]) : null;
      for (const [name, values] of Object.entries(part)) columns[name] = columns[name] ? columns[name].concat(values) : values;
      state.count = columns.text.length;
      refresh();
      await new Promise((resolve) => setTimeout(resolve));
    }
    if (state.count < about.count) throw new Error("its end is missing");
    view.root.dataset.loaded = String(state.count);
  }

  function damaged(error) {
    state.broken = true;
    note.setAttribute("role", "alert");
    note.textContent = `This file is damaged (${error.message}): ${number(state.count)} of ${number(about.count)} rollouts could be opened. `
      + "Copy it again, or make it again with scripts/compare.py.";
    if (!view.root.hidden) refresh();
  }

  const part = about.count < about.total
    ? `A random sample of ${number(about.count)} of ${number(about.total)} kept rollouts, drawn evenly over arm, before and after, and problem. `
    : `All ${number(about.count)} rollouts that the audits kept. `;
  note.textContent = `${part}The answer is marked where it was read, or at its last place where that cannot be told. Completions of more than `
    + `${number(about.longest)} characters show their beginning and their end. Search is in what is shown. ${about.missing}`;
  if (typeof DecompressionStream === "undefined") note.textContent = "This browser is too old to open the rollouts (it has no DecompressionStream).";
  else load().catch(damaged);
}

function buildView(about) {
  const root = document.getElementById("browser");
  const of = (name) => [...new Set(about.sources.map((source) => source[name]))];
  const fields = {
    arm: ["Base or arm", of("arm")], when: ["Before or after", of("when")], seed: ["Seed", of("seed")], template: ["Template", of("template")],
    verdict: ["Verdict", VERDICTS], status: ["Status", about.status], reason: ["Reason", about.reason], finish: ["Finish", about.finish],
  };
  const inputs = {};
  const labels = Object.entries(fields).map(([name, [title, values]]) => {
    inputs[name] = make("select", { name }, make("option", { value: "" }, "all"), ...values.map((value) => make("option", { value }, value)));
    return make("label", {}, title, inputs[name]);
  });
  for (const [name, title] of [["problem", "Problem: its id, or words of its question"], ["words", "Search in completions"]]) {
    inputs[name] = make("input", { name, type: "search", autocomplete: "off", spellcheck: "false" });
    labels.push(make("label", { class: "broad" }, title, inputs[name]));
  }
  const button = (text) => make("button", { type: "button" }, text);
  const clear = button("Clear filters");
  labels.push(clear);
  const count = make("p", { class: "count", role: "status" });
  const spacer = make("div", { role: "presentation" });
  const list = make("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": "Rollouts; arrow keys go up and down" }, spacer);
  const [previous, next, same] = ["← Previous", "Next →", "All of this problem"].map(button);
  const place = make("span", { class: "note" }), full = make("div");
  const detail = make("article", { class: "detail", tabindex: "0", "aria-label": "One rollout" },
    make("div", { class: "bar" }, previous, next, same, place), full);
  root.append(make("div", { class: "filters", role: "search", "aria-label": "Filter rollouts" }, ...labels), count, make("div", { class: "pair" }, list, detail));
  let changed = () => {};
  let timer = 0;
  for (const input of Object.values(inputs)) {
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => changed(), input.type === "search" ? 150 : 0);
    });
  }
  const only = (id) => {
    for (const input of Object.values(inputs)) input.value = "";
    inputs.problem.value = id;
    changed();
  };
  clear.addEventListener("click", () => only(""));
  return {
    root, count, spacer, list, detail, previous, next, same, place, full, only,
    values: () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value.trim()])),
    onfilter: (action) => { changed = action; },
  };
}
