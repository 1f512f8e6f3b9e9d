use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::dataset::check_index;
use crate::faults::Faults;
use crate::{Dataset, Error, Fields, Media, Picture, Result, Sample};

/// Which of easy-VQA's own two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EasyVqaSplit {
    /// 4,000 images, 38,575 questions.
    Train,
    /// 1,000 images, 9,673 questions.
    Test,
}

impl EasyVqaSplit {
    fn folder(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// The published easy-VQA set: questions with one-word answers about 64 x 64 images of one shape.
///
/// `dir` is the package's `data` folder: `answers.txt` with an answer a line, and for each part `questions.json`
/// (`[["what is the blue shape?", "rectangle", 0], …]`) beside `images/0.png`, … A sample's fields hold `choices` (all
/// answers, in the file's order), `choices_text`, `question`, `solution`, `image_id` and `kind`: `exists` for yes and no,
/// otherwise `attribute`.
///
/// Source: Victor Zhou, *Easy Visual Question Answering* (2019), PyPI `easy-vqa` 1.0, MIT.
#[derive(Debug, Clone)]
pub struct EasyVqa {
    name: String,
    images: PathBuf,
    rows: Vec<Row>,
    answers: Vec<String>,
}

/// Question, answer, image.
type Row = (String, String, u64);

impl EasyVqa {
    /// Reads and checks the questions and answers; images are only looked for.
    ///
    /// # Errors
    /// When a file is missing or malformed, an answer is none of the listed ones, or an image is not there; bad
    /// questions are listed together, as `file:number: reason`, counted from 1.
    pub fn open(dir: impl AsRef<Path>, split: EasyVqaSplit) -> Result<Self> {
        let dir = dir.as_ref();
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| Error::io(path, e));
        let answers = answers(&dir.join("answers.txt"), &read(&dir.join("answers.txt"))?)?;
        let path = dir.join(split.folder()).join("questions.json");
        let whole = |reason: String| Error::Rows { faults: vec![format!("{}: {reason}", path.display())] };
        let values: Vec<Value> =
            serde_json::from_str(&read(&path)?).map_err(|e| whole(format!("not a JSON list: {e}")))?;
        if values.is_empty() {
            return Err(whole("no questions".to_owned()));
        }
        let images = dir.join(split.folder()).join("images");
        let known: BTreeSet<&str> = answers.iter().map(String::as_str).collect();
        let (mut rows, mut faults, mut looked_for) = (vec![], Faults::default(), BTreeMap::new());
        for (at, value) in values.into_iter().enumerate() {
            match serde_json::from_value::<Row>(value) {
                Err(error) => faults.note(&path, at + 1, &format!("not [question, answer, image]: {error}")),
                Ok((_, answer, _)) if !known.contains(answer.as_str()) => {
                    faults.note(&path, at + 1, &format!("answer {answer:?} is not in answers.txt"));
                }
                Ok(row) if *looked_for.entry(row.2).or_insert_with(|| image(&images, row.2).is_file()) => {
                    rows.push(row)
                }
                Ok(row) => faults.note(&path, at + 1, &format!("no file {}", image(&images, row.2).display())),
            }
        }
        faults.into_result()?;
        Ok(Self { name: format!("easy-vqa-{}", split.folder()), images, rows, answers })
    }

    /// The files that a part is read from, but for its images.
    #[must_use]
    pub fn rows_files(dir: &Path, split: EasyVqaSplit) -> Vec<PathBuf> {
        vec![dir.join("answers.txt"), dir.join(split.folder()).join("questions.json")]
    }

    /// Every answer, in the order of `answers.txt`.
    #[must_use]
    pub fn answers(&self) -> &[String] {
        &self.answers
    }
}

fn answers(path: &Path, text: &str) -> Result<Vec<String>> {
    let (mut answers, mut faults): (Vec<String>, _) = (vec![], Faults::default());
    for (at, answer) in text.lines().map(str::trim).enumerate().filter(|(_, a)| !a.is_empty()) {
        if answers.iter().any(|a| a == answer) {
            faults.note(path, at + 1, &format!("answer {answer:?} is listed twice"));
        }
        answers.push(answer.to_owned());
    }
    faults.into_result()?;
    if answers.is_empty() {
        return Err(Error::Rows { faults: vec![format!("{}: no answers", path.display())] });
    }
    Ok(answers)
}

fn image(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("{id}.png"))
}

impl Dataset for EasyVqa {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn get(&self, index: usize) -> Result<Sample> {
        check_index(self, index)?;
        let (question, answer, image_id) = &self.rows[index];
        let mut fields = Fields::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("kind", json!(if matches!(answer.as_str(), "yes" | "no") { "exists" } else { "attribute" }));
        put("question", json!(question));
        put("choices", json!(self.answers));
        put("choices_text", json!(crate::sample::or_list(&self.answers)));
        put("solution", json!(answer));
        put("image_id", json!(image_id));
        Ok(Sample {
            id: format!("{}-{index}", self.name),
            media: vec![Media::Image(Picture::File(image(&self.images, *image_id)))],
            question: question.clone(),
            solution: answer.clone(),
            fields,
            ..Sample::default()
        })
    }
}
