//! The page itself: data, style and script in one file that needs nothing else.

use serde::Serialize;

use crate::run_error::RunError;

/// The script's parts, in the order in which one uses another.
const SCRIPT: [&str; 7] = [
    include_str!("dom.js"),
    include_str!("chart.js"),
    include_str!("answers.js"),
    include_str!("browser.js"),
    include_str!("pairs.js"),
    include_str!("tables.js"),
    include_str!("page.js"),
];

/// A page that shows `data`, as JSON within it.
///
/// # Errors
/// The data has no JSON form.
pub(crate) fn page(title: &str, data: &impl Serialize) -> Result<String, RunError> {
    let json = serde_json::to_string(data)
        .map_err(|error| RunError::Encode { path: "report.html".into(), reason: error.to_string() })?;
    let parts = [
        ("{{title}}", escaped(title)),
        ("{{style}}", include_str!("page.css").to_owned()),
        ("{{script}}", SCRIPT.concat()),
        // Last, for it may hold anything, the marks of the others too.
        ("{{data}}", within_script(&json)),
    ];
    let shell = include_str!("page.html").to_owned();
    Ok(parts.into_iter().fold(shell, |page, (mark, text)| page.replacen(mark, &text, 1)))
}

/// Text of HTML, wherever it stands.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '{' => safe.push_str("&#123;"),
            other => safe.push(other),
        }
    }
    safe
}

/// JSON that no reader of HTML takes for the script's end, a comment or an entity: these letters stand in strings alone.
fn within_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_ends_the_script() {
        let hostile = "</script><script>alert(1)</script><!-- &lt; {{script}}";
        let page = page(hostile, &[hostile]).expect("text has a JSON form");
        assert_eq!(page.matches("</script").count(), 2, "the data's own end and the script's");
        assert!(!page.contains("alert(1)</") && !page.contains("<!--"));
        let data = page.split_once("id=\"data\">").and_then(|(_, rest)| rest.split_once("</script>"));
        let read: Vec<String> = serde_json::from_str(data.expect("the data is there").0).expect("it is JSON");
        assert_eq!(read, [hostile]);
    }
}
