//! A container's log in CRI's format: `TIME stdout F line`, `P` for parts of long lines; rotated.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::clock;

/// Longest piece of a line; longer lines are cut into parts (containerd's default).
const LINE_MAX_BYTES: usize = 16 * 1024;
/// A file grows to this, then it is moved aside (kubelet's `containerLogMaxSize`).
const FILE_MAX_BYTES: u64 = 10 * 1024 * 1024;
/// How many files a container keeps, the current one included (kubelet's `containerLogMaxFiles`).
const FILES_MAX: u32 = 5;

/// Which stream a piece came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// An open log. Disk errors lose lines, never the container: they are told once to keeper.log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    size_bytes: u64,
    rest: [Vec<u8>; 2],
    complained: bool,
}

impl Log {
    /// Opens `path` for appending, with its folder.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut log = Self {
            path: path.to_path_buf(),
            file: None,
            size_bytes: 0,
            rest: [Vec::new(), Vec::new()],
            complained: false,
        };
        log.reopen()?;
        Ok(log)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size_bytes = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Takes what the container wrote; whole lines go out at once, the rest waits for its end.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let mut out = Vec::with_capacity(bytes.len() + 128);
        let time = clock::rfc3339(clock::now());
        let rest = &mut self.rest[stream as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(piece);
            let whole = rest.last() == Some(&b'\n');
            if whole {
                rest.pop();
            }
            while rest.len() > LINE_MAX_BYTES || (!whole && rest.len() == LINE_MAX_BYTES) {
                let tail = rest.split_off(LINE_MAX_BYTES);
                entry(&mut out, &time, stream, false, rest);
                *rest = tail;
            }
            if whole {
                entry(&mut out, &time, stream, true, rest);
                rest.clear();
            }
        }
        if rest.is_empty() {
            *rest = Vec::new();
        }
        self.put(&out);
    }

    /// The container is gone: what has no end of line goes out as it is.
    pub(crate) fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.rest[stream as usize]);
            if !rest.is_empty() {
                let mut out = Vec::new();
                entry(&mut out, &clock::rfc3339(clock::now()), stream, true, &rest);
                self.put(&out);
            }
        }
    }

    fn put(&mut self, out: &[u8]) {
        if out.is_empty() {
            return;
        }
        if let Err(error) = self.try_put(out) {
            if !self.complained {
                super::tell(&format!(
                    "{}: {error}; lines are lost until it can be written",
                    self.path.display()
                ));
            }
            self.complained = true;
        } else {
            self.complained = false;
        }
    }

    fn try_put(&mut self, out: &[u8]) -> io::Result<()> {
        if self.size_bytes > 0 && self.size_bytes + out.len() as u64 > FILE_MAX_BYTES {
            self.rotate()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(out)?;
            self.size_bytes += out.len() as u64;
        }
        Ok(())
    }

    /// `0.log` becomes `0.log.1`, that `0.log.2`, and so on; the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..FILES_MAX - 1).rev() {
            match fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, numbered(1))?;
        self.reopen()
    }
}

fn entry(out: &mut Vec<u8>, time: &str, stream: Stream, whole: bool, text: &[u8]) {
    let name: &[u8] = if stream == Stream::Stdout { b" stdout " } else { b" stderr " };
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(if whole { b"F " } else { b"P " });
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(writes: &[(Stream, &[u8])], expected: &Expect) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app/0.log");
        let mut log = Log::open(&path).unwrap();
        for (stream, bytes) in writes {
            log.write(*stream, bytes);
        }
        log.finish();
        let text = fs::read_to_string(path).unwrap();
        let short = |line: &str| {
            let rest = &line[31..];
            if rest.len() > 40 {
                format!("{}… {}", &rest[..14], rest.len())
            } else {
                rest.to_owned()
            }
        };
        expected.assert_eq(&text.lines().map(short).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn lines() {
        use Stream::{Stderr, Stdout};
        check(&[(Stdout, b"one\ntwo\n")], &expect![["stdout F one\nstdout F two"]]);
        check(
            &[(Stdout, b"a"), (Stderr, b"x\n"), (Stdout, b"b\nc")],
            &expect![["stderr F x\nstdout F ab\nstdout F c"]],
        );
        check(&[(Stdout, b"\n\n")], &expect![["stdout F \nstdout F "]]);
        let long = vec![b'z'; LINE_MAX_BYTES + 5];
        check(
            &[(Stdout, &long), (Stdout, b"\n")],
            &expect!["stdout P zzzzz… 16393\nstdout F zzzzz"],
        );
    }

    #[test]
    fn files_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path).unwrap();
        let chunk = [vec![b'q'; 8190], b"\n".to_vec()].concat().repeat(16);
        for _ in 0..(8 * FILE_MAX_BYTES / chunk.len() as u64) {
            log.write(Stream::Stdout, &chunk);
        }
        let mut sizes = Vec::new();
        for file in fs::read_dir(dir.path()).unwrap() {
            sizes.push(file.unwrap().metadata().unwrap().len());
        }
        assert_eq!(sizes.len(), FILES_MAX as usize);
        assert!(sizes.iter().all(|size| *size <= FILE_MAX_BYTES), "{sizes:?}");
    }
}
