use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::tokenizer::AddedToken;

use crate::control::token_name;
use crate::{Error, Result};

/// What `tokenizer_config.json` calls tokens of its own.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Adds the tokens that `tokenizer_config.json` (`added_tokens_decoder`), or the older `added_tokens.json`, has and
/// `tokenizer.json` lacks; flags are those of `tokenizer_config.json`, and what it names among the vocabulary is special.
///
/// # Errors
/// When a token is malformed, or would not have the id that is given for it.
pub(crate) fn add_tokens(
    inner: &mut tokenizers::Tokenizer,
    config: &Map<String, Value>,
    older: &Map<String, Value>,
    dir: &Path,
) -> Result<()> {
    let named: Vec<&str> = NAMED.iter().filter_map(|key| config.get(*key).and_then(token_name)).collect();
    for (id, token) in said(config, older, &named, dir)? {
        let known = inner.token_to_id(&token.content);
        let content = token.content.clone();
        inner
            .add_tokens([token])
            .map_err(|e| Error::Tokenizer { origin: dir.display().to_string(), reason: e.to_string() })?;
        // A token that tokenizer.json has keeps its id.
        if known.is_none() && inner.token_to_id(&content) != Some(id) {
            let reason = format!(
                "{content:?} has the id {id} there, and behind the tokens of tokenizer.json it would be {:?}",
                inner.token_to_id(&content).unwrap_or_default()
            );
            return Err(setting(config, dir, reason));
        }
    }
    let added = inner.get_added_tokens_decoder();
    let lacking = |name: &&&str| inner.token_to_id(name).is_some_and(|id| !added.contains_key(&id));
    let lacking: Vec<AddedToken> = named.iter().filter(lacking).map(|name| AddedToken::from(*name, true)).collect();
    let added = inner.add_special_tokens(lacking);
    added.map(drop).map_err(|e| Error::Tokenizer { origin: dir.display().to_string(), reason: e.to_string() })
}

/// The tokens that are given beside `tokenizer.json`, by their ids.
fn said(
    config: &Map<String, Value>,
    older: &Map<String, Value>,
    named: &[&str],
    dir: &Path,
) -> Result<Vec<(u32, AddedToken)>> {
    let wrong = |reason: String| setting(config, dir, reason);
    let mut said = Vec::new();
    match config.get("added_tokens_decoder") {
        Some(Value::Object(map)) => {
            for (id, token) in map {
                let id = id.parse().map_err(|_| wrong(format!("{id:?} is not a token id")))?;
                let mut token: AddedToken = match token.get("content").and_then(Value::as_str) {
                    // The flags that are left out are the library's own.
                    Some(content) => flags(AddedToken::from(content, false), token),
                    None => return Err(wrong(format!("token {id} has no `content`"))),
                };
                token.special |= named.contains(&token.content.as_str());
                said.push((id, token));
            }
        }
        None | Some(Value::Null) => {
            for (content, id) in older {
                let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
                    return Err(wrong(format!("{content:?} has {id}, which is not a token id")));
                };
                said.push((id, AddedToken::from(content.as_str(), named.contains(&content.as_str()))));
            }
        }
        Some(other) => return Err(wrong(format!("{other} is not an object of tokens by their ids"))),
    }
    said.sort_by_key(|(id, _)| *id);
    Ok(said)
}

fn flags(token: AddedToken, said: &Value) -> AddedToken {
    let flag = |key: &str| said.get(key).and_then(Value::as_bool).unwrap_or(false);
    let special = flag("special");
    AddedToken {
        single_word: flag("single_word"),
        lstrip: flag("lstrip"),
        rstrip: flag("rstrip"),
        normalized: said.get("normalized").and_then(Value::as_bool).unwrap_or(!special),
        special,
        ..token
    }
}

fn setting(config: &Map<String, Value>, dir: &Path, reason: String) -> Error {
    let (file, key) = match config.contains_key("added_tokens_decoder") {
        true => ("tokenizer_config.json", "added_tokens_decoder"),
        false => ("added_tokens.json", "(top level)"),
    };
    Error::Setting { file: dir.join(file).display().to_string(), key: key.into(), reason }
}
