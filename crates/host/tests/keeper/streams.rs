//! Exec, attach, terminals, connections into the pod.

use std::io::{Read, Write};

use host::runtime::{ContainerPhase, ExecConfig, RuntimeError, Streams};

use crate::world::{POD, World, read};

fn sh(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(ToOwned::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_has_streams_and_an_exit_code() {
    let world = World::with_pod().await;
    let container = world.start(World::container("sleep 1000")).await;
    let command = sh("cat; echo err >&2; exit 7");
    let config = ExecConfig { command, stdin: true, stdout: true, stderr: true, tty: false };
    let exec = world.keepers.exec(POD, &container.id, config).await.unwrap();
    let Streams { stdin, stdout, stderr, terminal } = exec.streams;
    assert!(terminal.is_none());
    std::fs::File::from(stdin.unwrap()).write_all(b"through").unwrap();
    assert_eq!(read(stdout.unwrap()).await, "through");
    assert_eq!(read(stderr.unwrap()).await, "err\n");
    assert_eq!(exec.exit.await.unwrap(), 7);
    assert_eq!(world.exec(&container.id, "kill -9 $$").await.0, 137);
    let config =
        ExecConfig { command: vec!["nosuch".into()], stdout: true, ..ExecConfig::default() };
    let error = world.keepers.exec(POD, &container.id, config).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, RuntimeError::Start(_)));
    assert!(text.ends_with(r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown"#), "{text}");
    // It shares everything with the first program.
    let script = "readlink /proc/self/ns/mnt; readlink /proc/self/ns/pid; readlink /proc/self/ns/net; readlink /proc/self/ns/cgroup";
    let one = world.exec(&container.id, &script.replace("self", "1")).await;
    assert_eq!(world.exec(&container.id, script).await, one);
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_on_a_terminal() {
    let world = World::with_pod().await;
    let container = world.start(World::container("sleep 1000")).await;
    let command = sh("read line; stty size; tty; echo got $line; exit 4");
    let config =
        ExecConfig { command, stdin: true, stdout: true, tty: true, ..ExecConfig::default() };
    let exec = world.keepers.exec(POD, &container.id, config).await.unwrap();
    world.keepers.resize(POD, &container.id, Some(&exec.id), 100, 40).await.unwrap();
    let mut terminal = std::os::unix::net::UnixStream::from(exec.streams.terminal.unwrap());
    terminal.write_all(b"word\n").unwrap();
    let text = read(terminal.into()).await;
    assert_eq!(text, "word\r\n40 100\r\n/dev/pts/0\r\ngot word\r\n");
    assert_eq!(exec.exit.await.unwrap(), 4);
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_takes_its_exec_along() {
    let world = World::with_pod().await;
    let container = world.start(World::container("sleep 1000")).await;
    let config =
        ExecConfig { command: sh("echo $$; sleep 1000"), stdout: true, ..ExecConfig::default() };
    let exec = world.keepers.exec(POD, &container.id, config).await.unwrap();
    let mut stdout = std::fs::File::from(exec.streams.stdout.unwrap());
    let stdout = tokio::task::spawn_blocking(move || {
        stdout.read_exact(&mut [0]).unwrap();
        stdout
    });
    let stdout = stdout.await.unwrap();
    drop(exec.exit);
    // The pipe ends because the program does.
    read(stdout.into()).await;
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_to_pipes() {
    let world = World::with_pod().await;
    let mut config = World::container("while read line; do echo got $line; done; echo end; exit 6");
    (config.stdin, config.stdin_once) = (true, true);
    let container = world.start(config).await;
    let streams = world.keepers.attach(POD, &container.id).await.unwrap();
    let mut stdin = std::fs::File::from(streams.stdin.unwrap());
    stdin.write_all(b"a\nb\n").unwrap();
    drop(stdin);
    assert_eq!(read(streams.stdout.unwrap()).await, "got a\ngot b\nend\n");
    world.ended(&container.id).await;
    assert_eq!(world.log("app", 0), "stdout F got a\nstdout F got b\nstdout F end\n");
    let error = world.keepers.attach(POD, &container.id).await.unwrap_err();
    assert!(matches!(error, RuntimeError::NotRunning(_)));
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_to_a_terminal() {
    let world = World::with_pod().await;
    let mut config =
        World::container("read line; echo got $line; test -t 0 && test -t 1 && exit 9");
    (config.stdin, config.tty) = (true, true);
    let container = world.start(config).await;
    let streams = world.keepers.attach(POD, &container.id).await.unwrap();
    world.keepers.resize(POD, &container.id, None, 80, 24).await.unwrap();
    let mut terminal = std::os::unix::net::UnixStream::from(streams.terminal.unwrap());
    terminal.write_all(b"hello\n").unwrap();
    let text = read(terminal.into()).await;
    assert_eq!(text, "hello\r\ngot hello\r\n");
    assert!(matches!(
        world.ended(&container.id).await.phase,
        ContainerPhase::Exited { exit_code: 9, .. }
    ));
    assert_eq!(world.log("app", 0), "stdout F hello\nstdout F got hello\n");
    world.keepers.remove_pod(POD).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dial_reaches_the_pods_loopback() {
    let world = World::with_pod().await;
    let container = world.start(World::container("echo served | nc -l -p 8080; sleep 1000")).await;
    let error = world.keepers.dial(POD, 81).await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Dial { port: 81, source } if source.kind() == std::io::ErrorKind::ConnectionRefused),
        "{error}"
    );
    // Until it listens: the table of sockets says when.
    while !world.exec(&container.id, "cat /proc/net/tcp /proc/net/tcp6").await.1.contains(":1F90") {
    }
    let fd = world.keepers.dial(POD, 8080).await.unwrap();
    let mut stream = std::net::TcpStream::from(fd);
    stream.set_nonblocking(false).unwrap();
    let mut text = [0; 7];
    tokio::task::spawn_blocking(move || {
        stream.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"served\n");
    })
    .await
    .unwrap();
    world.keepers.remove_pod(POD).await.unwrap();
}
