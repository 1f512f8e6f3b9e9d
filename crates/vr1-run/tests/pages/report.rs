//! A run's report.

use crate::{
    chromium::Chromium,
    fixture::{Made, reported},
};

#[test]
fn looked_at() {
    let Some(mut browser) = Chromium::start() else { return };
    let (_folder, page) = reported(&Made::default());
    for (name, width, scheme) in [("light", 1440, "light"), ("dark", 1440, "dark"), ("phone", 390, "light")] {
        browser.look(width, 900, scheme);
        browser.open_file(&page);
        assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
        std::thread::sleep(std::time::Duration::from_millis(300));
        browser.keep(&format!("report-{name}"), false);
        for section in ["curves", "rollouts", "pairs", "recipe"] {
            browser.value(&format!("document.getElementById('{section}').scrollIntoView()"));
            std::thread::sleep(std::time::Duration::from_millis(200));
            browser.keep(&format!("report-{name}-{section}"), false);
        }
    }
}
