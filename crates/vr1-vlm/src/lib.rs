//! A checkpoint directory made into a model: towers joined, tokenizer, chat template, processor.
