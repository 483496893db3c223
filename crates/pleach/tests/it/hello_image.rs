//! The container image that `fixtures/customizations/quadlet.bu` carries is one that this workspace
//! writes: an image from scratch with one static program.

use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_customization::{Format, Input, NoLocalFiles, ParseOptions};
use pleach_fs_tree::{Inode, Metadata, Timestamp, Tree, TreePath};
use pleach_layer_merge::Layout;
use serde_json::json;

use crate::images::put_scratch_image;

/// What `hello.s` assembles to, at 0x400078.
const CODE: [u8; 155] = *b"\xb8\x02\x00\x00\x00\x48\x8d\x3d\x7b\x00\x00\x00\xbe\x41\x02\x00\
    \x00\xba\xa4\x01\x00\x00\x0f\x05\x89\xc7\xb8\x01\x00\x00\x00\x48\
    \x8d\x35\x48\x00\x00\x00\xba\x19\x00\x00\x00\x0f\x05\xb8\x0e\x00\
    \x00\x00\x31\xff\x48\x8d\x35\x2b\x00\x00\x00\x31\xd2\x41\xba\x08\
    \x00\x00\x00\x0f\x05\xb8\x80\x00\x00\x00\x48\x8d\x3d\x15\x00\x00\
    \x00\x31\xf6\x31\xd2\x41\xba\x08\x00\x00\x00\x0f\x05\xb8\x3c\x00\
    \x00\x00\x31\xff\x0f\x05\
    \0\x40\0\0\0\0\0\0hello from the container\n/run/hello/greeting\0";

/// Behind an ELF header and one program header: the least that Linux runs.
fn program() -> Vec<u8> {
    const START: u64 = 0x40_0000;
    const HEADERS: u64 = 0x78;
    let size = HEADERS + CODE.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [START + HEADERS, 0x40, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x05\0\0\0");
    for word in [0, START, START, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(CODE);
    elf
}

fn open(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).expect("a folder")
}

/// The layout, as a folder.
fn write(folder: &Path) {
    let dir = open(folder);
    let layout = Layout::create(&dir).expect("a layout");
    let metadata = |mode| Metadata {
        mtime: Timestamp::from_seconds(1_767_225_600),
        ..Metadata::with_mode(mode)
    };
    let mut tree = Tree::new(metadata(0o755));
    let path = TreePath::new("hello").expect("a path");
    tree.put(&path, Inode::file(metadata(0o755), program()))
        .expect("put");
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Entrypoint": ["/hello"] },
    });
    put_scratch_image(&layout, tree, config, "localhost/hello:1");
}

/// The layout as an OCI archive.
fn archive(folder: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut names = vec!["index.json".to_owned(), "oci-layout".to_owned()];
    let blobs = std::fs::read_dir(folder.join("blobs/sha256")).expect("blobs");
    names.extend(blobs.map(|blob| {
        let name = blob.expect("a blob").file_name();
        format!("blobs/sha256/{}", name.to_string_lossy())
    }));
    names.sort();
    for name in names {
        let bytes = std::fs::read(folder.join(&name)).expect("read");
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, &*bytes).expect("put");
    }
    tar.into_inner().expect("in memory")
}

#[test]
fn the_document_carries_the_image_that_is_made_here() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/customizations/quadlet.bu");
    let text = std::fs::read_to_string(path).expect("the document");
    let input = Input {
        name: "quadlet.bu",
        text: &text,
        format: Format::Butane,
    };
    let parsed = pleach_customization::parse(&input, &NoLocalFiles, &ParseOptions::default());
    let customization = parsed.expect("it is a document").customization;
    let mut files = customization.files.iter();
    let file = files.find(|file| file.path.ends_with(".oci"));
    let carried = file.and_then(|file| file.contents.as_ref()?.bytes());

    let made = crate::scratch();
    write(made.path());
    let made = archive(made.path());
    if carried != Some(&made) {
        let keep = std::env::temp_dir().join("hello.oci");
        std::fs::write(&keep, &made).expect("written");
        panic!(
            "quadlet.bu carries another archive than the one that is made here; put this into it: gzip -9n <{} | base64 -w0",
            keep.display()
        );
    }
}
