//! Reports the lines of files as HTML: for measurements without the local cloud.
//!
//! ```sh
//! cargo run --release -p nearedge-report --example count -- FILE… > report.html
//! ```

#![allow(missing_docs, reason = "a program")]

use std::fs::File;
use std::io::{self, Write};

use nearedge_report::lines::scan::scan;
use nearedge_report::render::html::page::page;
use nearedge_report::results::report::Report;
use nearedge_report::tally::collect::{Collection, Selection};
use nearedge_report::tally::count::count;

fn main() -> io::Result<()> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let files: Vec<File> = names.iter().map(File::open).collect::<Result<_, _>>()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let selection = Selection::default();
    let (collections, summary) =
        scan(files.into_iter(), Some("country"), threads, || Collection::new(selection.clone()));
    let mut collections = collections.into_iter();
    let mut all = collections.next().unwrap_or_default();
    for collection in collections {
        all.merge(collection).map_err(io::Error::other)?;
    }
    let reports: Vec<Report> = count(all, &[], true).into_iter().map(Report::of).collect();
    io::stdout().write_all(page(&reports, Some("country"), &summary, &names).as_bytes())
}
