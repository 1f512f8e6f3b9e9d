use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use tokenizers::tokenizer::{Model, NormalizedString, Normalizer, OffsetType, PreTokenizedString, PreTokenizer};

use crate::added::add_tokens;
use crate::control::{Control, Voice, token_name};
use crate::family::Family;
use crate::files::processor_class;
use crate::rendered::{Rendered, Run};
use crate::{Error, Result};

/// Whether special tokens show in decoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// They show by their names.
    Keep,
    /// They are left out.
    Skip,
}

/// Text to token ids and back, from a checkpoint's `tokenizer.json`.
///
/// It is the Hugging Face tokenizer of the checkpoint with one law on top: words make no roles, no ends and no media
/// ([`Voice`]). [`encode`](Self::encode) takes a [`Rendered`] prompt, in which the places are known where words spell
/// such a token; everywhere else ids are what transformers gives for the whole string, and there they are what it gives
/// with `sanitize_control_tokens=True`.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(crate) inner: tokenizers::Tokenizer,
    /// `tokenizer_config.json`.
    pub(crate) config: Map<String, Value>,
    origin: String,
    special_ids: HashMap<String, i64>,
    /// What not everyone's words spell.
    pub(crate) control: Control,
    eos: Vec<i64>,
    pad: Option<i64>,
    /// What media are called.
    family: &'static Family,
}

/// The most bytes of a text that are tokenised: some millions of tokens.
const MAX_TEXT: usize = 16 << 20;

/// What the tokenizers library gives; a panic of it over a broken file is an error of that file.
fn guarded<T>(origin: &str, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    let broken = |reason: String| Error::Tokenizer { origin: origin.to_owned(), reason };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(given) => given.map_err(|error| broken(error.to_string())),
        Err(_) => Err(broken("the tokenizers library cannot work with it, and panicked".to_owned())),
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where they are, `tokenizer_config.json` (tokens that `tokenizer.json` lacks, in its
    /// `added_tokens_decoder`), `generation_config.json` and `config.json` (the ids of end and padding, in that order of
    /// weight; a negative one is none).
    ///
    /// # Errors
    /// When a file is missing or broken, and when an id in a config is not what the tokenizer gives that token.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let bytes = fs::read(&path).map_err(|source| Error::io(&path, source))?;
        // What is no JSON at all is told with its place; the library panics over some of it.
        if let Err(source) = serde_json::from_slice::<IgnoredAny>(&bytes) {
            return Err(Error::Json { path, source });
        }
        let mut inner = guarded(&path.display().to_string(), || tokenizers::Tokenizer::from_bytes(&bytes))?;
        let config = optional_json(&dir.join("tokenizer_config.json"))?;
        add_tokens(&mut inner, &config, &optional_json(&dir.join("added_tokens.json"))?, dir)?;
        let mut tokenizer = Self::new(inner, config, path.display().to_string())?;
        let generation = optional_json(&dir.join("generation_config.json"))?;
        let model = optional_json(&dir.join("config.json"))?;
        let class = processor_class(dir, &tokenizer.config)?;
        tokenizer.family = Family::of(model.get("model_type").and_then(Value::as_str), class.as_deref());
        tokenizer.check_model_ids(&model, dir)?;
        let text = model.get("text_config").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, map) in [("generation_config.json", &generation), ("config.json", &model), ("config.json", &text)] {
            let ids = tokenizer.ids_of(map, "eos_token_id", &dir.join(name))?;
            if !ids.is_empty() {
                tokenizer.eos = ids;
                break;
            }
        }
        for (name, map) in [("generation_config.json", &generation), ("config.json", &model), ("config.json", &text)] {
            if let Some(&id) = tokenizer.ids_of(map, "pad_token_id", &dir.join(name))?.first() {
                tokenizer.pad = Some(id);
                break;
            }
        }
        tokenizer.control = Control::of(&tokenizer.inner, &tokenizer.config, tokenizer.family, &tokenizer.eos);
        Ok(tokenizer)
    }

    pub(crate) fn new(mut inner: tokenizers::Tokenizer, config: Map<String, Value>, origin: String) -> Result<Self> {
        // A prompt is never cut and never padded here, whatever the file says.
        inner
            .with_truncation(None)
            .map_err(|e| Error::Tokenizer { origin: origin.clone(), reason: e.to_string() })?
            .with_padding(None);
        let mut special_ids = HashMap::new();
        for (id, token) in inner.get_added_tokens_decoder() {
            if token.special {
                special_ids.insert(token.content, i64::from(id));
            }
        }
        let named = |key: &str| {
            let name = token_name(config.get(key)?)?;
            inner.token_to_id(name).map(i64::from)
        };
        let eos: Vec<i64> = named("eos_token").into_iter().collect();
        let pad = named("pad_token");
        let family = Family::of(None, None);
        let control = Control::of(&inner, &config, family, &eos);
        Ok(Self { inner, config, origin, special_ids, control, eos, pad, family })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` so that transformers' `AutoTokenizer` loads them.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = dir.join("tokenizer.json");
        self.inner.save(&path, true).map_err(|e| self.broken(&format!("{}: {e}", path.display())))?;
        let path = dir.join("tokenizer_config.json");
        let mut config = self.config.clone();
        config.shift_remove("chat_template"); // it is written as chat_template.jinja
        let mut text = serde_json::to_string_pretty(&config).expect("a tree of JSON values can be written");
        text.push('\n');
        fs::write(&path, text).map_err(|source| Error::io(path, source))
    }

    /// The ids of a rendered prompt; nothing is added before or after.
    ///
    /// # Errors
    /// When the tokenizer's own model fails, or the text is longer than any model's: it would take minutes to say so.
    pub fn encode(&self, rendered: &Rendered) -> Result<Vec<i64>> {
        let bytes = rendered.text().len();
        if bytes > MAX_TEXT {
            return Err(Error::LongText { bytes, most: MAX_TEXT });
        }
        let mut ids = Vec::new();
        for (text, run) in rendered.runs() {
            let encoding = guarded(&self.origin, || match run {
                Run::Text => self.inner.encode_fast(text, false),
                Run::Literal => self.encode_literal(text),
            })?;
            ids.extend(encoding.get_ids().iter().map(|&id| i64::from(id)));
        }
        Ok(ids)
    }

    /// The ids of someone's words.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_words(&self, words: &str, voice: Voice) -> Result<Vec<i64>> {
        let mut rendered = Rendered::default();
        rendered.push_words(&[(words, voice)], self);
        self.encode(&rendered)
    }

    /// Normaliser, pre-tokenizer and model without the search for added tokens.
    fn encode_literal(&self, text: &str) -> tokenizers::Result<tokenizers::Encoding> {
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer.normalize(&mut normalized)?;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        pieces.tokenize(|piece| self.inner.get_model().tokenize(piece.get()))?;
        pieces.into_encoding(None, 0, OffsetType::Byte)
    }

    /// What the tokenizer puts before a text that stands for itself, outside of any chat template (Llama's
    /// `<|begin_of_text|>`; nothing for Qwen).
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn leading_ids(&self) -> Result<Vec<i64>> {
        let encoding = self.inner.encode_fast("", true).map_err(|e| self.broken(&e.to_string()))?;
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// The token that texts begin with, where there is one.
    pub(crate) fn bos(&self) -> Option<&str> {
        self.config.get("bos_token").and_then(token_name)
    }

    /// The text of ids.
    ///
    /// # Errors
    /// When an id is not in the vocabulary: it is named.
    pub fn decode(&self, ids: &[i64], specials: Specials) -> Result<String> {
        let unknown = |id: i64| Error::UnknownId { id, vocabulary: self.vocab_size() };
        let ids = ids
            .iter()
            .map(|&id| match u32::try_from(id) {
                Ok(small) if self.inner.id_to_token(small).is_some() => Ok(small),
                _ => Err(unknown(id)),
            })
            .collect::<Result<Vec<u32>>>()?;
        guarded(&self.origin, || self.inner.decode(&ids, specials == Specials::Skip))
    }

    /// How many ids there are, special tokens included: one more than the greatest id.
    pub fn vocab_size(&self) -> usize {
        let added = self.inner.get_added_tokens_decoder().into_keys().max().map_or(0, |id| id as usize + 1);
        added.max(self.inner.get_vocab_size(false))
    }

    /// The id of a token by its text.
    pub fn id(&self, token: &str) -> Option<i64> {
        self.inner.token_to_id(token).map(i64::from)
    }

    /// The token of an id.
    pub fn token(&self, id: i64) -> Option<String> {
        self.inner.id_to_token(u32::try_from(id).ok()?)
    }

    /// The placeholder that stands for one token of an image.
    pub fn image_pad(&self) -> Option<i64> {
        self.id(self.family.image)
    }

    /// The placeholder that stands for one token of a video.
    pub fn video_pad(&self) -> Option<i64> {
        self.id(self.family.video)
    }

    /// The ids that end a completion, from `generation_config.json`, else `config.json`, else the tokenizer's own.
    pub fn eos(&self) -> &[i64] {
        &self.eos
    }

    /// The id that fills up a batch.
    pub fn pad(&self) -> Option<i64> {
        self.pad
    }

    /// The ids that stand for media and are never sampled: placeholders, and what opens and closes them.
    pub fn media_ids(&self) -> Vec<i64> {
        self.family.unsaid.iter().filter_map(|token| self.id(token)).collect()
    }

    /// The ids below `rows` that spell nothing: published models round their vocabulary up.
    pub fn unspelt_ids(&self, rows: i64) -> impl Iterator<Item = i64> {
        // Whole below the vocabulary of its pieces; there may be gaps before and after what was added.
        let whole = self.inner.get_vocab_size(false) as i64;
        (whole..rows).filter(|&id| u32::try_from(id).is_ok_and(|id| self.inner.id_to_token(id).is_none()))
    }

    /// The ids below `rows` that are never sampled: those of media, and those that spell nothing.
    pub fn unreachable_ids(&self, rows: i64) -> Vec<i64> {
        self.media_ids().into_iter().filter(|&id| id < rows).chain(self.unspelt_ids(rows)).collect()
    }

    /// What its model's family calls media.
    pub(crate) fn family(&self) -> &'static Family {
        self.family
    }

    /// Where the tokenizer came from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The id of a special token that something cannot do without.
    pub(crate) fn require(&self, token: &str, needed_for: &'static str) -> Result<i64> {
        self.special_ids.get(token).copied().ok_or_else(|| Error::MissingToken {
            origin: self.origin.clone(),
            token: token.into(),
            needed_for,
        })
    }

    fn broken(&self, reason: &str) -> Error {
        Error::Tokenizer { origin: self.origin.clone(), reason: reason.into() }
    }

    /// `image_token_id` and its like in `config.json` must be the ids the tokenizer gives those tokens.
    fn check_model_ids(&self, model: &Map<String, Value>, dir: &Path) -> Result<()> {
        for &(key, token) in self.family.ids {
            let (Some(said), Some(is)) = (model.get(key).and_then(Value::as_i64), self.id(token)) else { continue };
            // A negative id is none.
            if said >= 0 && said != is {
                let reason = format!("{said}, but tokenizer.json gives {token} the id {is}");
                return Err(Error::Setting {
                    file: dir.join("config.json").display().to_string(),
                    key: key.into(),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// One id or a list of ids under a key; nothing when the key is absent or null. A negative id is none.
    fn ids_of(&self, map: &Map<String, Value>, key: &str, path: &Path) -> Result<Vec<i64>> {
        let wrong = |reason: String| Error::Setting { file: path.display().to_string(), key: key.into(), reason };
        let values = match map.get(key) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().collect(),
            Some(value) => vec![value],
        };
        values
            .into_iter()
            .filter(|value| value.as_i64().is_none_or(|id| id >= 0))
            .map(|value| match value.as_i64() {
                Some(id) if self.token(id).is_some() => Ok(id),
                Some(id) => Err(wrong(format!("{id} is not in the vocabulary of {}", self.vocab_size()))),
                None => Err(wrong(format!("{value} is not a token id"))),
            })
            .collect()
    }
}

/// The JSON object in a file, or an empty one when there is no such file.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn optional_json(path: &Path) -> Result<Map<String, Value>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(source) => return Err(Error::io(path, source)),
    };
    serde_json::from_str(&text).map_err(|source| Error::Json { path: path.to_path_buf(), source })
}
