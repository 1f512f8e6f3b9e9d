// The same held-out sample, answered before the first step and after the last.

const CHANGES = [
  ["became_right", "became right"], ["became_wrong", "became wrong"], ["stayed_right", "stayed right"], ["stayed_wrong", "stayed wrong"],
];

const pairsView = (data) => {
  const counted = data.counts.some((count) => count > 0);
  const state = { filter: "all", query: "", most: 6 };
  const filters = h("div", { class: "set", role: "group", "aria-label": "filter" });
  const search = h("input", { type: "search", placeholder: "search questions and answers", "aria-label": "search",
    oninput: () => { state.query = search.value.trim().toLowerCase(); state.most = 6; show(); } });
  const list = h("div", { class: "pairs" });
  const root = h("div", null, h("p", { class: "soft small" }, data.told), h("div", { class: "tools" }, filters, search), list);
  const choose = (name) => { state.filter = name; state.most = 6; show(); };
  const pair = (one) => h("article", { class: "card pair", "data-change": one.change },
    h("p", { class: "small" }, h("b", null, one.set), ` · ${one.asked.sample} `, one.change ? h("span", { class: { became_right: "good", became_wrong: "bad" }[one.change] || "soft" }, `· ${CHANGES.find(([name]) => name === one.change)[1]}`) : null),
    question(one.asked, state.query),
    h("div", { class: "answers" }, answer(one.first, `after step ${data.before}`, state.query), answer(one.last, `after step ${data.after}`, state.query)));
  const show = () => {
    const names = [["all", "all"], ...(counted ? CHANGES.map(([name, label], at) => [name, `${label} ${data.counts[at]}`]) : [])];
    filters.replaceChildren(...chips(names, state.filter, choose));
    const found = data.pairs.filter((one) => (state.filter === "all" || one.change === state.filter)
      && (!state.query || lower(one.asked, [one.first, one.last]).includes(state.query)));
    const more = found.length - state.most;
    list.replaceChildren(...found.slice(0, state.most).map(pair),
      more > 0 ? h("button", { type: "button", onclick: () => { state.most += 12; show(); } }, `show more (${more} left)`) : "",
      found.length ? "" : h("div", { class: "card empty" }, "No sample fits."));
  };
  show();
  return root;
};
