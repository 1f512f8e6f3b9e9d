use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{FrameSampling, ImageProcessor, MediaSettings, VideoProcessor};
use vr1_data::{Said, Sample};

use crate::family::{Begins, Patched};
use crate::files::{Files, Kept};
use crate::media::{Piece, Shown, Shows, pieces};
use crate::placing::Placing;
use crate::prompt::{Ingredients, Pads};
use crate::rendered::Rendered;
use crate::{
    ChatTemplate, Conversation, Ending, Error, Message, Part, Prompt, Result, Role, Specials, Tokenizer, Voice, media,
};

/// How a conversation becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layout {
    /// By the checkpoint's chat template, with the assistant's turn opened at the end.
    #[default]
    Chat,
    /// Without roles: the words as they are, and each image and video in its place between what its family puts around it
    /// (Qwen's `<|vision_start|>` and `<|vision_end|>`). VisualThinker prompts a base model this way, images first.
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
    /// For chats that show a video, where that is another.
    video_template: Option<ChatTemplate>,
    shows: Option<Arc<dyn Shows>>,
    /// The files of settings as they were read.
    kept: Kept,
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
        let files = Files::read(dir)?;
        let mut processor = Self::new(tokenizer, template, None, dir)?;
        if files.has_images() {
            processor.shows = Some((processor.tokenizer.family().shows)(&files)?);
            processor.kept = Kept::of(dir)?;
            processor.require_tokens()?;
            let family = processor.tokenizer.family();
            let own = |source| ChatTemplate::new(source, &processor.tokenizer.config, "the template for videos");
            processor.video_template = family.video_template.map(own).transpose()?;
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
        let shows = images.map(|images| Arc::new(Patched::new(images)) as Arc<dyn Shows>);
        let (video_template, kept) = (None, Kept::default());
        let processor = Self { tokenizer, template, video_template, shows, kept, origin: origin.to_path_buf() };
        if processor.shows.is_some() {
            processor.require_tokens()?;
        }
        Ok(processor)
    }

    fn require_tokens(&self) -> Result<()> {
        let family = self.tokenizer.family();
        for token in family.around.into_iter().chain([family.image]).filter(|token| !token.is_empty()) {
            self.tokenizer.require(token, "an image")?;
        }
        Ok(())
    }

    /// The same processor taking other frames of videos than the checkpoint's settings say.
    #[must_use]
    pub fn with_frame_sampling(mut self, sampling: FrameSampling) -> Self {
        if let Some(taking) = self.shows.as_ref().and_then(|shows| shows.taking(sampling)) {
            self.shows = Some(taking);
        }
        self
    }

    /// The same processor with other bounds of what is shown than the checkpoint's settings say; a checkpoint that it
    /// writes has them in its own settings.
    ///
    /// # Errors
    /// When bounds contradict each other, or the checkpoint shows nothing or is of a family that has none.
    pub fn with_media(mut self, settings: &MediaSettings) -> Result<Self> {
        if !settings.is_unsaid() {
            let shows = self.shows.as_ref().ok_or_else(|| Error::NoImageProcessor { dir: self.origin.clone() })?;
            self.shows = Some(shows.sized(settings)?);
        }
        Ok(self)
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
        let Some((images, videos)) = self.patches() else { return self.kept.save(dir) };
        images.save(dir)?;
        // Without a file of their own videos are processed as the image settings say.
        if VideoProcessor::from_dir(dir)? != *videos {
            videos.save(dir)?;
        }
        Ok(())
    }

    fn patches(&self) -> Option<(&ImageProcessor, &VideoProcessor)> {
        self.shows.as_ref()?.patches()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The image settings, where the checkpoint has some and its family cuts whole pictures into patches.
    pub fn images(&self) -> Option<&ImageProcessor> {
        self.patches().map(|(images, _)| images)
    }

    /// The video settings, where the checkpoint has some and its family cuts whole videos into patches.
    pub fn videos(&self) -> Option<&VideoProcessor> {
        self.patches().map(|(_, videos)| videos)
    }

    /// The chat template.
    ///
    /// # Errors
    /// When the checkpoint has none.
    pub fn template(&self) -> Result<&ChatTemplate> {
        self.template.as_ref().ok_or_else(|| Error::NoTemplate { origin: self.origin.display().to_string() })
    }

    /// The template that a conversation goes by.
    pub(crate) fn template_of(&self, messages: &[Message]) -> Result<&ChatTemplate> {
        let shows_video = messages.iter().any(|message| message.videos().next().is_some());
        match &self.video_template {
            Some(template) if shows_video => Ok(template),
            _ => self.template(),
        }
    }

    /// A prompt: text, ids, patches and positions, made together.
    ///
    /// # Errors
    /// When the template refuses the conversation, an image cannot be read or processed, or placeholders and images
    /// are not as many.
    pub fn prompt(&self, request: &PromptRequest<'_>) -> Result<Prompt> {
        let rendered = self.render(request)?;
        let mut placing = self.placing(request.sample, request.messages)?;
        let rendered = placing.place(&rendered);
        let mut ids = self.leading_ids(&rendered, request.layout)?;
        ids.extend(self.tokenizer.encode(&rendered).map_err(|error| error.of_sample(request.sample))?);
        let &PromptRequest { messages, layout, prefill, .. } = request;
        let conversation = Conversation { messages: messages.to_vec(), layout, prefill: prefill.into() };
        Ok(self.assemble(placing, rendered.text(), ids)?.with_conversation(conversation))
    }

    /// What the tokenizer puts before a text, where neither the template nor the raw layout put it there.
    pub(crate) fn leading_ids(&self, rendered: &Rendered, layout: Layout) -> Result<Vec<i64>> {
        let begun = || self.tokenizer.bos().is_some_and(|bos| rendered.text().starts_with(bos));
        let lacks = match (self.tokenizer.family().begins, layout) {
            (Begins::ByTemplate, Layout::Raw) => true,
            (Begins::Always, _) => !begun(),
            (Begins::ByTemplate | Begins::BehindPictures, _) => false,
        };
        if lacks { self.tokenizer.leading_ids() } else { Ok(Vec::new()) }
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
            Layout::Raw => self.render_raw(request, None)?,
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
        let mut placing = self.placing(request.sample, request.messages)?;
        let rendered = placing.place(&rendered);
        let ids = self.tokenizer.encode(&rendered).map_err(|error| error.of_sample(request.sample))?;
        Ok(so_far.followed_by(&self.assemble(placing, rendered.text(), ids)?))
    }

    /// A conversation as text, with its prefill.
    pub(crate) fn render(&self, request: &PromptRequest<'_>) -> Result<Rendered> {
        match request.layout {
            Layout::Chat => {
                let mut rendered =
                    self.template_of(request.messages)?.render(request.messages, Ending::Open, &self.tokenizer)?;
                rendered.push_words(&[(request.prefill, Voice::Model)], &self.tokenizer);
                Ok(rendered)
            }
            Layout::Raw => {
                let behind = self.tokenizer.family().begins == Begins::BehindPictures;
                self.render_raw(request, self.tokenizer.bos().filter(|_| behind))
            }
        }
    }

    /// The raw layout, `begin` behind the media that it begins with.
    fn render_raw(&self, request: &PromptRequest<'_>, mut begin: Option<&str>) -> Result<Rendered> {
        let [message] = request.messages else {
            let reason = format!("the raw layout takes one message, not {}", request.messages.len());
            return Err(Error::Conversation { sample: request.sample.into(), reason });
        };
        let family = self.tokenizer.family();
        let (mut rendered, mut words) = (Rendered::default(), String::new());
        for part in &message.parts {
            let ([before, after], stands) = match part {
                Part::Text(text) => {
                    rendered.push_markup(begin.take().unwrap_or_default());
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
        rendered.push_markup(begin.unwrap_or_default());
        // As one: the end of the words and the beginning of the prefill may spell a token together.
        rendered.push_words(&[(&words, Voice::User), (request.prefill, Voice::Model)], &self.tokenizer);
        Ok(rendered)
    }

    /// What the template writes after an assistant's answer when these messages follow: the end of that turn, the
    /// messages, and the opening of the next.
    fn render_further(&self, messages: &[Message]) -> Result<Rendered> {
        const ANSWER: &str = "AnswerBefore";
        let template = self.template_of(messages)?;
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

    /// Processes what messages show, to be put in its places.
    pub(crate) fn placing<'a>(&'a self, sample: &'a str, messages: &[Message]) -> Result<Placing<'a>> {
        self.placing_by(sample, messages, |shows, shown| pieces(shows, sample, shown))
    }

    /// The same of what `make` makes of what is shown.
    pub(crate) fn placing_by<'a, R>(
        &'a self,
        sample: &'a str,
        messages: &[Message],
        make: impl FnOnce(&dyn Shows, &[Shown<'_>]) -> Result<Vec<Piece<R>>>,
    ) -> Result<Placing<'a, R>> {
        let shown = Shown::of(messages);
        let made = match (&self.shows, shown.first()) {
            (_, None) => Vec::new(),
            (Some(shows), _) => make(shows.as_ref(), &shown)?,
            (None, Some(first)) => {
                let count = shown.iter().filter(|shown| shown.kind() == first.kind()).count();
                let reason = Error::NoImageProcessor { dir: self.origin.clone() }.to_string();
                return Err(Error::NoProcessor { sample: sample.into(), kind: first.kind(), count, reason });
            }
        };
        Placing::new(sample, &self.tokenizer, shown.iter().map(Shown::kind).zip(made))
    }

    pub(crate) fn assemble(&self, placing: Placing<'_>, text: &str, ids: Vec<i64>) -> Result<Prompt> {
        Prompt::new(Ingredients {
            sample: placing.sample().into(),
            text: text.into(),
            ids,
            pads: self.pads(),
            runs: placing.runs()?,
            media_ids: self.tokenizer.media_ids().into(),
        })
    }

    /// The ids that stand for media.
    pub(crate) fn pads(&self) -> Pads {
        Pads { image: self.tokenizer.image_pad(), video: self.tokenizer.video_pad() }
    }
}
