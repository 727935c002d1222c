//! Rows: `kubectl logs`.

use std::{fs, io::Write as _};

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{House, container, exited, running};

const LINES: &str = "2026-01-01T00:00:00.1Z stdout F one\n\
    2026-01-01T00:00:01.1Z stderr F two\n\
    2026-01-01T00:00:02.1Z stdout P thr\n\
    2026-01-01T00:00:02.2Z stdout F ee\n\
    2026-01-01T00:00:03.1Z stdout F four\n";

#[tokio::test]
async fn what_is_shown() {
    let house = House::new();
    fs::write(house.log("0.log"), LINES).unwrap();
    for (query, expected) in [
        ("", "one\ntwo\nthree\nfour\n"),
        ("tailLines=1", "four\n"),
        ("tailLines=0", ""),
        ("tailLines=100", "one\ntwo\nthree\nfour\n"),
        ("limitBytes=5", "one\nt"),
        ("sinceTime=2026-01-01T00:00:02Z", "three\nfour\n"),
        ("sinceSeconds=5", ""),
        ("stream=Stderr", "two\n"),
        (
            "timestamps=true&tailLines=3",
            "2026-01-01T00:00:02.1Z three\n2026-01-01T00:00:03.1Z four\n",
        ),
    ] {
        let (code, body) = house.get(&format!("/containerLogs/default/web-0/c?{query}")).await;
        assert_eq!((code, body.as_str()), (200, expected), "{query}");
    }
}

#[tokio::test]
async fn which_run() {
    let runs = || vec![container(0, exited()), container(1, exited())];
    let waiting = |reason: &str| json!({ "waiting": { "reason": reason } });
    let ended = json!({ "terminated": { "exitCode": 1 } });
    let creating = "container \"c\" in pod \"web-0\" is waiting to start: ContainerCreating";
    let pulling = "container \"c\" in pod \"web-0\" is waiting to start: trying and failing to pull \
         image";
    let none = "previous terminated container \"c\" in pod \"web-0\" not found";
    for (state, runs, previous, expected) in [
        (waiting("ContainerCreating"), vec![], false, (400, creating)),
        (json!({}), vec![], false, (400, creating)),
        (waiting("ImagePullBackOff"), vec![], false, (400, pulling)),
        (json!({}), vec![container(0, running())], true, (400, none)),
        (json!({}), vec![container(0, exited()), container(1, running())], true, (200, "run 0\n")),
        (waiting("CrashLoopBackOff"), runs(), true, (200, "run 1\n")),
        (waiting("CrashLoopBackOff"), runs(), false, (200, "run 1\n")),
        (ended, runs(), true, (200, "run 0\n")),
    ] {
        let house = House::with(state.clone(), runs);
        for run in 0..2 {
            let line = format!("2026-01-01T00:00:00Z stdout F run {run}\n");
            fs::write(house.log(&format!("{run}.log")), line).unwrap();
        }
        let path = format!("/containerLogs/default/web-0/c?previous={previous}");
        let (code, body) = house.get(&path).await;
        assert_eq!((code, body.as_str()), expected, "{state} {previous}");
    }
    let house = House::new();
    for (path, expected) in [
        ("default/web-1/c", "pod \"web-1\" not found"),
        ("default/web-0/d", "container \"d\" not found in pod \"web-0\"\n"),
    ] {
        let (code, body) = house.get(&format!("/containerLogs/{path}")).await;
        assert_eq!((code, body.as_str()), (404, expected));
    }
}

#[tokio::test]
async fn a_log_is_followed_over_rotation_to_the_end() {
    let house = House::new();
    let path = house.log("0.log");
    fs::write(&path, "2026-01-01T00:00:00Z stdout F one\n").unwrap();
    let request = "GET /containerLogs/default/web-0/c?follow=true HTTP/1.0\r\n\r\n";
    let (_, mut io) = house.ask(request).await;
    let mut seen = String::new();
    let mut expect = async |wanted: &str| {
        while !seen.ends_with(wanted) {
            seen.push(char::from(io.read_u8().await.unwrap()));
        }
    };
    expect("one\n").await;
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"2026-01-01T00:00:00Z stdout F two\n").unwrap();
    expect("two\n").await;
    // Two rotations at once: what went into the middle file is not lost.
    file.write_all(b"2026-01-01T00:00:00Z stdout F three\n").unwrap();
    fs::rename(&path, house.log("0.log.1")).unwrap();
    fs::write(&path, "2026-01-01T00:00:00Z stdout F four\n").unwrap();
    fs::rename(house.log("0.log.1"), house.log("0.log.2")).unwrap();
    fs::rename(&path, house.log("0.log.1")).unwrap();
    fs::write(&path, "2026-01-01T00:00:00Z stdout F five\n").unwrap();
    expect("five\n").await;
    fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"2026-01-01T00:00:00Z stdout F last\n")
        .unwrap();
    house.fake.pods.lock().unwrap()[0].containers[0].phase = exited();
    house.fake.wakes.send("u1".to_owned()).unwrap();
    let mut rest = String::new();
    io.read_to_string(&mut rest).await.unwrap();
    assert_eq!(seen + &rest, "one\ntwo\nthree\nfour\nfive\nlast\n");
}
