//! `rules check` and `rules explain`: the four files that configure a site, without a cloud.
//!
//! # Layout
//!
//! - `command`: the command line
//! - `check`, `finding`: the problems of the files, alone and together; `lint`: one module for each kind of problem
//! - `explain`, `explained`, `stage`, `explanation`: what happens to one request, and because of which lines
//! - `site`: the files and objects of a folder; `object`: the store over them; `trial`: the real origin over this store
//! - `sign`: signs links

mod check;
pub mod command;
mod explain;
mod explained;
mod explanation;
mod finding;
mod lint;
mod object;
pub mod sign;
mod site;
mod stage;
mod trial;
