//! Pipes, sockets and terminals of containers as async streams, and files that grow.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use tokio::io::{Interest, unix::AsyncFd};

/// One end of a pipe, socket or terminal; reads and writes never block a thread.
#[derive(Debug)]
pub struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    /// Takes the descriptor; must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be polled (a plain file, say).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let raw = fd.as_raw_fd();
        let flags = OFlag::from_bits_retain(fcntl(raw, FcntlArg::F_GETFL)?);
        fcntl(raw, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: `OwnedFd` is open and the same descriptor for as long as the AsyncFd owns it.
        let polled = unsafe { AsyncFd::register_with_interest(fd, interest) };
        Ok(Self(polled?))
    }

    /// Reads what is there, waiting for the first byte; 0 at the end. A terminal whose last user
    /// has gone is at its end, too.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self
            .0
            .async_io(Interest::READABLE, |fd| Ok(nix::unistd::read(fd.as_raw_fd(), buffer)?))
            .await;
        match read {
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => Ok(0),
            other => other,
        }
    }

    /// Writes all of it, waiting while the other side does not read.
    ///
    /// # Errors
    ///
    /// What the system says; `BrokenPipe` when nobody reads any more.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self
                .0
                .async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, bytes)?))
                .await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

/// Tells when files of one folder change.
#[derive(Debug)]
pub struct FolderWatch(AsyncFd<Changes>);

/// nix's inotify, as a descriptor that can be polled.
#[derive(Debug)]
struct Changes(Inotify);

impl std::os::fd::AsFd for Changes {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::os::fd::AsRawFd for Changes {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsFd::as_fd(&self.0).as_raw_fd()
    }
}

impl FolderWatch {
    /// Watches this folder; must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the folder is not there, or the kernel has no watch left.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(folder, flags)?;
        // SAFETY: nix's Inotify owns its descriptor, open for as long as the AsyncFd owns it.
        let polled =
            unsafe { AsyncFd::register_with_interest(Changes(inotify), Interest::READABLE) };
        Ok(Self(polled?))
    }

    /// Returns when something in it has changed since the last call.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn changed(&self) -> io::Result<()> {
        self.0.async_io(Interest::READABLE, |changes| Ok(changes.0.read_events()?)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipe_carries_bytes_and_ends() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let (read, write) = (Stream::new(read).unwrap(), Stream::new(write).unwrap());
        write.write_all(b"hello").await.unwrap();
        drop(write);
        let mut buffer = [0; 16];
        assert_eq!(read.read(&mut buffer).await.unwrap(), 5);
        assert_eq!(read.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_folder_tells_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let watch = FolderWatch::new(folder.path()).unwrap();
        std::fs::write(folder.path().join("0.log"), "line\n").unwrap();
        watch.changed().await.unwrap();
    }
}
