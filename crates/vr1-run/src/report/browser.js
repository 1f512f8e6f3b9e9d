// The rollout browser: a step, a group of it, and the group's answers beside the picture.

const FILTERS = [
  ["all", "all"],
  ["solved", "solved", "every answer is right"],
  ["failed", "failed", "no answer is right"],
  ["mixed", "mixed", "some answers are right: these teach most"],
  ["informative", "most informative", "by the spread of rewards within the group, the widest first"],
];
const keeps = {
  all: () => true,
  solved: (group) => group.judged > 0 && group.right === group.judged,
  failed: (group) => group.judged > 0 && group.right === 0,
  mixed: (group) => group.right > 0 && group.right < group.judged,
  informative: (group) => group.spread > 0,
};

// `load` gives a step's groups, or a promise of them.
const browser = ({ steps, load, told, live, judge }) => {
  const state = { steps, at: steps.length - 1, filter: "all", query: "", place: 0, every: false, follow: live, groups: [], note: "" };
  const slider = h("input", { type: "range", min: 0, "aria-label": "step", oninput: () => go(Number(slider.value)) });
  const label = h("span", { class: "num", "data-step": true });
  const filters = h("div", { class: "set", role: "group", "aria-label": "filter" });
  const search = h("input", { type: "search", placeholder: "search prompts and answers", "aria-label": "search",
    oninput: () => { state.query = search.value.trim().toLowerCase(); state.place = 0; show(); } });
  const list = h("div", { class: "list", role: "group", "aria-label": "groups" });
  const detail = h("div", { class: "detail" });
  const count = h("span", { class: "soft small num", "data-count": true });
  const extra = live
    ? h("button", { type: "button", "data-follow": true, onclick: () => { state.follow = !state.follow; if (state.follow) go(state.steps.length - 1, true); else show(); } }, "follow the latest")
    : h("button", { type: "button", "data-every": true, onclick: () => { state.every = !state.every; state.place = 0; fetchStep(); } }, "all steps");
  const root = h("div", null,
    h("p", { class: "soft small" }, told),
    h("div", { class: "tools" },
      h("div", { class: "set" }, h("button", { type: "button", "aria-label": "step before", onclick: () => go(state.at - 1) }, "‹"), slider,
        h("button", { type: "button", "aria-label": "next step", onclick: () => go(state.at + 1) }, "›"), label, extra),
      filters, search, count),
    h("div", { class: "browser" }, list, detail),
    h("p", { class: "soft small" }, "← and → go from group to group, with Shift from step to step. ",
      `Right is an answer whose term ${judge.metric} is above ${judge.threshold}.`));

  const go = (at, stay) => {
    state.at = Math.max(0, Math.min(state.steps.length - 1, at));
    state.place = 0;
    state.every = false;
    if (!stay) state.follow = false;
    return fetchStep();
  };

  let asked = 0;
  const fetchStep = async () => {
    const mine = asked += 1;
    const wanted = state.every ? state.steps : [state.steps[state.at]];
    label.textContent = state.every ? "all steps" : `step ${wanted[0]}`;
    try {
      const loaded = live ? await Promise.all(wanted.map(load)) : wanted.map(load);
      if (mine !== asked) return;
      state.groups = loaded.flatMap(({ step, groups }) => groups.map((group) => ({ ...group, step })));
      const missing = loaded.reduce((sum, { of, groups }) => sum + of - groups.length, 0);
      state.note = missing > 0 ? `, ${missing} more not shown` : "";
    } catch (error) {
      if (mine !== asked) return;
      state.groups = [];
      state.note = ` (${error.message})`;
    }
    show();
  };

  const chosen = () => {
    const found = state.groups.filter((group) => keeps[state.filter](group) && (!state.query || lower(group.asked, group.answers).includes(state.query)));
    if (state.filter === "informative") found.sort((a, b) => b.spread - a.spread);
    return found;
  };

  const item = (group, place) => h("button", { type: "button", "aria-current": String(place === state.place), onclick: () => { state.place = place; state.follow = false; show(); } },
    group.asked.media.some((picture) => picture.file && pictureAddress(picture.file))
      ? h("img", { src: pictureAddress(group.asked.media.find((picture) => picture.file).file), alt: "" }) : h("span", { class: "none" }),
    h("span", null, h("b", null, state.every ? `step ${group.step} · ` : "", group.asked.sample || `group ${group.group}`),
      h("span", { class: "soft small num" }, group.mean === null ? "no reward" : `mean ${number(group.mean, 3)}`, group.spread ? `, spread ${number(group.spread, 3)}` : ""),
      h("span", { class: "marks" }, group.answers.map((one) => h("i", { class: one.right === true ? "good" : one.right === false ? "bad" : "" })))));

  const show = () => {
    slider.max = Math.max(0, state.steps.length - 1);
    slider.value = state.at;
    extra.setAttribute("aria-pressed", String(live ? state.follow : state.every));
    filters.replaceChildren(...chips(FILTERS, state.filter, (name) => { state.filter = name; state.place = 0; show(); }));
    const found = chosen();
    state.place = Math.max(0, Math.min(found.length - 1, state.place));
    count.textContent = `${found.length} of ${state.groups.length} groups${state.note}`;
    list.replaceChildren(...found.map(item));
    const current = list.querySelector("[aria-current=true]");
    if (current) list.scrollTo({ top: current.offsetTop - list.offsetTop - 80, left: current.offsetLeft - list.offsetLeft - 80 });
    const group = found[state.place];
    detail.replaceChildren(group ? h("div", null,
      h("div", { class: "card" }, h("p", { class: "small num" }, h("b", null, `step ${group.step}, group ${group.group}`), ` · ${group.asked.sample} `,
        group.judged ? h("span", { class: "soft" }, `· ${group.right} of ${group.judged} right`) : null), question(group.asked, state.query)),
      h("div", { class: "answers" }, group.answers.map((one) => answer(one, `answer ${one.index + 1}`, state.query))),
      group.more ? h("p", { class: "soft small" }, `${group.more} answers between these in reward are not shown.`) : null)
      : h("div", { class: "card empty" }, state.groups.length ? "No group fits." : "Nothing was recorded here."));
  };

  document.addEventListener("keydown", (event) => {
    if (event.target.closest?.("input, select, textarea, nav") || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    if (event.shiftKey) { go(state.at + way); return; }
    state.place += way;
    state.follow = false;
    show();
  });
  fetchStep();
  const update = (steps) => {
    const here = state.steps[state.at];
    state.steps = steps;
    if (state.follow) { if (steps.at(-1) !== here) go(steps.length - 1, true); } else {
      const at = steps.indexOf(here);
      if (at >= 0) { state.at = at; slider.max = steps.length - 1; slider.value = at; } else go(steps.length - 1);
    }
  };
  return { root, update };
};
