//! The manifests are part of the program: a changed folder is a changed program.

fn main() {
    println!("cargo:rerun-if-changed=manifests");
}
