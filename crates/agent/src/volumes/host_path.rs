//! Paths of the node in pods: what must be there, and what is made.
//!
//! Source: kubernetes v1.36 `pkg/volume/hostpath/host_path.go`, `checkTypeInternal`.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

/// Checks the path by its type, making it where the type says so.
///
/// # Errors
/// Upstream's sentence.
pub(super) fn check(path: &Path, kind: &str) -> Result<(), String> {
    let words =
        |what: &str| format!("hostPath type check failed: {} is not {what}", path.display());
    let system = |error: io::Error| error.to_string();
    let meta = match fs::metadata(path) {
        Ok(meta) => Some(meta),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(system(error)),
    };
    let is = |test: &dyn Fn(&fs::Metadata) -> bool| meta.as_ref().is_some_and(test);
    match kind {
        "DirectoryOrCreate" => match &meta {
            None => {
                fs::create_dir_all(path).map_err(system)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(system)
            }
            Some(meta) if meta.is_dir() => Ok(()),
            Some(_) => Err(words("a directory")),
        },
        "FileOrCreate" => match &meta {
            None => {
                fs::OpenOptions::new().append(true).create(true).open(path).map_err(system)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(system)
            }
            Some(meta) if meta.is_file() => Ok(()),
            Some(_) => Err(words("a file")),
        },
        "Directory" if !is(&fs::Metadata::is_dir) => Err(words("a directory")),
        "File" if !is(&fs::Metadata::is_file) => Err(words("a file")),
        "Socket" if !is(&|m| m.file_type().is_socket()) => Err(words("a socket file")),
        "CharDevice" if !is(&|m| m.file_type().is_char_device()) => {
            Err(words("a character device"))
        }
        "BlockDevice" if !is(&|m| m.file_type().is_block_device()) => Err(words("a block device")),
        // Without a type runtimes make a missing path a folder.
        "" if meta.is_none() => fs::create_dir_all(path).map_err(system),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn types_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "").unwrap();
        let none = folder.path().join("none");
        let said = |path: &std::path::Path, kind: &str| match check(path, kind) {
            Ok(()) => "ok".to_owned(),
            Err(why) => why.replace(&folder.path().display().to_string(), ""),
        };
        assert_eq!(said(&file, "Directory"), "hostPath type check failed: /f is not a directory");
        assert_eq!(said(&none, "File"), "hostPath type check failed: /none is not a file");
        assert_eq!(said(&none, "Socket"), "hostPath type check failed: /none is not a socket file");
        assert_eq!(
            said(&file, "DirectoryOrCreate"),
            "hostPath type check failed: /f is not a directory"
        );
        assert_eq!(said(&none, "DirectoryOrCreate"), "ok");
        assert!(none.is_dir());
        assert_eq!(said(&file, ""), "ok");
    }
}
