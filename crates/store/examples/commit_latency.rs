//! Prints how long commits take on this disk: `cargo run --release -p store --example commit_latency [FOLDER]`.

#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a measurement stops at the first surprise")]

use std::time::Instant;

use bytes::Bytes;
use store::{Change, DiskJournal, DiskOptions, Expect, Op, Options, Stamp, Store};

fn put(key: String) -> Op {
    Op {
        key,
        expect: Expect::Absent,
        change: Change::Put {
            value: Stamp {
                before: Bytes::from(vec![b'x'; 1250]),
                after: Bytes::from(vec![b'y'; 1250]),
            },
            index: Bytes::new(),
        },
    }
}

#[tokio::main]
async fn main() {
    let folder = std::env::args()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join("stead-store-latency"), std::path::PathBuf::from);
    let begun = Instant::now();
    let journal = DiskJournal::open(&folder, DiskOptions::default()).unwrap();
    let store = Store::open(journal, Options::default()).unwrap();
    println!(
        "open            {:>9.3} ms, {} rows",
        begun.elapsed().as_secs_f64() * 1e3,
        store.list("", None, 0).rows.len()
    );
    let from = store.revision();

    let count = 2000;
    let mut times = Vec::new();
    for number in 0..count {
        let begun = Instant::now();
        store.commit(vec![put(format!("/one/{from}-{number}"))]).await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("commit p50      {:>9.3} ms", times[count / 2]);
    println!("commit p99      {:>9.3} ms", times[count * 99 / 100]);

    for writers in [8_usize, 32, 256] {
        let begun = Instant::now();
        let rows = 20_000;
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                for number in 0..rows / writers {
                    let key = format!("/many/{from}-{writers}-{writer}-{number}");
                    store.commit(vec![put(key)]).await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{writers:>3} writers     {:>9.0} commits/s",
            f64::from(u32::try_from(rows).unwrap()) / seconds
        );
    }
    let begun = Instant::now();
    let backup = folder.with_extension("backup");
    store.backup(&backup).await.unwrap();
    println!("backup          {:>9.3} ms", begun.elapsed().as_secs_f64() * 1e3);
    store.close().await;
}
