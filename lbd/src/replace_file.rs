//! Replaces a file in one step: readers, and a crash, find the old file or the new one, never a part.
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// Writes a file under another name next to its own, with `.new` behind it, and renames it once it is on
/// disk. Folders that are missing are made.
pub(crate) fn replace_file(
    file: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    let mut writer = BufWriter::new(File::create(&aside)?);
    write(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()?;
    fs::rename(&aside, file)?;
    // The name is safe only when its folder is.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("made/list.json");
        replace_file(&file, |writer| writer.write_all(b"old"))?;
        let failed = replace_file(&file, |writer| {
            writer.write_all(b"half of the n")?;
            Err(io::Error::other("no space"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&file)?, b"old");
        replace_file(&file, |writer| writer.write_all(b"new"))?;
        assert_eq!(fs::read(&file)?, b"new");
        let names = fs::read_dir(folder.path().join("made"))?;
        assert_eq!(names.count(), 1, "nothing else is left");
        Ok(())
    }
}
