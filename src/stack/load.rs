use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::{Mistake, StackModel};

use super::{
    check,
    environment::substitute,
    merge,
    reader::{Needed, Reader},
    tree::{self, Content, Node, Place, Source},
};

/// The name that wins where a folder has several stack files.
const DEFAULT: &str = "stackup.yaml";

/// What to read, and what to lay over it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Stack files; each is merged over those before it.
    pub files: Vec<PathBuf>,
    /// Single values, `path=value`, over all files.
    pub set: Vec<String>,
    /// The environment that `${env:NAME}` reads.
    pub env: BTreeMap<String, String>,
}

/// Reads and checks a stack, or says everything that is wrong with it.
pub fn load(request: &Request) -> Result<StackModel, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut texts = Vec::new();
    for file in &request.files {
        match read(file) {
            Ok(text) => texts.push(text),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if request.files.is_empty() {
        mistakes.push(Mistake {
            file: PathBuf::from("--file"),
            line: 0,
            column: 0,
            message: "no stack file is named".to_owned(),
            hint: Some("name one with -f".to_owned()),
        });
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let here = std::env::current_dir().unwrap_or_default();
    let (model, files, mut mistakes) = check_texts(&texts, request, &here);
    mistakes.extend(files.iter().filter_map(missing));
    finish(model, mistakes)
}

/// Checks the text of one stack file as if it lay in `folder`, without looking at any file. Pure.
pub fn parse(
    text: &str,
    file: &Path,
    folder: &Path,
    env: &BTreeMap<String, String>,
) -> Result<StackModel, Vec<Mistake>> {
    let request = Request {
        env: env.clone(),
        ..Request::default()
    };
    let text = Text {
        source: source(file.to_owned(), folder.to_owned(), true),
        text: text.to_owned(),
    };
    let (model, _, mistakes) = check_texts(&[text], &request, folder);
    finish(model, mistakes)
}

/// The stack file of a folder: `stackup.yaml`, else the only YAML file with a top-level `cluster:`.
pub fn find(folder: &Path) -> Result<PathBuf, Mistake> {
    let wrong = |message: &str, hint: String| Mistake {
        file: folder.to_owned(),
        line: 0,
        column: 0,
        message: message.to_owned(),
        hint: Some(hint),
    };
    let default = folder.join(DEFAULT);
    if default.is_file() {
        return Ok(default);
    }
    let found = stack_files(folder).map_err(|error| {
        wrong(
            &format!("could not be read: {error}"),
            "name a stack file with -f".to_owned(),
        )
    })?;
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            // The usual place of a project's stack files; none there is no mistake of its own.
            let nearby = stack_files(&folder.join("stacks")).unwrap_or_default();
            let nearby = nearby.first().and_then(|file| file.strip_prefix(folder).ok());
            let hint = nearby.map_or_else(
                || "`stackup init` makes one; -f names one that is elsewhere".to_owned(),
                |file| format!("name one: -f {}; `stackup init` makes a new one", file.display()),
            );
            Err(wrong(
                "no stack file here: a YAML file with a top-level `cluster:`",
                hint,
            ))
        }
        several => {
            let names: Vec<_> = several
                .iter()
                .filter_map(|file| file.file_name().map(|name| name.to_string_lossy().into_owned()))
                .collect();
            Err(wrong(
                &format!("several stack files here: {}", names.join(", ")),
                format!("name one with -f, or call the usual one {DEFAULT}"),
            ))
        }
    }
}

/// The YAML files with a top-level `cluster:`, by name. A broken one counts too, so that its mistake is shown.
fn stack_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        // What cannot be read is not taken by default; named with -f, it says why.
        let text = if yaml && path.is_file() {
            fs::read_to_string(&path).unwrap_or_default()
        } else {
            String::new()
        };
        if text
            .lines()
            .any(|line| line.trim_start_matches('\u{feff}').starts_with("cluster:"))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file and where it comes from.
struct Text {
    source: Arc<Source>,
    text: String,
}

fn source(shown: PathBuf, folder: PathBuf, lines: bool) -> Arc<Source> {
    Arc::new(Source { shown, folder, lines })
}

fn read(file: &Path) -> Result<Text, Mistake> {
    let wrong = |message: String, hint: &str| Mistake {
        file: file.to_owned(),
        line: 0,
        column: 0,
        message,
        hint: Some(hint.to_owned()),
    };
    let unreadable = |error: std::io::Error| {
        let hint = if error.kind() == std::io::ErrorKind::NotFound {
            "`stackup init` makes a stack file"
        } else {
            "name a file that can be read"
        };
        wrong(format!("could not be read: {error}"), hint)
    };
    let bytes = fs::read(file).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        wrong(
            format!("is not UTF-8: {}", error.utf8_error()),
            "save it as UTF-8",
        )
    })?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    // Links are resolved once, here, so that `..` in the file means what it does for a shell.
    let folder = fs::canonicalize(parent.unwrap_or(Path::new("."))).map_err(unreadable)?;
    Ok(Text {
        source: source(file.to_owned(), folder, true),
        text,
    })
}

/// Merges and checks. Pure: which files must exist comes back instead of being looked at.
fn check_texts(
    texts: &[Text],
    request: &Request,
    here: &Path,
) -> (Option<StackModel>, Vec<Needed>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let mut root: Option<Node> = None;
    for Text { source, text } in texts {
        match tree::parse(text, source) {
            Ok(node) if node.is_null() => mistakes.push(Place::whole(source).mistake(
                "is empty",
                Some("`stackup init` writes a stack file to begin with".to_owned()),
            )),
            Ok(node) => match &mut root {
                Some(root) if matches!(&node.content, Content::Map(_)) => merge::overlay(root, node),
                Some(_) => mistakes.push(node.place.mistake(
                    format!("a stack file must be a map, not {}", node.shown()),
                    Some("write `key: value` lines".to_owned()),
                )),
                None => root = Some(node),
            },
            Err(mistake) => mistakes.push(mistake),
        }
    }
    let first = texts.first().map_or(here, |text| text.source.folder.as_path());
    let Some(mut root) = root.filter(|_| mistakes.is_empty()) else {
        return (None, Vec::new(), mistakes);
    };
    for set in &request.set {
        let (path, value) = set.split_once('=').unwrap_or((set, ""));
        let source = source(PathBuf::from(format!("--set {path}")), here.to_owned(), false);
        if set.contains('=') {
            mistakes.extend(merge::set(&mut root, path, value, &source).err());
        } else {
            let hint = "write path=value, as in cluster.workers=3".to_owned();
            mistakes.push(Place::whole(&source).mistake("has no value", Some(hint)));
        }
    }
    substitute(&mut root, &request.env, &mut mistakes);
    let mut reader = Reader::default();
    let model = check::stack(&mut reader, &root, first);
    // Where a value could not be made, what else is wrong with it is only a consequence.
    let place = |mistake: &Mistake| (mistake.file.clone(), mistake.line, mistake.column);
    let unmade: Vec<_> = mistakes.iter().map(place).collect();
    reader
        .mistakes
        .retain(|mistake| !unmade.contains(&place(mistake)));
    mistakes.extend(reader.mistakes);
    (model, reader.files, mistakes)
}

fn finish(model: Option<StackModel>, mut mistakes: Vec<Mistake>) -> Result<StackModel, Vec<Mistake>> {
    mistakes.sort();
    mistakes.dedup();
    match model {
        Some(model) if mistakes.is_empty() => Ok(model),
        _ => Err(mistakes),
    }
}

fn missing(needed: &Needed) -> Option<Mistake> {
    let Needed {
        path,
        place,
        what,
        shown,
        or_folder,
    } = needed;
    if path.is_file() || (*or_folder && path.is_dir()) {
        return None;
    }
    let hint = "relative paths are relative to the file that names them";
    let message = if path.is_dir() {
        format!("{what} {shown} is a folder, and a file is needed")
    } else if *or_folder {
        format!("{what} {shown}: there is no such file or folder")
    } else {
        format!("{what} {shown}: there is no such file")
    };
    Some(place.mistake(message, Some(hint.to_owned())))
}
