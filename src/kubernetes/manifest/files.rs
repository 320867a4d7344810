use std::{
    borrow::Cow,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use include_dir::{Dir, include_dir};

use crate::model::{ManifestSource, Mistake};

/// The folders that ship with the program, under the name of their folder.
static BUILTIN: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/manifests");

/// What a component says of itself, beside its manifests.
const DEFINITION: &str = "component.yaml";

/// A text and the name under which a person knows it.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) file: PathBuf,
    pub(super) text: Cow<'static, str>,
}

/// What a component's folder holds.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) definition: Option<Text>,
    pub(super) manifests: Vec<Text>,
}

/// Reads all files of a component in the order of their names.
pub(super) fn read(source: &ManifestSource) -> Result<Files, Vec<Mistake>> {
    let files = match source {
        ManifestSource::Path(path) => from_disk(path)?,
        ManifestSource::Builtin(name) => builtin(name)?,
    };
    if files.manifests.is_empty() {
        let file = match source {
            ManifestSource::Path(path) => path.clone(),
            ManifestSource::Builtin(name) => format!("builtin:{name}").into(),
        };
        return Err(vec![whole(
            &file,
            "holds no manifest",
            "manifests are files that end in .yaml, .yml or .json",
        )]);
    }
    Ok(files)
}

fn whole(file: &Path, message: impl Into<String>, hint: &str) -> Mistake {
    Mistake {
        file: file.to_owned(),
        line: 0,
        column: 0,
        message: message.into(),
        hint: Some(hint.to_owned()),
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .and_then(OsStr::to_str)
        .is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| name.starts_with('.'))
}

fn from_disk(root: &Path) -> Result<Files, Vec<Mistake>> {
    let mut files = Files::default();
    let mut mistakes = Vec::new();
    match fs::metadata(root) {
        Ok(found) if found.is_dir() => folder(root, root, &mut files, &mut mistakes),
        Ok(_) => file(root, &mut files.manifests, &mut mistakes),
        Err(error) => mistakes.push(unreadable(root, &error)),
    }
    if mistakes.is_empty() {
        Ok(files)
    } else {
        Err(mistakes)
    }
}

fn folder(root: &Path, path: &Path, files: &mut Files, mistakes: &mut Vec<Mistake>) {
    let entries: Result<Vec<_>, _> = fs::read_dir(path).and_then(Iterator::collect);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return mistakes.push(unreadable(path, &error)),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        // A link to a folder is not followed, so that no folder can hold itself.
        if entry.file_type().is_ok_and(|found| found.is_dir()) {
            folder(root, &path, files, mistakes);
        } else if path == root.join(DEFINITION) {
            let mut read = Vec::new();
            file(&path, &mut read, mistakes);
            files.definition = read.pop();
        } else if is_manifest(&path) {
            file(&path, &mut files.manifests, mistakes);
        }
    }
}

fn file(path: &Path, texts: &mut Vec<Text>, mistakes: &mut Vec<Mistake>) {
    match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => texts.push(Text {
            file: path.to_owned(),
            text: text.into(),
        }),
        Ok(Err(_)) => mistakes.push(whole(path, "is not UTF-8 text", "save it as UTF-8")),
        Err(error) => mistakes.push(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Mistake {
    whole(
        path,
        format!("cannot be read: {error}"),
        "a component's path is a folder or a file, relative to the stack file",
    )
}

fn builtin(name: &str) -> Result<Files, Vec<Mistake>> {
    let Some(found) = BUILTIN.get_dir(name).filter(|_| !name.contains('/')) else {
        let known: Vec<String> = BUILTIN
            .dirs()
            .map(|dir| dir.path().display().to_string())
            .collect();
        return Err(vec![whole(
            Path::new(&format!("builtin:{name}")),
            "is not part of this program",
            &format!("there are: {}", known.join(", ")),
        )]);
    };
    let mut files = Files::default();
    embedded(found, &found.path().join(DEFINITION), &mut files);
    Ok(files)
}

fn embedded(dir: &'static Dir<'static>, definition: &Path, files: &mut Files) {
    let mut entries: Vec<_> = dir.entries().iter().collect();
    entries.sort_by_key(|entry| entry.path());
    for entry in entries {
        match entry {
            include_dir::DirEntry::Dir(dir) => embedded(dir, definition, files),
            include_dir::DirEntry::File(file) => {
                let text = Text {
                    file: format!("builtin:{}", file.path().display()).into(),
                    text: String::from_utf8_lossy(file.contents()),
                };
                if file.path() == definition {
                    files.definition = Some(text);
                } else if is_manifest(file.path()) {
                    files.manifests.push(text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_the_order_of_their_names_without_hidden_ones_and_without_the_definition() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b.yml",
            "a/z.yaml",
            "a/component.yaml",
            "c.json",
            ".git/x.yaml",
            ".y.yaml",
            "README.md",
            "component.yaml",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let files = read(&ManifestSource::Path(dir.path().to_owned())).unwrap();
        let names: Vec<_> = files.manifests.iter().map(|text| text.text.as_ref()).collect();
        assert_eq!(names, ["a/component.yaml", "a/z.yaml", "b.yml", "c.json"]);
        assert_eq!(files.definition.unwrap().text, "component.yaml");
    }

    #[test]
    fn a_single_file_is_a_component_whatever_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.txt");
        fs::write(&path, "x").unwrap();
        assert_eq!(read(&ManifestSource::Path(path)).unwrap().manifests.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_and_what_is_empty_are_mistakes() {
        let dir = tempfile::tempdir().unwrap();
        let told = |path: PathBuf| read(&ManifestSource::Path(path)).unwrap_err()[0].to_string();
        assert!(told(dir.path().join("none")).contains("cannot be read"));
        assert!(told(dir.path().to_owned()).contains("holds no manifest"));
        fs::write(dir.path().join("a.yaml"), [0xff, 0xfe, 0x00]).unwrap();
        assert!(told(dir.path().to_owned()).contains("not UTF-8"));
    }

    #[test]
    fn an_unknown_builtin_names_the_known_ones() {
        let mistakes = read(&ManifestSource::Builtin("monitorin".into())).unwrap_err();
        assert_eq!(
            mistakes[0].hint.as_deref(),
            Some("there are: monitoring, online-boutique")
        );
    }

    #[test]
    fn what_is_inside_the_program_is_what_lies_in_the_folder() {
        for name in ["monitoring", "online-boutique"] {
            let disk = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name);
            let disk = read(&ManifestSource::Path(disk)).unwrap();
            let inside = read(&ManifestSource::Builtin(name.into())).unwrap();
            assert_eq!(disk.definition.unwrap().text, inside.definition.unwrap().text);
            let texts = |files: &[Text]| {
                files
                    .iter()
                    .map(|text| text.text.clone().into_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                texts(&disk.manifests),
                texts(&inside.manifests),
                "touch {} and build again",
                file!()
            );
        }
    }
}
