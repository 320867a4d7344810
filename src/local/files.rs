use std::{
    fs, io,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use super::LocalError;

/// How much of a log's end is read for its last lines.
const END: u64 = 64 * 1024;

/// Writes a file whole or not at all, readable by its owner only.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), LocalError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        // A temporary file is made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(LocalError::file("write", path))
}

/// Writes a small note of ours.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), LocalError> {
    let text = serde_json::to_vec(value)
        .map_err(io::Error::other)
        .map_err(LocalError::file("write", path))?;
    write_private(path, &text)
}

/// Reads a small note of ours; nothing if there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LocalError> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(io::Error::other)
        .map_err(LocalError::file("read", path))
}

/// Reads a file; nothing if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, LocalError> {
    absent_is_none(fs::read(path)).map_err(LocalError::file("read", path))
}

/// Makes a folder with all that it lies in.
pub(crate) fn make_folder(path: &Path) -> Result<(), LocalError> {
    fs::create_dir_all(path).map_err(LocalError::file("make", path))
}

/// Removes a file or a folder with all that is in it; harmless if it is gone.
pub(crate) fn remove(path: &Path) -> Result<(), LocalError> {
    let removed = match absent_is_none(fs::symlink_metadata(path)) {
        Ok(None) => return Ok(()),
        Ok(Some(data)) if data.is_dir() => fs::remove_dir_all(path),
        Ok(Some(_)) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    absent_is_none(removed)
        .map(drop)
        .map_err(LocalError::file("remove", path))
}

/// The last lines of a log; none if it cannot be read.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines
        .get(lines.len().saturating_sub(count)..)
        .unwrap_or_default()
        .iter()
        .map(|&line| line.to_owned())
        .collect()
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_file_is_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        write_private(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_last_lines_of_a_log_leave_out_empty_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "a\nb\n\nc\n\n").unwrap();
        assert_eq!(last_lines(&path, 2), ["b", "c"]);
        assert!(last_lines(&folder.path().join("none"), 2).is_empty());
    }

    #[test]
    fn removing_what_is_gone_is_harmless() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("none")).unwrap();
        assert!(
            read_json::<String>(&folder.path().join("none"))
                .unwrap()
                .is_none()
        );
    }
}
