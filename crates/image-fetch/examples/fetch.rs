//! `fetch IMAGE DIR`: fetches an image from a source that needs no TLS into an image layout.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program opens paths and prints"
)]

use pleach_image_fetch::{Event, FetchOptions, Policy, fetch};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [image, dir] = &arguments[..] else {
        return Err("fetch IMAGE DIR".into());
    };
    let store = cap_std::fs::Dir::open_ambient_dir(dir, cap_std::ambient_authority())?;
    let mut options = FetchOptions::new(Policy::AcceptAnything);
    options.tls_verify = false;
    let fetched = fetch(&image.parse()?, &store, &options, |event| {
        if !matches!(event, Event::BlobProgress { .. }) {
            eprintln!("{event:?}");
        }
    })
    .await?;
    println!("{fetched:#?}");
    Ok(())
}
