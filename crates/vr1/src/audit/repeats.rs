//! What stands in several rows: copies, contradictions, and held-out rows that are learnt from.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use vr1_data::{Album, PictureSketch, TextSketch};

use super::finding::{Finding, Kind};
use super::look::Looked;

/// Texts of which so much is the same are nearly the same.
const NEARLY: f64 = 0.9;

/// Every row's place and marks: some hundreds of bytes a row.
#[derive(Default)]
pub(crate) struct Repeats {
    places: Vec<Box<str>>,
    pub(crate) album: Album,
    asked: HashMap<u64, Asked>,
    sketches: Vec<(u32, TextSketch)>,
    bands: HashMap<u64, Vec<u32>>,
    /// In which row that is learnt from a picture was first.
    learnt_pictures: HashMap<u32, u32>,
    shared: HashSet<u32>,
    looks: Vec<(u32, u32, PictureSketch)>,
    look_bands: HashMap<u64, Vec<u32>>,
}

#[derive(Clone)]
struct Asked {
    row: u32,
    held_out: bool,
    answer: u64,
    said: Box<str>,
}

impl Repeats {
    /// The place of a row by its number.
    pub(crate) fn place(&self, row: u32) -> String {
        self.places.get(row as usize).map_or_else(String::new, |place| place.to_string())
    }

    /// Takes a row up, and says what of it was there before; its number.
    pub(crate) fn add(&mut self, looked: &Looked, held_out: bool) -> (u32, Vec<Finding>) {
        let row = self.places.len() as u32;
        self.places.push(looked.place.as_str().into());
        let mut findings = Vec::new();
        let mut find = |kind, reason: String| findings.push(Finding::new(kind, &looked.place, reason));
        let mut pictures = Vec::with_capacity(looked.pictures.len());
        for (picture, seen, sketch) in &looked.pictures {
            let before = self.album.len();
            match self.album.number(picture, seen) {
                Ok(number) => {
                    pictures.push(number);
                    if let (Some(sketch), true) = (sketch, self.album.len() > before)
                        && let Some(first) = self.looks_like(row, number, *sketch)
                    {
                        find(Kind::LookAlike, format!("a picture looks like that of {}", self.place(first)));
                    }
                }
                Err(error) => find(Kind::Broken, error.to_string()),
            }
        }
        let Some(said) = &looked.said else { return (row, findings) };
        if !said.whole {
            return (row, findings);
        }
        let mut alone = true;
        let asked = hashed(&(&said.question, &pictures));
        let answer = hashed(&said.solution);
        let short: String = said.solution.chars().take(40).collect();
        match self.asked.get(&asked) {
            None => {
                self.asked.insert(asked, Asked { row, held_out, answer, said: short.into() });
            }
            Some(first) => {
                alone = false;
                let at = self.place(first.row);
                match () {
                    () if held_out && !first.held_out => {
                        find(Kind::Leak, format!("held out, and asked in {at} too, which is learnt from"));
                    }
                    () if first.answer == answer => find(Kind::Duplicate, format!("the same as {at}")),
                    () if !said.judged => {
                        find(
                            Kind::Contradiction,
                            format!("asked in {at} too, where the answer is {:?} and not {short:?}", first.said),
                        );
                    }
                    () => {}
                }
            }
        }
        if alone && let Some((first, share)) = self.nearly(row, &pictures, &said.sketch) {
            let percent = (share * 100.0).round();
            find(Kind::NearDuplicate, format!("about {percent} % of its words are those of {}", self.place(first)));
        }
        for picture in pictures {
            match held_out {
                false => drop(self.learnt_pictures.entry(picture).or_insert(row)),
                true if alone => {
                    let first = self.learnt_pictures.get(&picture).copied();
                    if let Some(first) = first.filter(|_| self.shared.insert(picture)) {
                        let at = self.place(first);
                        find(
                            Kind::SharedPicture,
                            format!("held out, and its picture is shown in {at}, which is learnt from"),
                        );
                    }
                }
                true => {}
            }
        }
        (row, findings)
    }

    /// An earlier row with the same pictures and nearly the same words.
    fn nearly(&mut self, row: u32, pictures: &[u32], sketch: &TextSketch) -> Option<(u32, f64)> {
        let about = hashed(&pictures);
        let keys: Vec<u64> = sketch.keys().map(|key| key ^ about).collect();
        let candidates = keys.iter().filter_map(|key| self.bands.get(key)).flatten();
        let alike =
            candidates.map(|&index| (self.sketches[index as usize].0, self.sketches[index as usize].1.alike(sketch)));
        let found = alike.filter(|(_, share)| *share >= NEARLY).max_by(|a, b| a.1.total_cmp(&b.1));
        let index = self.sketches.len() as u32;
        self.sketches.push((row, *sketch));
        for key in keys {
            let band = self.bands.entry(key).or_default();
            // A band that very many share tells nothing.
            if band.len() < 64 {
                band.push(index);
            }
        }
        found
    }

    /// An earlier row with another picture that looks the same.
    fn looks_like(&mut self, row: u32, picture: u32, sketch: PictureSketch) -> Option<u32> {
        let candidates: HashSet<u32> =
            sketch.keys().filter_map(|key| self.look_bands.get(&key)).flatten().copied().collect();
        let mut alike: Vec<u32> =
            candidates.into_iter().filter(|&index| self.looks[index as usize].2.alike(&sketch)).collect();
        alike.sort_unstable();
        let index = self.looks.len() as u32;
        self.looks.push((row, picture, sketch));
        for key in sketch.keys() {
            let band = self.look_bands.entry(key).or_default();
            if band.len() < 4096 {
                band.push(index);
            }
        }
        alike.first().map(|&index| self.looks[index as usize].0)
    }
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
