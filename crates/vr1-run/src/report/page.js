// Puts the page together: of a run, of a run that is under way, or of several.

const runHeader = (run, mark) => {
  const list = [...run.facts];
  if (run.begun) list.push(["begun", new Date(run.begun * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })]);
  if (mark && run.left !== null) list.push(["left, about", span(run.left)]);
  const done = run.of ? Math.min(100, 100 * run.step / run.of) : 0;
  const status = mark && !run.finished ? `step ${run.step}${run.of ? ` of ${run.of}` : ""}` : run.status;
  const top = header(run.title, mark, status, list);
  top.append(...run.warnings.map((warning) => h("p", { class: "warning", role: "note" }, warning)));
  if (mark && run.of) {
    const part = h("i", null);
    part.style.width = `${done}%`;
    top.append(h("div", { class: "bar", role: "progressbar", "aria-valuenow": run.step, "aria-valuemax": run.of }, part));
  }
  return top;
};

const scoresView = (run) => run.scores.length || run.stages.length ? h("div", null,
  run.scores.length ? scores(run.scores) : null,
  run.stages.length ? [h("h4", null, "Stages"), table(run.stages[0], run.stages.slice(1))] : null) : h("p", { class: "soft" }, "No scores on held-out samples yet.");

const recipeSections = (run) => [
  run.reward ? section("reward", "Reward program", rewardView(run.reward)) : null,
  section("recipe", "Recipe, as resolved", h("pre", null, run.recipe)),
];

const runPage = (main, { run, browse, pairs, media }) => {
  pictureAddress = (file) => media[file] || null;
  const byStep = new Map(browse.steps.map((step) => [step.step, step]));
  const sections = [
    section("scores", "Before and after, on held-out samples", scoresView(run)),
    run.charts.length ? section("curves", "Training", charts(run.charts).root) : null,
    browse.steps.length ? section("rollouts", "Rollouts", browser({ steps: [...byStep.keys()], load: (step) => byStep.get(step), told: browse.told, live: false, judge: run.judge }).root)
      : section("rollouts", "Rollouts", h("p", { class: "soft" }, browse.told)),
    pairs ? section("pairs", "The same samples, before and after", pairsView(pairs)) : null,
    ...recipeSections(run),
  ].filter(Boolean);
  name(sections);
  put(sections);
  main.replaceChildren(runHeader(run, null), ...sections);
};

const SHORT = { scores: "Scores", curves: "Curves", rollouts: "Rollouts", pairs: "Before/after", reward: "Reward", recipe: "Recipe", differences: "Differences", runs: "Runs" };
const name = (sections) => sections.forEach((one) => { one.dataset.short = SHORT[one.id]; });

const put = (sections) => document.getElementById("bar").replaceChildren(bar(sections));

const livePage = (main) => {
  const token = new URLSearchParams(location.search).get("token");
  const address = (path) => token ? `${path}${path.includes("?") ? "&" : "?"}token=${encodeURIComponent(token)}` : path;
  const ask = async (path) => {
    const reply = await fetch(address(path), { cache: "no-store" });
    const value = await reply.json();
    if (!reply.ok) throw new Error(value.error || `status ${reply.status}`);
    return value;
  };
  pictureAddress = (file) => address(`media/${file}`);
  const mark = h("span", { class: "live" }, "live");
  const holders = { top: h("div", null), scores: h("div", null), pairs: h("div", null) };
  const view = {};
  let version = "";
  let pairsOf = "";
  const build = ({ run, recorded }) => {
    view.charts = charts(run.charts);
    view.rollouts = h("div", null);
    const sections = [section("scores", "Before and after, on held-out samples", holders.scores), section("curves", "Training", view.charts.root),
      section("rollouts", "Rollouts", view.rollouts), section("pairs", "The same samples, before and after", holders.pairs), ...recipeSections(run)].filter(Boolean);
    name(sections);
    put(sections);
    main.replaceChildren(holders.top, ...sections);
    browse(run, recorded);
  };
  const browse = (run, recorded) => {
    if (view.browser) view.browser.update(recorded);
    else if (recorded.length) {
      view.browser = browser({ steps: recorded, load: (step) => ask(`api/rollouts?step=${step}`), told: "Every step that was recorded; of a very large one the most informative groups.", live: true, judge: run.judge });
      view.rollouts.replaceChildren(view.browser.root);
    } else view.rollouts.replaceChildren(h("p", { class: "soft" }, "No rollouts were recorded yet."));
  };
  const refresh = async () => {
    try {
      const now = await ask(`api/run?version=${encodeURIComponent(version)}`);
      mark.className = "live";
      mark.textContent = "live";
      if (now.version === version) return;
      version = now.version;
      if (!view.charts) build(now);
      else { view.charts.update(now.run.charts); browse(now.run, now.recorded); }
      holders.top.replaceChildren(runHeader(now.run, mark));
      holders.scores.replaceChildren(scoresView(now.run));
      if (String(now.answered) !== pairsOf) {
        pairsOf = String(now.answered);
        const pairs = now.answered ? await ask("api/pairs") : null;
        holders.pairs.replaceChildren(pairs ? pairsView(pairs) : h("p", { class: "soft" }, "No samples were answered twice yet."));
      }
    } catch (error) {
      mark.className = "live lost";
      mark.textContent = `no answer: ${error.message}`;
      if (!view.charts) main.replaceChildren(h("h1", null, "vr1", mark));
    }
  };
  const poll = async () => {
    if (!document.hidden) await refresh();
    setTimeout(poll, 2000);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  poll();
};

const comparePage = (main, data) => {
  const sections = [
    section("scores", "Before and after, on held-out samples", data.scores.length ? table(data.scores[0], data.scores.slice(1), "named") : h("p", { class: "soft" }, "No run has scores on held-out samples yet."),
      h("p", { class: "soft small" }, data.told)),
    section("differences", "What differs in the recipes", data.differences.length > 1 ? table(data.differences[0], data.differences.slice(1), "words") : h("p", { class: "soft" }, "Nothing but the seed.")),
    section("curves", "Curves", charts(data.charts).root),
    section("runs", "Runs", table(data.runs[0], data.runs.slice(1), "named")),
  ];
  name(sections);
  put(sections);
  main.replaceChildren(header(data.title, null, data.status, []), ...sections);
};

{
  const data = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("main");
  if (data.kind === "live") livePage(main);
  else if (data.kind === "compare") comparePage(main, data);
  else runPage(main, data);
  document.documentElement.dataset.ready = data.kind;
  // What an address points at was not there yet when the browser looked for it.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}
