//! Compiles the crate again when a file of the web page appears or goes: the files that are there the macro of
//! `rust-embed` sees by itself, new ones it does not.

fn main() {
    println!("cargo::rerun-if-changed=web");
}
