/// The text of the last `<tag>…</tag>`, untrimmed: what stands between the last opening tag that is closed and its closing
/// one. What is in a tag holds none of its own tags: of nested ones the innermost counts.
///
/// # Example
/// ```
/// use vr1_reward::last_tagged;
/// assert_eq!(last_tagged("<answer>1</answer> no, <answer>2</answer>", "answer"), Some("2"));
/// assert_eq!(last_tagged("<answer><answer>5</answer></answer>", "answer"), Some("5"));
/// assert_eq!(last_tagged("<answer>1", "answer"), None);
/// ```
#[must_use]
pub fn last_tagged<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let end = text.rfind(&close)?;
    let start = text[..end].rfind(&open)? + open.len();
    let length = text[start..].find(&close)?;
    Some(&text[start..start + length])
}

/// The text of the first `<tag>…</tag>`, untrimmed: up to the first closing tag that has an opening one before it, from the
/// nearest such on.
///
/// # Example
/// ```
/// use vr1_reward::first_tagged;
/// assert_eq!(first_tagged("<answer>1</answer> no, <answer>2</answer>", "answer"), Some("1"));
/// assert_eq!(first_tagged("<answer><answer>5</answer></answer>", "answer"), Some("5"));
/// ```
#[must_use]
pub fn first_tagged<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let start = text.find(&open)? + open.len();
    let end = start + text[start..].find(&close)?;
    let start = text[..end].rfind(&open).map_or(start, |nearest| nearest + open.len());
    Some(&text[start..end])
}
