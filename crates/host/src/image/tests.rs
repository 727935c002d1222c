//! Rows of images: archives built here, imported, looked at, removed.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use expect_test::{Expect, expect};
use serde_json::json;
use tar::EntryType;
use tempfile::TempDir;

use super::{Images, config::node_architecture, stream::digest, unpack::unpack};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// One tar entry: path, type, content or link target, mode.
type Row<'a> = (&'a str, EntryType, &'a str, u32);

fn file<'a>(path: &'a str, content: &'a str) -> Row<'a> {
    (path, EntryType::Regular, content, 0o644)
}

fn layer(rows: &[Row<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, content, mode) in rows {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_000);
        if *kind == EntryType::Char {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        if is_link {
            let name = &mut header.as_old_mut().linkname;
            name[..content.len()].copy_from_slice(content.as_bytes());
        }
        // Written raw: the builder itself would refuse hostile paths.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let body: &[u8] = if is_link { b"" } else { content.as_bytes() };
        builder.append(&header, body).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn config_of(layers: &[Vec<u8>], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    json!({"architecture": architecture, "os": "linux",
        "config": {"Cmd": ["sh"], "User": "nobody", "StopSignal": "SIGQUIT", "Volumes": {"/data": {}}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string()
    .into_bytes()
}

fn members(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn docker_archive(tags: &[&str], layers: &[Vec<u8>], architecture: &str) -> Vec<u8> {
    let names: Vec<String> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let manifest =
        json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]).to_string();
    let mut files = vec![
        ("manifest.json", manifest.into_bytes()),
        ("config.json", config_of(layers, architecture)),
    ];
    files.extend(names.iter().map(String::as_str).zip(layers.iter().cloned()));
    members(&files)
}

fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/{}", digest(bytes).replace(':', "/"))
}

/// An OCI layout whose manifest lies in an index of two platforms.
fn oci_archive(tag: &str, layers: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let packed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let config = config_of(layers, node_architecture());
    let descriptors: Vec<_> = packed
        .iter()
        .map(|it| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(it), "size": it.len()}))
        .collect();
    let manifest = json!({"schemaVersion": 2, "config": {"digest": digest(&config), "size": config.len()}, "layers": descriptors})
        .to_string()
        .into_bytes();
    let inner = json!({"schemaVersion": 2, "manifests": [
        {"digest": format!("sha256:{}", "0".repeat(64)), "size": 1, "platform": {"os": "linux", "architecture": "s390x"}},
        {"digest": digest(&manifest), "size": manifest.len(), "platform": {"os": "linux", "architecture": node_architecture()}}]})
    .to_string()
    .into_bytes();
    let index = json!({"schemaVersion": 2, "manifests": [
        {"digest": digest(&inner), "size": inner.len(), "annotations": {"org.opencontainers.image.ref.name": tag}}]})
    .to_string()
    .into_bytes();
    let mut files =
        vec![("oci-layout".to_owned(), b"{}".to_vec()), ("index.json".to_owned(), index)];
    for bytes in packed.into_iter().chain([config, manifest, inner]) {
        files.push((blob_path(&bytes), bytes));
    }
    files
}

struct World {
    folder: TempDir,
    images: Images,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let images = Images::open(&folder.path().join("images")).unwrap();
        Self { folder, images }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Imports these bytes and says what came of it.
    async fn import(&self, bytes: &[u8]) -> String {
        let path = self.write("archive.tar", bytes);
        let before = self.seen();
        match self.images.import(path, NOW).await {
            Ok(images) => {
                images.iter().map(|image| image.tags.join(" ")).collect::<Vec<_>>().join("\n")
            }
            Err(error) => {
                assert_eq!(before, self.seen(), "nothing half-imported stays");
                error.to_string().replace(&self.folder.path().display().to_string(), "")
            }
        }
    }

    /// What lies in the folder, by number.
    fn seen(&self) -> Vec<usize> {
        ["blobs/sha256", "layers", "tmp"]
            .iter()
            .map(|part| fs::read_dir(self.folder.path().join("images").join(part)).unwrap().count())
            .collect()
    }
}

#[test]
fn a_layer_becomes_a_folder() {
    let folder = TempDir::new().unwrap();
    let tar = layer(&[
        ("./", EntryType::Directory, "", 0o755),
        ("etc/", EntryType::Directory, "", 0o700),
        file("./etc/a", "hello"),
        ("bin", EntryType::Symlink, "usr/bin", 0o777),
        ("usr/bin/", EntryType::Directory, "", 0o755),
        ("bin/su", EntryType::Regular, "x", 0o4755),
        ("abs", EntryType::Symlink, "/etc", 0o777),
        file("abs/b", "in etc"),
        ("hard", EntryType::Link, "etc/a", 0o644),
        ("pipe", EntryType::Fifo, "", 0o600),
        ("null", EntryType::Char, "", 0o666),
        file("gone/.wh.old", ""),
        file("whole/.wh..wh..opq", ""),
        file("back/.wh.dir", ""),
        ("back/dir/", EntryType::Directory, "", 0o755),
        file("etc/.wh.a", ""),
        file(".wh..wh.plnk/x", ""),
    ]);
    assert_eq!(unpack(tar.as_slice(), folder.path()).unwrap(), 12);
    let at = |path: &str| folder.path().join(path);
    let meta = |path: &str| fs::symlink_metadata(at(path)).unwrap();
    assert_eq!(fs::read(at("etc/a")).unwrap(), b"hello");
    assert_eq!(fs::read(at("etc/b")).unwrap(), b"in etc");
    assert_eq!(meta("etc").mode() & 0o7777, 0o700);
    assert_eq!((meta("etc/a").uid(), meta("etc/a").gid(), meta("etc").mtime()), (7, 8, 1_000));
    assert_eq!(meta("usr/bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(meta("hard").ino(), meta("etc/a").ino());
    assert!(meta("pipe").file_type().is_fifo());
    assert!(meta("gone/old").file_type().is_char_device());
    assert_eq!((meta("gone/old").rdev(), meta("null").rdev()), (0, 0x103));
    for opaque in ["whole", "back/dir"] {
        assert_eq!(xattr::get(at(opaque), "trusted.overlay.opaque").unwrap().unwrap(), b"y");
    }
}

#[test]
fn hostile_layers_stay_inside() {
    #[track_caller]
    fn check(rows: &[Row<'_>], wanted: Expect) {
        let outer = TempDir::new().unwrap();
        let folder = outer.path().join("layer");
        fs::create_dir(&folder).unwrap();
        let outcome = match unpack(layer(rows).as_slice(), &folder) {
            Ok(size) => format!("{size} bytes"),
            Err(super::Fault::Bad(why)) => why,
            Err(fault) => format!("{fault:?}").replace(&outer.path().display().to_string(), ""),
        };
        wanted.assert_eq(&outcome);
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "nothing beside the layer");
    }
    check(&[file("../evil", "x")], expect!["a layer holds ../evil, which leads out of it"]);
    check(
        &[file("a/../../evil", "x")],
        expect!["a layer holds a/../../evil, which leads out of it"],
    );
    check(&[file("/evil", "x")], expect!["1 bytes"]);
    check(&[("up", EntryType::Symlink, "../..", 0o777), file("up/evil", "x")], expect!["1 bytes"]);
    check(&[("up", EntryType::Symlink, "/", 0o777), file("up/tmp-evil", "x")], expect!["1 bytes"]);
    check(&[("a", EntryType::Symlink, "/etc/passwd", 0o777), file("a", "x")], expect!["1 bytes"]);
    check(
        &[("hard", EntryType::Link, "../../etc/passwd", 0o644)],
        expect!["a layer holds ../../etc/passwd, which leads out of it"],
    );
    check(
        &[("hard", EntryType::Link, "/etc/passwd", 0o644)],
        expect![[
            r#"System { what: "etc/passwd", source: Os { code: 2, kind: NotFound, message: "No such file or directory" } }"#
        ]],
    );
    check(&[file(".wh...", "")], expect!["a layer hides .."]);
}

#[tokio::test]
async fn a_docker_archive_with_several_names() {
    let world = World::new();
    let layers = [layer(&[file("a", "12345")]), layer(&[file("b", "1")])];
    let archive = docker_archive(&["redis:7.0", "k8s.gcr.io/x:1"], &layers, node_architecture());
    assert_eq!(world.import(&archive).await, "docker.io/library/redis:7.0 k8s.gcr.io/x:1");
    let image = world.images.image("redis:7.0").unwrap().unwrap();
    assert_eq!((image.size_bytes, image.user.as_str(), image.stop_signal), (6, "nobody", Some(3)));
    let lower = world.images.layers(&image.id).unwrap();
    assert_eq!(fs::read(lower[0].join("b")).unwrap(), b"1");
    assert_eq!(fs::read(lower[1].join("a")).unwrap(), b"12345");
    assert_eq!(world.images.config(&image.id).unwrap().cmd, ["sh"]);
    assert_eq!(world.images.size_bytes(), 6);

    // Again, packed: the same image; and after a restart it is still there.
    assert_eq!(world.import(&gzip(&archive)).await, "docker.io/library/redis:7.0 k8s.gcr.io/x:1");
    let again = Images::open(&world.folder.path().join("images")).unwrap();
    assert_eq!(again.images(), [image]);
}

#[tokio::test]
async fn an_oci_layout_as_tar_and_as_folder() {
    let world = World::new();
    let files = oci_archive("nginx:1.9", &[layer(&[file("a", "1")]), layer(&[file("b", "1")])]);
    let rows: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    assert_eq!(world.import(&members(&rows)).await, "docker.io/library/nginx:1.9");
    let image = world.images.image("nginx:1.9").unwrap().unwrap();
    assert_eq!(image.digests.len(), 2);
    assert_eq!(world.images.image(&image.digests[0]).unwrap().unwrap().id, image.id);

    let folder = world.folder.path().join("layout");
    for (path, bytes) in &files {
        fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
        fs::write(folder.join(path), bytes).unwrap();
    }
    assert_eq!(world.images.import(folder, NOW).await.unwrap(), [image]);
}

#[tokio::test]
async fn damaged_archives_name_the_file_and_leave_nothing() {
    let world = World::new();
    let good = layer(&[file("a", &"x".repeat(4000))]);
    let archive = docker_archive(&["x:1"], std::slice::from_ref(&good), node_architecture());
    #[track_caller]
    fn check(found: String, wanted: Expect) {
        wanted.assert_eq(&found);
    }
    check(
        world.import(b"no tar at all").await,
        expect!["/archive.tar: it is no tar archive, or a damaged one"],
    );
    check(
        world.import(b"").await,
        expect!["/archive.tar: it is neither an OCI layout nor a docker archive"],
    );
    check(
        world.import(&members(&[("x", vec![])])).await,
        expect!["/archive.tar: it is neither an OCI layout nor a docker archive"],
    );
    check(
        world.import(&archive[..archive.len() - 4000]).await,
        expect!["/archive.tar: it is cut short within 0/layer.tar"],
    );
    let packed = gzip(&archive);
    check(
        world.import(&packed[..packed.len() / 2]).await,
        expect!["/archive.tar: it is damaged: incomplete deflate stream"],
    );
    check(
        world.import(&docker_archive(&[], std::slice::from_ref(&good), node_architecture())).await,
        expect![
            "/archive.tar: none of its images has a name (save it by name: docker save NAME:TAG)"
        ],
    );
    check(
        world
            .import(&docker_archive(&["A:1"], std::slice::from_ref(&good), node_architecture()))
            .await,
        expect![[
            r#"/archive.tar: couldn't parse image name "A:1": invalid reference format: repository name (library/A) must be lowercase"#
        ]],
    );
    // The layer is not what the config says: one byte of it differs.
    let at = archive.windows(8).position(|it| it == b"xxxxxxxx").unwrap();
    let mut flipped = archive.clone();
    flipped[at] = b'y';
    assert!(world.import(&flipped).await.contains("a layer's content is sha256:"));
    let foreign = docker_archive(&["x:1"], std::slice::from_ref(&good), "s390x");
    let text = world.import(&foreign).await;
    assert_eq!(
        text,
        format!(
            "/archive.tar: the image is for linux/s390x, this node is linux/{}",
            node_architecture()
        )
    );

    let mut files = oci_archive("x:1", std::slice::from_ref(&good));
    files.retain(|(path, _)| *path != blob_path(&gzip(&good)));
    let rows: Vec<(&str, Vec<u8>)> =
        files.iter().map(|(path, it)| (path.as_str(), it.clone())).collect();
    assert!(world.import(&members(&rows)).await.contains("lacks blobs/sha256/"));
    assert!(world.images.images().is_empty());
}

#[tokio::test]
async fn names_move_and_the_last_one_takes_the_image_along() {
    let world = World::new();
    let shared = layer(&[file("shared", "1")]);
    let first = [shared.clone(), layer(&[file("one", "1")])];
    let second = [shared, layer(&[file("two", "1")])];
    world.import(&docker_archive(&["x:1", "y:1"], &first, node_architecture())).await;
    let one = world.images.image("y:1").unwrap().unwrap().id;
    world.import(&docker_archive(&["x:1"], &second, node_architecture())).await;
    let two = world.images.image("x:1").unwrap().unwrap().id;
    assert_ne!(one, two);
    assert_eq!(world.seen(), [2, 6, 0]);

    let users = BTreeMap::from([(one.clone(), "pod/web-0".to_owned())]);
    let text = world.images.remove("y:1", &users).unwrap_err().to_string();
    assert_eq!(text, "image y:1 is used by pod/web-0");
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    world.images.note_used([one.as_str()], later);
    let unused = world.images.unused(&BTreeMap::new());
    assert_eq!(unused.iter().map(|it| &it.image.id).collect::<Vec<_>>(), [&two, &one]);
    assert_eq!(unused[1].used_at, later);

    world.images.remove("y:1", &BTreeMap::new()).unwrap();
    assert_eq!(world.seen(), [1, 4, 0]);
    assert!(world.images.layers(&one).is_err());
    world.images.remove(&two, &BTreeMap::new()).unwrap();
    assert_eq!(world.seen(), [0, 0, 0]);
    assert_eq!(
        world.images.remove("x:1", &BTreeMap::new()).unwrap_err().to_string(),
        "image x:1 is not here"
    );
}

#[tokio::test]
async fn a_crash_leaves_nothing_that_stays() {
    let world = World::new();
    world.import(&docker_archive(&["x:1"], &[layer(&[file("a", "1")])], node_architecture())).await;
    let root = world.folder.path().join("images");
    fs::create_dir(root.join("layers").join("a".repeat(64))).unwrap();
    fs::create_dir(root.join("tmp/left")).unwrap();
    let seen = Images::open(&root).unwrap().images().len();
    assert_eq!((seen, world.seen()), (1, vec![1, 2, 0]));
    assert_eq!(fs::metadata(root.join("index.json")).unwrap().mode() & 0o777, 0o600);
    fs::write(root.join("index.json"), "{\"format\":9,\"images\":{}}").unwrap();
    let text = Images::open(&root).unwrap_err().to_string();
    assert!(
        text.ends_with("index.json: the index of images has format 9, this program knows 1"),
        "{text}"
    );
}

#[tokio::test]
async fn an_image_from_one_binary() {
    let world = World::new();
    let binary = world.write("program", b"#!");
    let make =
        || world.images.from_binary("stead/demo:1", binary.clone(), vec!["/stead".into()], NOW);
    let image = make().await.unwrap();
    assert_eq!(image.tags, ["docker.io/stead/demo:1"]);
    let root = &world.images.layers(&image.id).unwrap()[0];
    assert_eq!(fs::read(root.join("stead")).unwrap(), b"#!");
    assert_eq!(fs::metadata(root.join("stead")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::metadata(root.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(make().await.unwrap(), image);
    assert_eq!(world.seen(), [1, 2, 0]);
}

#[test]
fn zstd_frames_and_skippable_ones() {
    use std::io::Read;
    // `printf hello | zstd`, a skippable frame of three bytes, `printf " you" | zstd`.
    let frames: [&[u8]; 3] = [
        b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello",
        b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc",
        b"\x28\xb5\x2f\xfd\x20\x04\x21\x00\x00 you",
    ];
    let mut text = String::new();
    let bytes = frames.concat();
    super::stream::Unpacked::new(bytes.as_slice()).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello you");
    for cut in 5..bytes.len() {
        let mut out = Vec::new();
        let whole = super::stream::Unpacked::new(&bytes[..cut]).unwrap().read_to_end(&mut out);
        // Cut between frames is a shorter stream, cut within one an error; never a panic.
        assert_eq!(whole.is_ok(), cut == 14 || cut == 25, "{cut}");
    }
}
