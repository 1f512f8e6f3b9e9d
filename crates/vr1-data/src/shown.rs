//! The images and videos of a row, and their places in its prompt.

use crate::faults::PLACES;
use crate::files::{IMAGE_MARKER, Root, VIDEO_MARKER, images, videos};
use crate::spoken::{Kind, Piece, Spoken, present, stray};
use crate::{Fields, Media, Said, SaidPart, Speaker};

/// The keys of a row that name files.
const MEDIA_KEYS: &str = "image, images, image_path, video, videos";

/// What the row shows, by the keys that name files.
#[derive(Debug)]
pub(crate) struct Shown {
    images: Vec<Media>,
    videos: Vec<Media>,
    /// A key that seems to name media and is not read.
    stray: Option<String>,
}

impl Shown {
    /// Takes `images` or `image`, or else `image_path`, and `video` and `videos`.
    pub(crate) fn take(fields: &mut Fields, root: Root<'_>) -> Result<Self, String> {
        let (several, one) = (present(fields, "images"), present(fields, "image"));
        let images = match (several, one) {
            (Some(_), Some(_)) => return Err("images, image: the row has both".to_owned()),
            (Some(several), None) => images("images", Some(several), root)?,
            (None, Some(one)) => images("image", Some(one), root)?,
            (None, None) => images("image_path", present(fields, "image_path"), root)?,
        };
        let videos = videos(present(fields, "video"), present(fields, "videos"), root)?;
        Ok(Self { images, videos, stray: stray("", fields) })
    }

    /// The prompt with each image and video where it is shown, and all of them in that order.
    ///
    /// Where the prompt has no place for any, they come before the words of the first user's turn.
    pub(crate) fn place(self, mut prompt: Vec<Spoken>) -> Result<(Vec<Said>, Vec<Media>), String> {
        make_places(&mut prompt, Kind::Video, self.videos.len())?;
        make_places(&mut prompt, Kind::Image, self.images.len())?; // before the videos
        let (mut images, mut videos, mut shown) = (self.images.into_iter(), self.videos.into_iter(), vec![]);
        let mut part = |piece| {
            let media = match piece {
                Piece::Words(words) => return Some(SaidPart::Text(words)),
                Piece::Own(media) => Some(media),
                Piece::Place(Kind::Image) => images.next(),
                Piece::Place(Kind::Video) => videos.next(),
            };
            shown.push(media?);
            Some(SaidPart::Media(shown.len() - 1))
        };
        let (mut said, mut unread) = (vec![], self.stray);
        for Spoken { speaker, pieces, stray, .. } in prompt {
            unread = unread.or(stray);
            said.push(Said { speaker, parts: pieces.into_iter().filter_map(&mut part).collect() });
        }
        match unread.filter(|_| shown.is_empty()) {
            Some(key) => {
                Err(format!("{key}: not a key that media are read from ({MEDIA_KEYS}), and the row shows nothing"))
            }
            None => Ok((said, shown)),
        }
    }
}

/// Sees to it that a prompt has `count` places for media of a kind.
fn make_places(prompt: &mut [Spoken], kind: Kind, count: usize) -> Result<(), String> {
    let pieces = || prompt.iter().flat_map(|turn| &turn.pieces);
    let places = pieces().filter(|piece| matches!(piece, Piece::Place(k) if *k == kind)).count();
    let own = pieces().any(|piece| match piece {
        Piece::Own(Media::Image(_)) => kind == Kind::Image,
        Piece::Own(Media::Video(_)) => kind == Kind::Video,
        _ => false,
    });
    if places == count {
        return Ok(());
    }
    match prompt.iter_mut().find(|turn| turn.speaker == Speaker::User) {
        Some(turn) if places == 0 && !own => {
            turn.pieces.splice(0..0, std::iter::repeat_with(|| Piece::Place(kind)).take(count));
            Ok(())
        }
        _ => {
            let (name, marker) = if kind == Kind::Image { ("images", IMAGE_MARKER) } else { ("videos", VIDEO_MARKER) };
            Err(format!("{name}: the row has {count}, {PLACES} {places} ({marker})"))
        }
    }
}

/// A prompt ends with the user, and no one in it but the system says nothing.
pub(crate) fn check(prompt: &[Spoken]) -> Result<(), String> {
    if let Some(last) = prompt.last()
        && last.speaker != Speaker::User
    {
        return Err(format!("{}: said by the {}; a prompt ends with the user", last.at, last.speaker.name()));
    }
    let blank = |piece: &Piece| matches!(piece, Piece::Words(words) if words.trim().is_empty());
    match prompt.iter().find(|turn| turn.speaker != Speaker::System && turn.pieces.iter().all(blank)) {
        Some(turn) => Err(format!("{}: empty", turn.at)),
        None => Ok(()),
    }
}
