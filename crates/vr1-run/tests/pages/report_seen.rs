//! A run's page as a browser shows it.

use std::{fs, path::Path};

use serde_json::{Value, json};
use vr1_run::report;

use crate::{
    chromium::Chromium,
    fixture::{Made, data, reported},
};

/// How many groups are listed.
const LISTED: &str = "document.querySelectorAll('#rollouts .list button').length";

fn sees(browser: &mut Chromium, expression: &str, expected: impl Into<Value>) {
    assert_eq!(browser.value(expression), expected.into(), "{expression}");
}

/// The groups of the last step that a filter keeps, counted from the page's data.
fn kept(page: &Path, keep: impl Fn(u64, u64, f64) -> bool) -> u64 {
    let data = data(page);
    let last = data["browse"]["steps"].as_array().unwrap().last().unwrap();
    let keeps = |group: &&Value| {
        keep(group["right"].as_u64().unwrap(), group["judged"].as_u64().unwrap(), group["spread"].as_f64().unwrap())
    };
    last["groups"].as_array().unwrap().iter().filter(keeps).count() as u64
}

#[test]
fn a_page_is_put_together_without_a_complaint_and_asks_for_nothing() {
    let Some(mut browser) = Chromium::start() else { return };
    let (_folder, page) = reported(&Made::default());
    browser.look(1440, 900, "light");
    browser.open_file(&page);
    browser.until("document.querySelectorAll('.chart svg').length === document.querySelectorAll('.chart').length");
    assert!(browser.value("document.querySelectorAll('.chart').length").as_u64().unwrap() >= 15);
    sees(
        &mut browser,
        "[...document.querySelectorAll('.chart')].every((one) => one.querySelector('path').getAttribute('d').length > 5)",
        true,
    );
    browser.value("document.getElementById('rollouts').scrollIntoView()");
    browser.until("document.querySelector('#rollouts .detail img').naturalWidth === 160");
    sees(&mut browser, "document.querySelectorAll('#rollouts .detail img').length", 1);
    sees(&mut browser, "document.querySelectorAll('#rollouts .answer').length", 8);
    // What a model wrote is shown as it wrote it, and does nothing.
    browser.press("ArrowRight");
    browser.press("ArrowRight");
    browser.until("document.querySelector('#rollouts .detail').textContent.includes('onerror=\"window.harmed')");
    sees(&mut browser, "window.harmed === undefined", true);
    assert_eq!(browser.fetched(), Vec::<String>::new());
    assert_eq!(browser.complaints, Vec::<String>::new());
    browser.keep("report-light", false);
}

#[test]
fn filters_search_and_keys_change_which_groups_are_shown() {
    let Some(mut browser) = Chromium::start() else { return };
    let (_folder, page) = reported(&Made::default());
    browser.look(1440, 900, "light");
    browser.open_file(&page);
    sees(&mut browser, LISTED, 8);
    let solved = kept(&page, |right, judged, _| judged > 0 && right == judged);
    let failed = kept(&page, |right, judged, _| judged > 0 && right == 0);
    let mixed = kept(&page, |right, judged, _| right > 0 && right < judged);
    let informative = kept(&page, |_, _, spread| spread > 0.0);
    assert!(solved > 0 && failed > 0 && mixed > 0 && solved < 8, "the made run has all of these");
    for (filter, expected) in
        [("solved", solved), ("failed", failed), ("mixed", mixed), ("informative", informative), ("all", 8)]
    {
        browser.click(&format!("#rollouts [data-filter={filter}]"));
        sees(&mut browser, LISTED, expected);
    }
    browser.click("#rollouts [data-filter=failed]");
    sees(&mut browser, "document.querySelectorAll('#rollouts .answer.wrong').length", 8);
    sees(&mut browser, "document.querySelectorAll('#rollouts .answer.right').length", 0);
    browser.click("#rollouts [data-filter=all]");

    let current =
        "[...document.querySelectorAll('#rollouts .list button')].findIndex((one) => one.ariaCurrent === 'true')";
    sees(&mut browser, current, 0);
    browser.press("ArrowRight");
    sees(&mut browser, current, 1);
    browser.press("ArrowLeft");
    browser.press("ArrowLeft");
    sees(&mut browser, current, 0);
    let step = "document.querySelector('#rollouts [data-step]').textContent";
    sees(&mut browser, step, "step 60");
    browser.click("#rollouts [aria-label='step before']");
    browser.until(&format!("{step} === 'step 55'"));

    browser.click("#rollouts [data-every]");
    sees(&mut browser, LISTED, 13 * 8);
    let search = |text: &str| {
        format!(
            "(() => {{ const box = document.querySelector('#rollouts input[type=search]'); box.value = {text:?}; box.dispatchEvent(new Event('input')); }})()"
        )
    };
    browser.value(&search("IN STEP 35 I LOOK"));
    sees(&mut browser, LISTED, 8);
    sees(&mut browser, "document.querySelectorAll('#rollouts .detail mark').length", 8);
    browser.value(&search("no such words"));
    sees(&mut browser, LISTED, 0);
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn pairs_are_side_by_side_and_filtered_by_what_became_of_them() {
    let Some(mut browser) = Chromium::start() else { return };
    let (_folder, page) = reported(&Made::default());
    browser.look(1440, 900, "light");
    browser.open_file(&page);
    let shown = "[...new Set([...document.querySelectorAll('#pairs .pair')].map((one) => one.dataset.change))]";
    browser.click("#pairs [data-filter=became_wrong]");
    sees(&mut browser, shown, json!(["became_wrong"]));
    sees(&mut browser, "document.querySelectorAll('#pairs .pair').length", 1);
    sees(
        &mut browser,
        "[...document.querySelectorAll('#pairs .pair:first-child .answer')].map((one) => one.className)",
        json!(["answer right", "answer wrong"]),
    );
    let tops = "(() => { const [a, b] = document.querySelectorAll('#pairs .pair .answer'); return a.getBoundingClientRect().top === b.getBoundingClientRect().top; })()";
    sees(&mut browser, tops, true);
    browser.click("#pairs [data-filter=became_right]");
    sees(&mut browser, shown, json!(["became_right"]));
    sees(&mut browser, "document.querySelector('#pairs [data-filter=became_right]').textContent", "became right 27");
    browser.value("document.getElementById('pairs').scrollIntoView()");
    browser.keep("report-pairs", false);
}

#[test]
fn an_address_of_a_section_leads_there_and_a_warning_stands_on_top() {
    let Some(mut browser) = Chromium::start() else { return };
    let (folder, _) = reported(&Made::default());
    let summary = folder.path().join("summary.json");
    let mut told: Value = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    told["warnings"] = json!(["<b>every</b> group was equal"]);
    fs::write(&summary, told.to_string()).unwrap();
    let page = report(folder.path()).unwrap();
    browser.look(1440, 900, "light");
    browser.open(&format!("file://{}#pairs", page.display()));
    browser.until("Math.abs(document.getElementById('pairs').getBoundingClientRect().top) < 200");
    sees(&mut browser, "document.querySelector('header .warning').textContent", "<b>every</b> group was equal");
}

#[test]
fn a_phone_has_nothing_beyond_its_edge() {
    let Some(mut browser) = Chromium::start() else { return };
    let (_folder, page) = reported(&Made::default());
    browser.look(390, 844, "light");
    browser.open_file(&page);
    browser.until("document.querySelectorAll('.chart svg').length === document.querySelectorAll('.chart').length");
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    sees(&mut browser, "document.documentElement.scrollWidth", 390);
    sees(
        &mut browser,
        "[...document.querySelectorAll('section, .card, .answer')].every((one) => one.getBoundingClientRect().right <= 390)",
        true,
    );
    for (name, section) in
        [("top", "scores"), ("curves", "curves"), ("rollouts", "rollouts"), ("pairs", "pairs"), ("reward", "reward")]
    {
        browser.value(&format!("document.getElementById('{section}').scrollIntoView()"));
        browser.keep(&format!("report-phone-{name}"), false);
    }
}

/// How bright a colour of the page is, from 0 to 255.
fn brightness(browser: &mut Chromium, property: &str) -> u64 {
    browser
        .value(&format!(
            "Math.max(...getComputedStyle(document.body).{property}.match(/\\d+/g).slice(0, 3).map(Number))"
        ))
        .as_u64()
        .unwrap()
}

#[test]
fn a_page_is_dark_where_the_system_is_and_where_one_asks() {
    let Some(mut browser) = Chromium::start() else { return };
    let (_folder, page) = reported(&Made::default());
    browser.look(1440, 900, "dark");
    browser.open_file(&page);
    assert!(brightness(&mut browser, "backgroundColor") < 60 && brightness(&mut browser, "color") > 200);
    for section in ["curves", "rollouts"] {
        browser.value(&format!("document.getElementById('{section}').scrollIntoView()"));
        browser.keep(&format!("report-dark-{section}"), false);
    }
    browser.click("#theme");
    assert!(brightness(&mut browser, "backgroundColor") > 200 && brightness(&mut browser, "color") < 60);
    browser.look(1440, 900, "light");
    browser.click("#theme");
    assert!(brightness(&mut browser, "backgroundColor") < 60, "what was asked for holds");
}

#[test]
fn a_curve_is_read_where_one_points_and_hidden_where_one_clicks() {
    let Some(mut browser) = Chromium::start() else { return };
    let (_folder, page) = reported(&Made::default());
    browser.look(1440, 900, "light");
    browser.open_file(&page);
    browser.until("document.querySelector('[data-chart=reward] svg') !== null");
    let point = "(() => { const box = document.querySelector('[data-chart=reward] svg').getBoundingClientRect(); document.querySelector('[data-chart=reward] svg').dispatchEvent(new PointerEvent('pointermove', { clientX: box.right - 10, clientY: box.top + 40 })); })()";
    browser.value(point);
    sees(&mut browser, "document.querySelector('[data-chart=reward] .tip b').textContent", "step 60");
    sees(&mut browser, "document.querySelectorAll('[data-chart=reward] .tip div').length", 3);
    let drawn = "document.querySelectorAll(\"[data-chart=reward] path[data-series='rewards/format']\").length";
    assert!(browser.value(drawn).as_u64().unwrap() > 0);
    browser.click("[data-chart=reward] .legend button:nth-child(3)");
    sees(&mut browser, drawn, 0);
    browser.value("document.querySelector('[data-chart=phases]').scrollIntoView()");
    browser.keep("report-phases", false);
}
