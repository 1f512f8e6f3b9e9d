/// The text of the last `<tag>…</tag>`, untrimmed: the last closing tag that has an opening one before it, and the
/// nearest opening tag before that.
///
/// # Example
/// ```
/// use vr1_reward::last_tagged;
/// assert_eq!(last_tagged("<answer>1</answer> no, <answer>2</answer>", "answer"), Some("2"));
/// assert_eq!(last_tagged("<answer>1", "answer"), None);
/// ```
#[must_use]
pub fn last_tagged<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let end = text.rfind(&close)?;
    let start = text[..end].rfind(&open)? + open.len();
    Some(&text[start..end])
}

/// The text of the first `<tag>…</tag>`, untrimmed: from the first opening tag to the next closing one.
///
/// # Example
/// ```
/// use vr1_reward::first_tagged;
/// assert_eq!(first_tagged("<answer>1</answer> no, <answer>2</answer>", "answer"), Some("1"));
/// ```
#[must_use]
pub fn first_tagged<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let start = text.find(&open)? + open.len();
    let length = text[start..].find(&close)?;
    Some(&text[start..start + length])
}
