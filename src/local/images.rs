use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;
use tar::{Archive, Builder, EntryType, Header};

use super::LocalError;

/// The file of an archive that lists its images and their layers.
const MANIFEST: &str = "manifest.json";

/// Files that say the same in other formats, and would contradict a merged list.
const OTHER_LISTS: [&str; 3] = ["index.json", "oci-layout", "repositories"];

/// The images that an archive holds, by the full names under which a node knows them.
pub(crate) fn tags(path: &Path) -> Result<Vec<String>, LocalError> {
    let list = manifest(path)?;
    let tags = list
        .iter()
        .filter_map(|image| image.get("RepoTags")?.as_array())
        .flatten();
    Ok(tags.filter_map(Value::as_str).map(full_name).collect())
}

/// Writes one archive with the images of all. Layers that several share are written once: nodes read one stream
/// instead of many, which is more than twice as fast.
pub(crate) fn merge(archives: &[PathBuf], to: File) -> Result<(), LocalError> {
    let mut builder = Builder::new(to);
    let mut written = BTreeSet::new();
    let mut images = Vec::new();
    for path in archives {
        images.extend(manifest(path)?);
        copy(path, &mut builder, &mut written).map_err(|error| wrong(path, &error.to_string()))?;
    }
    let list = serde_json::to_vec(&images).map_err(io::Error::other);
    let finish = |list: Vec<u8>| -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(u64::try_from(list.len()).map_err(io::Error::other)?);
        header.set_mode(0o644);
        builder.append_data(&mut header, MANIFEST, list.as_slice())?;
        builder.into_inner()?.sync_all()
    };
    list.and_then(finish)
        .map_err(LocalError::file("write", "the merged image archive"))
}

fn copy(path: &Path, builder: &mut Builder<File>, written: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let mut archive = Archive::new(File::open(path)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        let list = name
            .to_str()
            .is_some_and(|name| name == MANIFEST || OTHER_LISTS.contains(&name));
        // Names in an archive of images are made from the content: what has the same name is the same.
        if list || entry.header().entry_type() == EntryType::Directory || !written.insert(name.clone()) {
            continue;
        }
        let mut header = entry.header().clone();
        match entry.link_name()? {
            Some(target) => builder.append_link(&mut header, &name, &target)?,
            None => builder.append_data(&mut header, &name, &mut entry)?,
        }
    }
    Ok(())
}

/// The list of an archive's images. Only headers are read on the way to it.
fn manifest(path: &Path) -> Result<Vec<Value>, LocalError> {
    let mut file = File::open(path).map_err(LocalError::file("read", path))?;
    let mut start = [0; 2];
    let packed = file.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
    if packed {
        return Err(wrong(path, "it is compressed; gunzip it first"));
    }
    file.seek(SeekFrom::Start(0))
        .map_err(LocalError::file("read", path))?;
    let read = |mut archive: Archive<File>| -> io::Result<Option<Vec<Value>>> {
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            if entry.path()?.as_os_str() == MANIFEST {
                return Ok(Some(serde_json::from_reader(entry)?));
            }
        }
        Ok(None)
    };
    match read(Archive::new(file)) {
        Ok(Some(list)) => Ok(list),
        Ok(None) => Err(wrong(path, "it has no manifest.json")),
        Err(error) => Err(wrong(path, &error.to_string())),
    }
}

fn wrong(path: &Path, why: &str) -> LocalError {
    LocalError::Archive {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// A name as a node knows it: with registry and tag.
fn full_name(name: &str) -> String {
    let first = name.split('/').next().unwrap_or_default();
    let registry = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let name = match (registry, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        name
    } else {
        format!("{name}:latest")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// An archive of one image with these layers.
    pub(crate) fn archive(path: &Path, tag: &str, layers: &[&str]) {
        let mut builder = Builder::new(File::create(path).unwrap());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content).unwrap();
        };
        for layer in layers {
            add(layer, layer.as_bytes());
        }
        add("index.json", b"{}");
        let list = json!([{"Config": format!("{tag}.json"), "RepoTags": [tag], "Layers": layers}]);
        add(MANIFEST, list.to_string().as_bytes());
        builder.finish().unwrap();
    }

    #[test]
    fn a_merged_archive_has_all_images_and_each_layer_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let long = format!("blobs/{}", "x".repeat(150));
        archive(&path("a"), "redis:alpine", &["base", &long]);
        archive(&path("b"), "quay.io/b:1", &["base", "own"]);
        merge(&[path("a"), path("b")], File::create(path("all")).unwrap()).unwrap();
        assert_eq!(
            tags(&path("all")).unwrap(),
            ["docker.io/library/redis:alpine", "quay.io/b:1"]
        );
        let mut all = Archive::new(File::open(path("all")).unwrap());
        let names: Vec<String> = all
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["base", &long, "own", MANIFEST]);
    }

    #[test]
    fn what_is_no_image_archive_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tar");
        assert!(tags(&path).unwrap_err().to_string().contains("x.tar"));
        std::fs::write(&path, [0x1f, 0x8b, 0, 0]).unwrap();
        assert!(tags(&path).unwrap_err().to_string().contains("gunzip"));
        Builder::new(File::create(&path).unwrap()).finish().unwrap();
        assert!(tags(&path).unwrap_err().to_string().contains("no manifest.json"));
    }

    #[test]
    fn names_are_completed_as_a_node_does() {
        assert_eq!(full_name("redis"), "docker.io/library/redis:latest");
        assert_eq!(full_name("grafana/grafana:1"), "docker.io/grafana/grafana:1");
        assert_eq!(full_name("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(full_name("quay.io/a/b:v1"), "quay.io/a/b:v1");
    }
}
