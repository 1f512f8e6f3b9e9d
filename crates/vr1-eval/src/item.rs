use vr1_data::{Media, Picture, Said, Sample};

use crate::{Gold, Result};

/// A question of a benchmark.
#[derive(Debug, Clone)]
pub struct Item {
    /// What is shown and asked; its question is without the benchmark's instructions on how to answer.
    pub sample: Sample,
    /// Where it stands, as an error names it: the file and the row.
    pub at: String,
    /// What the model is told: `{question}` stands for the question, another name in braces for that field of the sample.
    pub template: String,
    /// What is right.
    pub gold: Gold,
    /// What it is counted under: `("task", "Count")`. A name may come several times.
    pub groups: Vec<(String, String)>,
    /// Width and height of its first picture, where the answer is boxes in it.
    pub size: Option<[u32; 2]>,
}

impl Item {
    /// The same without pictures that are held in memory, and with the size of the first where boxes need it.
    pub(crate) fn light(mut self) -> Result<Self> {
        let first = self
            .sample
            .media
            .iter()
            .find_map(|media| if let Media::Image(picture) = media { Some(picture) } else { None });
        if let (Some(picture), Gold::Box(_) | Gold::Boxes(_)) = (first, &self.gold) {
            let (width, height) = picture.dimensions()?;
            self.size = Some([width, height]);
        }
        let held = |media: &Media| matches!(media, Media::Image(Picture::Encoded { .. } | Picture::Pixels(_)));
        if self.sample.media.iter().any(held) {
            self.sample.media.clear();
            self.sample.places.clear();
        }
        Ok(self)
    }

    /// The user's turn that asks the question as `template` says.
    pub(crate) fn said(&self, template: &str) -> Said {
        let words = |question: &str| Ok::<_, std::convert::Infallible>(self.filled(template, question));
        match Said::asking(&self.sample, words) {
            Ok(said) => said,
            Err(never) => match never {},
        }
    }

    fn filled(&self, template: &str, question: &str) -> String {
        let (mut text, mut rest) = (String::new(), template);
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let name = rest[1..].split_once('}').map(|(name, _)| name);
            let value = name.and_then(|name| match name {
                "question" => Some(question.to_owned()),
                name => self.sample.fields.get(name).and_then(serde_json::Value::as_str).map(str::to_owned),
            });
            match (name, value) {
                (Some(name), Some(value)) => {
                    text.push_str(&value);
                    rest = &rest[name.len() + 2..];
                }
                _ => {
                    text.push('{');
                    rest = &rest[1..];
                }
            }
        }
        text + rest
    }
}
