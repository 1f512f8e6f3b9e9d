//! Model directories that are not whole, or not of one piece.

use super::*;

#[test]
fn a_model_directory_without_weights_says_which_files_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    fs::remove_file(model.join("model.safetensors")).unwrap();
    let place = model.to_str().unwrap();
    says(&generate(&model, &[]), &[place, "model.safetensors", "model.safetensors.index.json"]);
    fs::remove_file(model.join("tokenizer.json")).unwrap();
    says(&generate(&model, &[]), &[place, "tokenizer.json"]);
    says(&generate(&folder.path().join("nothing"), &[]), &["nothing", "no such directory"]);
}

#[test]
fn missing_extra_and_misshapen_tensors_are_all_named_in_one_error() {
    const MISSING: [&str; 2] = ["model.norm.weight", "visual.patch_embed.proj.weight"];
    const MISSHAPEN: &str = "model.layers.0.input_layernorm.weight";
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let mut tensors: Vec<(String, TensorView<'_>)> = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let position =
        |tensors: &[(String, TensorView<'_>)], name: &str| tensors.iter().position(|(n, _)| n == name).unwrap();
    for name in MISSING {
        let at = position(&tensors, name);
        tensors.remove(at);
    }
    let view = &mut tensors.iter_mut().find(|(name, _)| name == MISSHAPEN).unwrap().1;
    let width = view.shape()[0];
    *view = TensorView::new(view.dtype(), vec![2, width / 2], view.data()).unwrap();
    let extra = tensors[position(&tensors, MISSHAPEN)].1.clone();
    tensors.push(("model.extra.weight".into(), extra));
    let damaged = serialize(tensors, None).unwrap();
    drop(bytes);
    fs::write(&path, damaged).unwrap();

    let said = generate(&model, &[]);
    says(&said, &[model.to_str().unwrap(), "unexpected: model.extra.weight"]);
    MISSING.iter().for_each(|name| says(&said, &[&format!("missing: {name}")]));
    says(&said, &[&format!("shape of {MISSHAPEN}: the model has [{width}], the file [2, {}]", width / 2)]);
}

#[test]
fn a_safetensors_file_that_is_cut_short_is_named_wherever_the_cut_is() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    // In the data, before its last byte, in the header, in the header's length, and nothing at all.
    for length in [bytes.len() / 2, bytes.len() - 1, 100, 5, 0] {
        fs::write(&path, &bytes[..length]).unwrap();
        says(&generate(&model, &[]), &[path.to_str().unwrap()]);
    }
    // A header that claims to be longer than any memory.
    fs::write(&path, [&[0xff; 8], &bytes[8..]].concat()).unwrap();
    says(&generate(&model, &[]), &[path.to_str().unwrap()]);
}

#[test]
fn a_broken_configuration_is_named_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let path = model.join("config.json");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("\"qwen2_vl\"", "\"gpt2\"")).unwrap();
    let known = "\"gpt2\" is not one of llama, mistral, qwen2, qwen2_vl, qwen2_5_vl";
    says(&generate(&model, &[]), &[path.to_str().unwrap(), "model_type", known]);
    fs::write(&path, config.replace("\"hidden_size\"", "\"hiden_size\"")).unwrap();
    says(&generate(&model, &[]), &[path.to_str().unwrap(), "hidden_size"]);
    for (key, value, reason) in [
        ("num_attention_heads", "6", "`num_attention_heads`: 6 does not divide `hidden_size` 128"),
        ("num_key_value_heads", "3", "`num_key_value_heads`: 3 does not divide `num_attention_heads`"),
        ("num_heads", "5", "`embed_dim` 96 must be a multiple of four times `num_heads` 5"),
        ("vocab_size", "100", "the weights do not fit the model"),
    ] {
        let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
        let line = lines.iter_mut().find(|line| line.trim().starts_with(&format!("\"{key}\":"))).unwrap();
        *line = format!("\"{key}\": {value},");
        fs::write(&path, lines.join("\n")).unwrap();
        says(&generate(&model, &[]), &[reason]);
    }
    fs::write(&path, &config[..config.len() / 2]).unwrap();
    says(&generate(&model, &[]), &[path.to_str().unwrap(), "JSON"]);
}

#[test]
fn a_processor_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let path = model.join("preprocessor_config.json");
    let settings = fs::read_to_string(&path).unwrap();
    fs::write(&path, settings.replace("\"patch_size\": 8", "\"patch_size\": 7")).unwrap();
    says(&generate(&model, &[]), &["`patch_size` 7 for images", "`vision_config.patch_size` 8"]);
}

#[test]
fn weights_that_are_not_finite_are_named_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let path = model.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors: Vec<(String, TensorView<'_>)> = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let name = "model.norm.weight";
    let broken = &tensors.iter().find(|(found, _)| found == name).unwrap().1;
    // The last number of it, whatever kind it is: all bits of the exponent set.
    let mut data = broken.data().to_vec();
    data.iter_mut().rev().take(2).for_each(|byte| *byte = 0xff);
    let broken = TensorView::new(broken.dtype(), broken.shape().to_vec(), &data).unwrap();
    let tensors =
        tensors.iter().map(|(found, view)| (found, if found == name { broken.clone() } else { view.clone() }));
    let damaged = serialize(tensors, None).unwrap();
    fs::write(&path, damaged).unwrap();
    says(&generate(&model, &["--check-weights"]), &[&format!("{name} holds a number that is not finite")]);
}

#[test]
fn a_tokenizer_that_is_cut_short_is_named_wherever_the_cut_is() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let path = model.join("tokenizer.json");
    let whole = fs::read(&path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    // Some of its parts make the library that reads it panic where they are cut.
    let within = |key: &str| text.find(key).unwrap() + key.len() + 20;
    let cuts =
        ["\"decoder\":", "\"pre_tokenizer\":", "\"post_processor\":", "\"model\":", "\"added_tokens\":"].map(within);
    for cut in cuts.into_iter().chain([1, whole.len() / 2, whole.len() - 2]) {
        fs::write(&path, &whole[..cut]).unwrap();
        let said = generate(&model, &[]);
        says(&said, &["tokenizer.json: not valid JSON: EOF"]);
        assert!(!said.contains("panicked"), "{said}");
    }
}
