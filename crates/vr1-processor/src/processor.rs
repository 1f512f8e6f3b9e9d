use std::path::{Path, PathBuf};

use crate::{FrameSampling, ImageProcessor, VideoProcessor};
use serde_json::Value;
use vr1_data::{Said, Sample};

use crate::family::{Family, Positions};
use crate::media::{MediaProcessor, Shown};
use crate::prompt::{Ingredients, Pads};
use crate::rendered::Rendered;
use crate::tokenizer::optional_json;
use crate::{ChatTemplate, Ending, Error, Message, Part, Prompt, Result, Role, Specials, Tokenizer, Voice, media};

/// How a conversation becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layout {
    /// By the checkpoint's chat template, with the assistant's turn opened at the end.
    #[default]
    Chat,
    /// Without roles: the words as they are, and each image and video in its place between `<|vision_start|>` and
    /// `<|vision_end|>`. VisualThinker prompts a base model this way, images first.
    Raw,
}

/// What a prompt is to be made of.
#[derive(Debug, Clone)]
pub struct PromptRequest<'a> {
    /// Names the sample in errors and records.
    pub sample: &'a str,
    /// The conversation; one message in the raw layout.
    pub messages: &'a [Message],
    /// How it becomes text.
    pub layout: Layout,
    /// Words put into the assistant's mouth, after everything else.
    pub prefill: &'a str,
}

/// Samples to prompts, with the tokenizer, chat template, image and video settings of a checkpoint.
#[derive(Debug, Clone)]
pub struct Processor {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    media: Option<MediaProcessor>,
    origin: PathBuf,
}

impl Processor {
    /// Reads a checkpoint directory. Chat template and media settings may be absent: then a chat, or an image, is an
    /// error when it comes.
    ///
    /// # Errors
    /// When a file is broken, when there is no tokenizer, or when it lacks the tokens that images need.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let tokenizer = Tokenizer::from_dir(dir)?;
        let template = ChatTemplate::from_dir(dir)?;
        let images = match ImageProcessor::from_dir(dir) {
            Ok(images) => Some(images),
            Err(Error::NoImageProcessor { .. }) => None,
            Err(other) => return Err(other),
        };
        let mut processor = Self::new(tokenizer, template, images, dir)?;
        if let Some(media) = &mut processor.media {
            media.videos = VideoProcessor::from_dir(dir)?;
            media.tokens_per_second = tokens_per_second(dir, processor.tokenizer.family())?;
        }
        Ok(processor)
    }

    /// Joins parts made elsewhere; `origin` names them in errors. The frames of videos are processed as images are.
    ///
    /// # Errors
    /// When there are image settings and the tokenizer lacks the tokens that images need.
    pub fn new(
        mut tokenizer: Tokenizer,
        template: Option<ChatTemplate>,
        images: Option<ImageProcessor>,
        origin: &Path,
    ) -> Result<Self> {
        if let Some(template) = &template {
            let (roles, ends) = template.turns(&tokenizer);
            tokenizer.control.add(&tokenizer.inner, &roles, &ends);
        }
        if images.is_some() {
            let family = tokenizer.family();
            for token in family.around.into_iter().chain([family.image]) {
                tokenizer.require(token, "an image")?;
            }
        }
        Ok(Self { tokenizer, template, media: images.map(MediaProcessor::new), origin: origin.to_path_buf() })
    }

    /// The same processor taking other frames of videos than the checkpoint's settings say.
    #[must_use]
    pub fn with_frame_sampling(mut self, sampling: FrameSampling) -> Self {
        if let Some(media) = &mut self.media {
            media.videos.sampling = sampling;
        }
        self
    }

    /// Writes tokenizer, chat template, image and video settings, so that transformers' `AutoProcessor` loads them beside a
    /// `config.json`, whose `model_type` decides on its class.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(|source| Error::io(dir, source))?;
        self.tokenizer.save(dir)?;
        self.template.as_ref().map_or(Ok(()), |template| template.save(dir))?;
        let Some(media) = &self.media else { return Ok(()) };
        media.images.save(dir)?;
        // Without a file of their own videos are processed as the image settings say.
        if VideoProcessor::from_dir(dir)? != media.videos {
            media.videos.save(dir)?;
        }
        Ok(())
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The image settings, where the checkpoint has some.
    pub fn images(&self) -> Option<&ImageProcessor> {
        self.media.as_ref().map(|media| &media.images)
    }

    /// The video settings, where the checkpoint has some.
    pub fn videos(&self) -> Option<&VideoProcessor> {
        self.media.as_ref().map(|media| &media.videos)
    }

    /// The chat template.
    ///
    /// # Errors
    /// When the checkpoint has none.
    pub fn template(&self) -> Result<&ChatTemplate> {
        self.template.as_ref().ok_or_else(|| Error::NoTemplate { origin: self.origin.display().to_string() })
    }

    /// A prompt: text, ids, patches and positions, made together.
    ///
    /// # Errors
    /// When the template refuses the conversation, an image cannot be read or processed, or placeholders and images
    /// are not as many.
    pub fn prompt(&self, request: &PromptRequest<'_>) -> Result<Prompt> {
        let rendered = self.render(request)?;
        let mut ids = match request.layout {
            Layout::Chat => Vec::new(),
            Layout::Raw => self.tokenizer.leading_ids()?,
        };
        ids.extend(self.tokenizer.encode(&rendered)?);
        self.assemble(request.sample, rendered.text(), ids, request.messages)
    }

    /// A prompt of one user turn about a sample: all its media, then `text`, as `vr1 generate` asks a question; where the
    /// text is the sample's question, its media are in their [places](Sample::places).
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    pub fn sample(&self, sample: &Sample, text: &str, layout: Layout, prefill: &str) -> Result<Prompt> {
        if text == sample.question {
            return self.said(sample, &Said::question(sample), layout, prefill);
        }
        self.one(sample, Message::user(media(sample), text), layout, prefill)
    }

    /// A prompt of one turn about a sample, media where it shows them.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt).
    pub fn said(&self, sample: &Sample, said: &Said, layout: Layout, prefill: &str) -> Result<Prompt> {
        self.one(sample, Message::said(said, sample), layout, prefill)
    }

    fn one(&self, sample: &Sample, message: Message, layout: Layout, prefill: &str) -> Result<Prompt> {
        let messages = [message];
        self.prompt(&PromptRequest { sample: &sample.id, messages: &messages, layout, prefill })
    }

    /// The prompt of the next turn: what was sampled, as it is, then the end of the assistant's turn where the model
    /// did not end it itself, then the new messages and the opening of the assistant's next turn.
    ///
    /// In the raw layout the new messages' words follow the sampled tokens directly. `request.messages` are the new
    /// messages alone.
    ///
    /// # Errors
    /// As [`prompt`](Self::prompt), and when a media token is among the sampled ones.
    pub fn next_turn(&self, prompt: &Prompt, sampled: &[i64], request: &PromptRequest<'_>) -> Result<Prompt> {
        let so_far = prompt.extend(sampled, &self.tokenizer.decode(sampled, Specials::Keep)?)?;
        let rendered = match request.layout {
            Layout::Raw => self.render_raw(request)?,
            Layout::Chat => {
                let mut rendered = self.render_further(request.messages)?;
                rendered.push_words(&[(request.prefill, Voice::Model)], &self.tokenizer);
                let last = sampled.last().filter(|id| self.tokenizer.is_control(**id));
                let ended = last.and_then(|&id| self.tokenizer.token(id));
                match ended.filter(|token| rendered.text().starts_with(token.as_str())) {
                    Some(token) => rendered.slice(token.len()..rendered.text().len()),
                    None => rendered,
                }
            }
        };
        let ids = self.tokenizer.encode(&rendered)?;
        Ok(so_far.followed_by(&self.assemble(request.sample, rendered.text(), ids, request.messages)?))
    }

    /// A conversation as text, with its prefill.
    fn render(&self, request: &PromptRequest<'_>) -> Result<Rendered> {
        match request.layout {
            Layout::Chat => {
                let mut rendered = self.template()?.render(request.messages, Ending::Open, &self.tokenizer)?;
                rendered.push_words(&[(request.prefill, Voice::Model)], &self.tokenizer);
                Ok(rendered)
            }
            Layout::Raw => self.render_raw(request),
        }
    }

    fn render_raw(&self, request: &PromptRequest<'_>) -> Result<Rendered> {
        let [message] = request.messages else {
            let reason = format!("the raw layout takes one message, not {}", request.messages.len());
            return Err(Error::Conversation { sample: request.sample.into(), reason });
        };
        let family = self.tokenizer.family();
        let (mut rendered, mut words) = (Rendered::default(), String::new());
        for part in &message.parts {
            let ([before, after], stands) = match part {
                Part::Text(text) => {
                    words.push_str(text);
                    continue;
                }
                Part::Image(_) => (family.around, family.image),
                Part::Video(_) => (family.around, family.video),
                Part::ToolCall { .. } => continue,
            };
            rendered.push_words(&[(&std::mem::take(&mut words), Voice::User)], &self.tokenizer);
            rendered.push_markup(&format!("{before}{stands}{after}"));
        }
        // As one: the end of the words and the beginning of the prefill may spell a token together.
        rendered.push_words(&[(&words, Voice::User), (request.prefill, Voice::Model)], &self.tokenizer);
        Ok(rendered)
    }

    /// What the template writes after an assistant's answer when these messages follow: the end of that turn, the
    /// messages, and the opening of the next.
    fn render_further(&self, messages: &[Message]) -> Result<Rendered> {
        const ANSWER: &str = "AnswerBefore";
        let template = self.template()?;
        let mut conversation =
            vec![Message::text(Role::User, "QuestionBefore"), Message::text(Role::Assistant, ANSWER)];
        conversation.extend_from_slice(messages);
        let rendered = template.render(&conversation, Ending::Open, &self.tokenizer)?;
        match rendered.text().find(ANSWER) {
            Some(at) => Ok(rendered.slice(at + ANSWER.len()..rendered.text().len())),
            None => Err(Error::Template {
                origin: self.origin.display().to_string(),
                reason: "it leaves an earlier answer out, so a further turn cannot be put after sampled tokens".into(),
            }),
        }
    }

    pub(crate) fn assemble(&self, sample: &str, text: &str, ids: Vec<i64>, messages: &[Message]) -> Result<Prompt> {
        let shown = Shown::of(messages);
        let pieces = match (&self.media, shown.first()) {
            (_, None) => Vec::new(),
            (Some(media), _) => {
                if shown.iter().any(|shown| matches!(shown, Shown::Video(_))) {
                    self.tokenizer.require(self.tokenizer.family().video, "a video")?;
                }
                media.pieces(sample, &shown)?
            }
            (None, Some(first)) => {
                let count = shown.iter().filter(|shown| shown.kind() == first.kind()).count();
                let reason = Error::NoImageProcessor { dir: self.origin.clone() }.to_string();
                return Err(Error::NoProcessor { sample: sample.into(), kind: first.kind(), count, reason });
            }
        };
        Prompt::new(Ingredients {
            sample: sample.into(),
            text: text.into(),
            ids,
            pads: self.pads(),
            pieces,
            media_ids: self.tokenizer.media_ids().into(),
        })
    }

    /// The ids that stand for media.
    pub(crate) fn pads(&self) -> Pads {
        Pads { image: self.tokenizer.image_pad(), video: self.tokenizer.video_pad() }
    }
}

/// Along a video's positions in time, how many make a second, in families that count seconds.
fn tokens_per_second(dir: &Path, family: &Family) -> Result<Option<f64>> {
    let Positions::Seconds { tokens_per_second } = family.positions else { return Ok(None) };
    let path = dir.join("config.json");
    let config = optional_json(&path)?;
    let key = "vision_config.tokens_per_second";
    match config.get("vision_config").and_then(|vision| vision.get("tokens_per_second")) {
        None | Some(Value::Null) => Ok(Some(tokens_per_second)),
        Some(value) => match value.as_f64().filter(|number| *number >= 0.0) {
            Some(number) => Ok(Some(number)),
            None => {
                let (file, reason) = (path.display().to_string(), format!("{value} is not a number of tokens"));
                Err(Error::Setting { file, key: key.into(), reason })
            }
        },
    }
}
