//! Counts the lines of files, and prints the counts: for measurements without the local cloud.
//!
//!     cargo run --release -p nearedge-report --example count -- FILE…

#![allow(missing_docs, reason = "a program")]

use std::fs::File;
use std::io::{self, Write};

use nearedge_report::lines::scan::scan;
use nearedge_report::tally::collect::{Collection, Selection};
use nearedge_report::tally::count::count;

fn main() -> io::Result<()> {
    let files: Vec<File> = std::env::args().skip(1).map(File::open).collect::<Result<_, _>>()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let selection = Selection::default();
    let (collections, summary) =
        scan(files.into_iter(), Some("country"), threads, || Collection::new(selection.clone()));
    let mut collections = collections.into_iter();
    let mut all = collections.next().unwrap_or_default();
    for collection in collections {
        all.merge(collection).map_err(io::Error::other)?;
    }
    for tally in count(all, &[], true) {
        writeln!(io::stdout(), "{}\n{:?}", serde_json::to_string_pretty(&tally.counts)?, tally.guardrails)?;
    }
    writeln!(io::stdout(), "{summary:?}")
}
