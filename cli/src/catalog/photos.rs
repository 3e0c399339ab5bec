//! From a photo's name in the table to its bytes.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use magpie_core::image::DecodeLimits;

use super::PhotoFetcher;
use crate::failure::{CommandFailure, Result};

/// The folder of a catalogue's photos.
#[derive(Debug)]
pub(crate) struct PhotoFolder {
    folder: PathBuf,
    /// Address prefix, and the folder that has the files behind it.
    prefixes: Vec<(String, PathBuf)>,
    /// Whether photos may lie outside the folder.
    allow_outside: bool,
    /// Where photos that are given by address come from, if they are to be fetched.
    fetcher: Option<PhotoFetcher>,
}

impl PhotoFolder {
    /// # Errors
    /// One of the folders does not exist.
    pub(crate) fn open(folder: &Path, prefixes: &[(String, PathBuf)], allow_outside: bool) -> Result<PhotoFolder> {
        let existing = |folder: &Path| {
            let found = folder.canonicalize().ok().filter(|folder| folder.is_dir());
            found.ok_or_else(|| CommandFailure::new(format!("{}: no such folder", folder.display())))
        };
        let found = existing(folder)?;
        let copies = prefixes.iter().map(|(prefix, at)| Ok((prefix.clone(), existing(&found.join(at))?)));
        Ok(PhotoFolder { prefixes: copies.collect::<Result<_>>()?, folder: found, allow_outside, fetcher: None })
    }

    /// Fetches photos that are given by address and have no copy.
    pub(crate) fn with_fetcher(mut self, fetcher: Option<PhotoFetcher>) -> PhotoFolder {
        self.fetcher = fetcher;
        self
    }

    /// Reads a photo. Its size and kind are looked at first: a device would never end, and a large file fill the memory.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        bounded(&self.path(name)?).map_err(CommandFailure::new)
    }

    /// Where a photo lies; whether it exists is not looked at with `--allow-outside`.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        if let Some((prefix, folder)) = self.prefixes.iter().find(|(prefix, _)| name.starts_with(prefix.as_str())) {
            let rest = name[prefix.len()..].split(['?', '#']).next().unwrap_or_default();
            return self.inside(folder.join(rest), rest);
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            let Some(fetcher) = &self.fetcher else {
                let copy = "an address; give --url-prefix ADDRESS=FOLDER with a copy of the photos, or --fetch FOLDER";
                return Err(CommandFailure::new(copy));
            };
            return fetcher.fetch(name).map_err(CommandFailure::new);
        }
        self.inside(self.folder.join(name), name)
    }

    /// Checks that a path does not leave the photo folder, neither by its name nor by a link: with `--thumbnails`, a
    /// picture from elsewhere would end up on every phone.
    fn inside(&self, path: PathBuf, name: &str) -> Result<PathBuf> {
        if self.allow_outside {
            return Ok(path);
        }
        let outside = || CommandFailure::new("it lies outside the photo folder; allow that with --allow-outside");
        if Path::new(name).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(outside());
        }
        let real = path.canonicalize().map_err(|e| CommandFailure::new(e.to_string()))?;
        if !self.folders().any(|folder| real.starts_with(folder)) {
            return Err(outside());
        }
        Ok(real)
    }

    fn folders(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.folder.as_path()).chain(self.prefixes.iter().map(|(_, folder)| folder.as_path()))
    }
}

/// Reads a photo that the user named; `-` is standard input. Errors name it too.
pub(crate) fn read_photo(path: &Path) -> Result<Vec<u8>> {
    if super::is_stdin(path) {
        let (mut bytes, limit) = (Vec::new(), DecodeLimits::default().max_bytes + 1);
        let read = std::io::stdin().lock().take(limit).read_to_end(&mut bytes);
        return read.map(|_| bytes).map_err(|e| CommandFailure::io(path, e));
    }
    bounded(path).map_err(|e| CommandFailure::io(path, e))
}

fn bounded(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| e.to_string();
    let about = path.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err("it is not a file".to_owned());
    }
    // One byte more than the limit, so that the decoder's check reports what is too large.
    let limit = DecodeLimits::default().max_bytes + 1;
    if about.len() >= limit {
        return Err(format!("{} bytes are more than the {} allowed", about.len(), limit - 1));
    }
    let mut bytes = Vec::with_capacity(about.len() as usize);
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn photos_outside_the_folder_are_refused_unless_allowed() {
        let base = tempfile::tempdir().expect("a folder");
        let inside = base.path().join("photos");
        fs::create_dir_all(inside.join("sub")).expect("a folder");
        for name in ["photos/a.jpg", "photos/sub/b.jpg", "secret.jpg"] {
            fs::write(base.path().join(name), name).expect("a file");
        }
        let folder = PhotoFolder::open(&inside, &[], false).expect("a folder");
        let absolute = base.path().join("secret.jpg");
        assert_eq!(folder.read("sub/b.jpg").expect("inside"), b"photos/sub/b.jpg");
        assert_eq!(folder.read("./a.jpg").expect("inside"), b"photos/a.jpg");
        #[cfg(unix)]
        std::os::unix::fs::symlink(&absolute, inside.join("link.jpg")).expect("a link");
        for name in ["../secret.jpg", "sub/../../secret.jpg", "link.jpg", absolute.to_str().expect("UTF-8")] {
            let error = folder.read(name).expect_err(name);
            assert!(error.message.contains("outside"), "{name}: {}", error.message);
        }
        let open = PhotoFolder::open(&inside, &[], true).expect("a folder");
        assert_eq!(open.read("../secret.jpg").expect("allowed"), b"secret.jpg");
    }

    #[test]
    fn addresses_are_found_in_a_copy_of_the_photos() {
        let base = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(base.path().join("mirror")).expect("a folder");
        fs::write(base.path().join("mirror/a.jpg"), "a").expect("a file");
        let prefixes = [("https://cdn.example/".to_owned(), PathBuf::from("mirror"))];
        let folder = PhotoFolder::open(base.path(), &prefixes, false).expect("a folder");
        assert_eq!(folder.read("https://cdn.example/a.jpg?v=2").expect("mirrored"), b"a");
        assert!(folder.read("https://cdn.example/../x.jpg").is_err());
        // The folder of the copy need not be inside the photo folder: the user named it.
        fs::create_dir_all(base.path().join("photos")).expect("a folder");
        let beside = [("https://cdn.example/".to_owned(), PathBuf::from("../mirror"))];
        let photos = PhotoFolder::open(&base.path().join("photos"), &beside, false).expect("a folder");
        assert_eq!(photos.read("https://cdn.example/a.jpg").expect("mirrored"), b"a");
        let gone = [("https://cdn.example/".to_owned(), PathBuf::from("gone"))];
        assert!(PhotoFolder::open(base.path(), &gone, false).is_err());
        assert!(folder.read("https://other.example/a.jpg").expect_err("no copy").message.contains("--url-prefix"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_a_file_is_refused() {
        assert_eq!(read_photo(Path::new("/dev/zero")).expect_err("a device").message, "/dev/zero: it is not a file");
        assert_eq!(read_photo(Path::new("/")).expect_err("a folder").message, "/: it is not a file");
    }
}
