//! OVDEval (Yao et al., [arXiv:2308.13177](https://arxiv.org/abs/2308.13177)): open-vocabulary detection with hard negatives, by NMS-AP.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vr1_data::{Fields, Media, Picture, Sample};
use vr1_reward::{BBox, LabelledBox};

use crate::benchmark::{Judged, Judging, Layout, Spec};
use crate::detection::{Detections, nms_average_precision};
use crate::gold::ToPixels;
use crate::item::Item;
use crate::mark::Mark;
use crate::summary::Summary;
use crate::{Error, Gold, Result};

pub(super) static SPEC: Spec = Spec {
    name: "ovdeval",
    about: "open-vocabulary detection with hard negatives; boxes (OVDEval)",
    layout: Layout::Own(open),
    headline: "nms_ap",
    published,
    summarise: Some(summarise),
    judging: Judging::None,
    max_tokens: 2048,
};

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
    #[serde(default)]
    text: Vec<String>,
    #[serde(default)]
    neg_text: Vec<String>,
    width: f64,
    height: f64,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    category_id: i64,
    /// Left, top, width and height.
    bbox: BBox,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// Either one sub-task's annotations, or the folder with `annotations/` (or the files themselves) and `images/`.
fn open(path: &Path, images: Option<&Path>) -> Result<Vec<Item>> {
    let files = files(path)?;
    let (mut items, mut faults) = (Vec::new(), Vec::new());
    for file in &files {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Io { path: file.clone(), source })?;
        let read: File = serde_json::from_str(&text)
            .map_err(|e| Error::row(format!("{}: no annotations of OVDEval: {e}", file.display())))?;
        sub_task(file, read, images, &mut items, &mut faults);
    }
    Error::rows(faults)?;
    if items.is_empty() {
        return Err(Error::row(format!("{}: no images", path.display())));
    }
    Ok(items)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let folder = Some(path.join("annotations")).filter(|folder| folder.is_dir()).unwrap_or_else(|| path.to_owned());
    let io = |source| Error::Io { path: folder.clone(), source };
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(io)? {
        let file = entry.map_err(io)?.path();
        files.extend(file.extension().is_some_and(|ending| ending == "json").then_some(file));
    }
    files.sort();
    if files.is_empty() { Err(Error::row(format!("{}: no annotations, *.json", folder.display()))) } else { Ok(files) }
}

fn sub_task(file: &Path, read: File, images: Option<&Path>, items: &mut Vec<Item>, faults: &mut Vec<String>) {
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let at = |what: &str, number: usize| format!("{}: {what}[{number}]", file.display());
    let names: HashMap<i64, String> = read.categories.into_iter().map(|c| (c.id, c.name)).collect();
    let known: BTreeSet<i64> = read.images.iter().map(|image| image.id).collect();
    let mut truths: HashMap<i64, Vec<LabelledBox>> = HashMap::new();
    for (number, Annotation { image_id, category_id, bbox: [x, y, w, h], iscrowd }) in
        read.annotations.into_iter().enumerate()
    {
        let label = names.get(&category_id);
        let fault = match label {
            None => Some(format!("category_id: there is no category {category_id}")),
            _ if !known.contains(&image_id) => Some(format!("image_id: there is no image {image_id}")),
            _ if iscrowd != 0 => Some("iscrowd: crowds are not counted".to_owned()),
            _ => None,
        };
        faults.extend(fault.map(|fault| format!("{}.{fault}", at("annotations", number))));
        let label = label.cloned().unwrap_or_default();
        truths.entry(image_id).or_default().push(LabelledBox { bbox: [x, y, x + w, y + h], label });
    }
    let mut shown: Vec<(usize, Image)> = read.images.into_iter().enumerate().collect();
    // COCO goes through images by their ids, and equal scores keep that order.
    shown.sort_by_key(|(_, image)| image.id);
    for (number, image) in shown {
        let at = at("images", number);
        let Some(path) = picture(file, &name, &image.file_name, images) else {
            faults.push(format!("{at}.file_name: no file {:?}", image.file_name));
            continue;
        };
        // By name, so that the order does not say which of them are there.
        let labels: BTreeSet<&String> = image.text.iter().chain(&image.neg_text).collect();
        let listed =
            labels.iter().map(|label| format!("'{}'", label.replace('\'', "\\'"))).collect::<Vec<_>>().join(", ");
        let mut fields = Fields::new();
        fields.insert("width".to_owned(), image.width.into());
        fields.insert("height".to_owned(), image.height.into());
        let question = format!(
            "Please carefully check the image and detect the following objects: [{listed}]. Output the bbox coordinates of \
             detected objects in JSON format in <answer></answer>. The bbox coordinate format should be: \n```json\n\
             [{{\"bbox_2d\": [x1, y1, x2, y2], \"label\": \"object name\"}}]\n```\n. If no targets are detected in the image, \
             simply respond with \"None\"."
        );
        let gold = truths.remove(&image.id).unwrap_or_default();
        let sample = Sample {
            id: format!("{name}-{}", image.id),
            media: vec![Media::Image(Picture::File(path))],
            question,
            fields,
            ..Sample::default()
        };
        let groups = vec![("subset".to_owned(), name.clone())];
        items.push(Item { sample, at, template: TEMPLATE.to_owned(), gold: Gold::Boxes(gold), groups, size: None });
    }
}

/// VLM-R1's, for detection.
const TEMPLATE: &str = "First thinks about the reasoning process in the mind and then provides the user with the answer. The \
                        reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, \
                        respectively, i.e., <think> reasoning process here </think><answer> answer here </answer>\n{question}";

fn picture(file: &Path, name: &str, picture: &str, images: Option<&Path>) -> Option<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new("."));
    let folders = match images {
        Some(images) => vec![images.join(name), images.to_owned()],
        None => vec![
            beside.join("../images").join(name),
            beside.join("images").join(name),
            beside.join(name),
            beside.to_owned(),
        ],
    };
    folders.into_iter().map(|folder| folder.join(picture)).find(|path| path.is_file())
}

/// VLM-R1's reading of detections is the robust one: the JSON in the last `<answer>`.
fn published(item: &Item, completion: &str, scale: ToPixels) -> Mark {
    item.gold.mark(completion, scale)
}

/// The NMS-AP of each sub-task, and their mean.
fn summarise(judged: &[Judged<'_>], summary: &mut Summary) {
    let mut subsets: BTreeMap<String, Vec<Detections<'_>>> = BTreeMap::new();
    for Judged { item, mark } in judged {
        let Gold::Boxes(truths) = &item.gold else { continue };
        let name = item.groups.first().map(|(_, name)| name.clone()).unwrap_or_default();
        subsets.entry(name).or_default().push(Detections { found: &mark.boxes, truths });
    }
    let of_subset = summary.groups.entry("subset".to_owned()).or_default();
    let mut all = Vec::new();
    for (name, images) in &subsets {
        if let Some(estimate) = nms_average_precision(&[images]) {
            of_subset.entry(name.clone()).or_default().insert("nms_ap".to_owned(), estimate);
            all.push(images.as_slice());
        }
    }
    summary.metrics.extend(nms_average_precision(&all).map(|mean| ("nms_ap".to_owned(), mean)));
}
