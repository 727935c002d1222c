//! The test images, built from Debian packages and from stead's own binary.
//!
//! | archive | names | what runs |
//! |---|---|---|
//! | `busybox.tar` | `busybox:1.28.4`, `busybox:1.28.3` | Debian's static busybox, applets linked |
//! | `nginx.tar` | `nginx:1.9.1`, `k8s.gcr.io/nginx-slim:0.8` | nginx in the foreground on port 80 |
//! | `kubia-pet.tar` | `luksa/kubia-pet` | `stead pet` |
//! | `kubia-pet-peers.tar` | `luksa/kubia-pet-peers` | `stead pet --peers` |

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    archive::{self, Config, Layer},
    command::{output, release_binary, target},
    packages,
};

const BUSYBOX: &str = "/bin/busybox";

const NGINX_CONF: &str = "worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 256; }
http {
  access_log /dev/stdout;
  types { text/html html; text/plain txt; }
  default_type application/octet-stream;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server { listen 80; root /usr/share/nginx/html; index index.html; }
}
";

/// Where the archives are.
pub(crate) fn folder() -> PathBuf {
    target().join("images")
}

/// Builds all archives anew.
pub(crate) fn build() -> Result<Vec<PathBuf>> {
    packages::install()?;
    let folder = folder();
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    Ok(vec![
        busybox(&folder.join("busybox.tar"))?,
        nginx(&folder.join("nginx.tar"))?,
        pet(&folder.join("kubia-pet.tar"), "luksa/kubia-pet", &[])?,
        pet(&folder.join("kubia-pet-peers.tar"), "luksa/kubia-pet-peers", &["--peers"])?,
    ])
}

fn busybox(file: &Path) -> Result<PathBuf> {
    let mut layer = base()?;
    applets(&mut layer)?;
    let config = Config { entrypoint: &[], command: &["sh"], ports: &[] };
    archive::write(file, &["busybox:1.28.4", "busybox:1.28.3"], layer, &config)
}

fn nginx(file: &Path) -> Result<PathBuf> {
    let mut layer = base()?;
    applets(&mut layer)?;
    for folder in ["usr", "usr/sbin", "usr/share", "usr/share/nginx", "usr/share/nginx/html"] {
        layer.folder(folder, 0o755)?;
    }
    for folder in
        ["etc/nginx", "var", "var/log", "var/log/nginx", "var/lib", "var/lib/nginx", "run"]
    {
        layer.folder(folder, 0o755)?;
    }
    let program = Path::new("/usr/sbin/nginx");
    layer.copy(program, "usr/sbin/nginx", 0o755)?;
    for library in libraries(program)? {
        let inside = library.to_string_lossy().trim_start_matches('/').to_owned();
        layer.copy(&library, &inside, 0o755)?;
    }
    layer.file("etc/nginx/nginx.conf", 0o644, NGINX_CONF.as_bytes())?;
    layer.file("usr/share/nginx/html/index.html", 0o644, b"<h1>Welcome to nginx!</h1>\n")?;
    let command = ["/usr/sbin/nginx", "-g", "daemon off;"];
    let config = Config { entrypoint: &[], command: &command, ports: &["80/tcp"] };
    archive::write(file, &["nginx:1.9.1", "k8s.gcr.io/nginx-slim:0.8"], layer, &config)
}

fn pet(file: &Path, name: &str, flags: &[&str]) -> Result<PathBuf> {
    let mut layer = base()?;
    layer.folder("var", 0o755)?;
    layer.folder("var/data", 0o777)?;
    layer.copy(&release_binary()?, "stead", 0o755)?;
    let entrypoint: Vec<&str> = ["/stead", "pet"].iter().chain(flags).copied().collect();
    let config = Config { entrypoint: &entrypoint, command: &[], ports: &["8080/tcp"] };
    archive::write(file, &[name], layer, &config)
}

/// What every image has: root and nobody, and folders to mount on.
fn base() -> Result<Layer> {
    let mut layer = Layer::new();
    for folder in ["bin", "dev", "etc", "proc", "root", "sys"] {
        layer.folder(folder, 0o755)?;
    }
    layer.folder("tmp", 0o1777)?;
    let users = b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\n\
                  nobody:x:65534:65534:nobody:/:/bin/false\n";
    layer.file("etc/passwd", 0o644, users)?;
    layer.file("etc/group", 0o644, b"root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n")?;
    Ok(layer)
}

/// busybox under `bin`, with a link for each of its applets.
fn applets(layer: &mut Layer) -> Result<()> {
    layer.copy(Path::new(BUSYBOX), "bin/busybox", 0o755)?;
    for applet in output(&format!("{BUSYBOX} --list"))?.lines().filter(|name| *name != "busybox") {
        layer.link(&format!("bin/{applet}"), "busybox")?;
    }
    Ok(())
}

/// The shared libraries and the loader that a program needs, as the loader says.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let listing = output(&format!("ldd {}", program.display()))?;
    let paths =
        listing.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    Ok(paths.map(PathBuf::from).collect())
}
