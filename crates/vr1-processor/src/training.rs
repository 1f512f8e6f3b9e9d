use serde_json::{Map, Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::{AddedToken, SplitDelimiterBehavior};

use crate::{Error, Result, Tokenizer};

/// How Qwen2 cuts text before merging: contractions, words with the character before them, single digits, runs of
/// punctuation with the line breaks after them, line breaks, other space.
const SPLIT: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Qwen2-VL's special tokens, in the order of their ids.
const SPECIALS: [&str; 14] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
];

impl Tokenizer {
    /// Learns a byte-level BPE tokenizer of Qwen2's kind from texts: NFC, Qwen2's splitting, then merges of the
    /// pair that is most frequent, until there are `vocab_size` ids, the 14 special tokens of Qwen2-VL included.
    ///
    /// The 256 bytes come first, then the merges, then the special tokens, as in Qwen2-VL. Texts that are short of
    /// pairs seen twice give fewer ids. The same texts in the same order give the same tokenizer.
    ///
    /// # Errors
    /// When `vocab_size` has no room for 256 bytes and the special tokens.
    pub fn train(texts: impl Iterator<Item = String> + Send, vocab_size: usize) -> Result<Self> {
        let broken = |reason: String| Error::Tokenizer { origin: "training a tokenizer".into(), reason };
        let library = |e: tokenizers::Error| broken(e.to_string());
        let Some(entries) = vocab_size.checked_sub(SPECIALS.len()).filter(|&entries| entries >= 256) else {
            return Err(broken(format!(
                "vocab_size {vocab_size} is below 256 bytes and {} special tokens",
                SPECIALS.len()
            )));
        };
        let split = Split::new(SplitPattern::Regex(SPLIT.into()), SplitDelimiterBehavior::Isolated, false);
        let stages: Vec<PreTokenizerWrapper> =
            vec![split.map_err(library)?.into(), ByteLevel::new(false, false, false).into()];
        let mut inner = tokenizers::Tokenizer::new(BPE::default());
        inner.with_normalizer(Some(NFC)).map_err(library)?;
        inner.with_pre_tokenizer(Some(Sequence::new(stages))).with_decoder(Some(ByteLevel::default()));
        let trainer = BpeTrainerBuilder::new()
            .vocab_size(entries)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        inner.train(&mut TrainerWrapper::from(trainer), texts).map_err(library)?;
        inner.add_special_tokens(SPECIALS.map(|token| AddedToken::from(token, true))).map_err(library)?;
        let config = config(&inner);
        Self::new(inner, config, "a tokenizer trained here".into())
    }
}

/// What `tokenizer_config.json` says of such a tokenizer.
fn config(inner: &tokenizers::Tokenizer) -> Map<String, Value> {
    let mut added: Vec<(u32, AddedToken)> = inner.get_added_tokens_decoder().into_iter().collect();
    added.sort_by_key(|(id, _)| *id);
    let decoder: Map<String, Value> = added
        .into_iter()
        .map(|(id, token)| {
            let entry = json!({
                "content": token.content, "lstrip": token.lstrip, "normalized": token.normalized,
                "rstrip": token.rstrip, "single_word": token.single_word, "special": token.special,
            });
            (id.to_string(), entry)
        })
        .collect();
    let config = json!({
        "add_prefix_space": false,
        "added_tokens_decoder": decoder,
        "additional_special_tokens": SPECIALS[1..],
        "bos_token": null,
        "clean_up_tokenization_spaces": false,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": false,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": null,
    });
    match config {
        Value::Object(map) => map,
        _ => unreachable!("it was written as an object"),
    }
}
