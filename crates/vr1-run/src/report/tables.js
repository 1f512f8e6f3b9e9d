// What stands in rows.

const table = (head, rows, kind) => h("div", { class: "scroll" }, h("table", { class: kind || null },
  h("thead", null, h("tr", null, head.map((cell) => h("th", { scope: "col" }, cell)))),
  h("tbody", null, rows.map((row) => h("tr", null, row.map((cell) => h("td", null, cell)))))));

const scores = (rows) => table(["", "before", "after", "change"], rows.map(({ cells: [name, before, after, change], change: way }) =>
  [name, before, after, h("span", { class: way === "up" ? "good" : way === "down" ? "bad" : null }, change)]));

const facts = (list) => h("dl", { class: "facts num" }, list.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));

const rewardView = (reward) => h("div", { class: "card" },
  table(["term", "expression"], [...reward.terms.map(([name, words]) => [h("b", null, name), h("code", null, words)]), [h("b", null, "total"), h("code", null, reward.total)]], "words"),
  h("details", { class: "says" }, h("summary", null, "as the recipe has it"), h("pre", null, reward.yaml)));

const header = (title, mark, status, list) => h("header", null, h("h1", null, title, mark), h("p", { class: "soft", "data-status": true }, status), list.length ? facts(list) : null);

const section = (id, title, ...content) => h("section", { id }, h("h2", null, title), ...content);

const bar = (sections) => h("nav", { "aria-label": "sections" }, h("div", { class: "row" }, h("div", { class: "links" }, sections.filter(Boolean).map((one) => h("a", { href: `#${one.id}` }, one.dataset.short || one.querySelector("h2").textContent))),
  h("button", { type: "button", id: "theme", "aria-label": "light or dark", title: "light or dark", onclick: theme.toggle }, "◐")));
