// A question and its answers, wherever they are shown.

// Where a thumbnail is: in the page, or asked of the server.
let pictureAddress = () => null;

const pictures = (media) => h("div", { class: media.length > 2 ? "pictures many" : "pictures" }, media.map((picture) => {
  const size = picture.width && picture.height ? `${picture.width} × ${picture.height}` : "";
  const address = picture.file && pictureAddress(picture.file);
  return h("figure", null, address ? h("img", { src: address, alt: picture.kind, loading: "lazy" }) : h("div", { class: "none" }, picture.kind), size);
}));

const text = ([words], query) => h("div", { class: "text", tabindex: words.length > 600 ? "0" : null }, ...marked(words, query));

const question = (asked, query) => h("div", { class: "asked" },
  asked.media.length ? pictures(asked.media) : null,
  h("div", { class: "words" },
    h("p", { class: "label" }, "prompt"), text(asked.prompt, query),
    asked.solution[0] ? [h("p", { class: "label" }, "solution"), text(asked.solution, query)] : null));

const verdict = (right) => right === true ? h("b", { class: "good", title: "right" }, "✓")
  : right === false ? h("b", { class: "bad", title: "wrong" }, "✗") : null;

const advantage = (value) => {
  const wide = Math.min(1, Math.abs(value) / 2.5) * 23;
  const block = svg("rect", { x: value < 0 ? 23 - wide : 23, width: wide, y: 0, height: 8 });
  block.style.fill = value < 0 ? "var(--bad)" : "var(--good)";
  const middle = svg("rect", { x: 22.5, width: 1, y: 0, height: 8 });
  middle.style.fill = "var(--soft)";
  return h("span", { class: "advantage", title: "advantage" }, svg("svg", { viewBox: "0 0 46 8" }, block, middle), signed(value));
};

const answer = (one, label, query) => h("article", { class: `answer ${one.right === true ? "right" : one.right === false ? "wrong" : ""}` },
  h("header", { class: "num" }, verdict(one.right), h("span", { class: "soft" }, label),
    one.total === null ? null : h("span", null, "reward ", h("b", null, number(one.total))),
    one.advantage === null ? null : advantage(one.advantage),
    one.terms.map(([name, value]) => h("span", { class: "chip" }, `${name} ${number(value, 3)}`)),
    one.tokens === null ? null : h("span", { class: "soft" }, `${one.tokens} tokens`),
    one.finished === false ? h("span", { class: "bad", title: "the limit ended it" }, "cut off") : null,
    one.learnt === false ? h("span", { class: "soft", title: "its group was replaced by another, or it was masked" }, "not learnt from") : null),
  one.error ? h("p", { class: "bad small" }, `no reward: ${one.error}`) : null,
  text(one.text, query));

const lower = (asked, answers) => [asked.sample, asked.prompt[0], asked.solution[0], ...answers.map((one) => one.text[0])].join("\n").toLowerCase();
const chips = (names, current, choose) => names.map(([name, label, title]) =>
  h("button", { type: "button", "data-filter": name, title, "aria-pressed": String(name === current), onclick: () => choose(name) }, label));
