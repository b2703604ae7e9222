//! The bytes of what a version consists of, over a connection: no piece is ever whole in memory.
use std::{
    fs::File,
    io::{self, Read as _},
    time::Duration,
};

use super::{
    Post, blocking,
    link::{Link, LinkError},
};
use crate::push::{Answer, Body, Piece, Record, Request, bytes, secure::MAX_FRAME_BYTES};

/// Bytes in one frame.
const PART_BYTES: usize = MAX_FRAME_BYTES / 4;
/// Between two frames.
const NEXT: Duration = Duration::from_secs(5);

/// Sends pieces, one after the other.
pub(super) async fn send(post: &Post, link: &mut Link, pieces: &[Piece]) -> Result<(), LinkError> {
    for piece in pieces {
        let open = blocking(|| {
            let path = post.with_store(|store| Ok(store.path(piece.digest)));
            File::open(path.map_err(io::Error::other)?)
        });
        let mut file = open.map_err(LinkError::Broken)?.take(piece.bytes);
        let mut part = vec![0; PART_BYTES];
        loop {
            let count = blocking(|| file.read(&mut part)).map_err(LinkError::Broken)?;
            if count == 0 {
                break;
            }
            link.send(&bytes(&part[..count])).await?;
        }
    }
    Ok(())
}

/// Asks for the pieces of a version that are not here, and keeps them.
pub(super) async fn fetch(post: &Post, link: &mut Link, record: &Record) -> Result<(), String> {
    let missing = post.with_store(|store| {
        let pieces = record.content.pieces().into_iter();
        Ok(pieces
            .filter(|piece| !store.has(piece))
            .collect::<Vec<Piece>>())
    })?;
    let digests = missing.iter().map(|piece| piece.digest).collect();
    let failed = |error: LinkError| error.to_string();
    link.say(&Request::Need(digests)).await.map_err(failed)?;
    for piece in missing {
        let mut writer = blocking(|| post.with_store(|store| store.writer(piece)))?;
        let mut left = piece.bytes;
        while left > 0 {
            let Body::Bytes(part) = link.hear::<Answer>(NEXT).await.map_err(failed)? else {
                return Err(failed(LinkError::OutOfTurn));
            };
            let length = part.len() as u64;
            if length == 0 || length > left {
                return Err(failed(LinkError::OutOfTurn));
            }
            left -= length;
            blocking(|| writer.add(part))?;
        }
        blocking(|| writer.finish())?;
    }
    Ok(())
}
